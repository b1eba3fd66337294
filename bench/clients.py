"""Real mail programs against a real bridge: what they send is what is stored, what is stored is what they fetch.

    python bench/clients.py [--only NAME[,NAME]] [--keep FOLDER]

curl, swaks, msmtp, s-nail, Python's smtplib and Tcllib's smtp send; mpop, fetchmail, getmail6, curl and Python's poplib
fetch; each in clear, after STARTTLS or STLS, and with implicit TLS, with a login. The messages: `lines` has leading
dots, lines of 5,000 octets, 8-bit text and empty lines at its end; `20 MiB` an attachment of that size; `utf-8` goes to
an address that needs SMTPUTF8. Every client has a configuration file of its own and talks to loopback only.

A cell says `ok` when the message is the same octet for octet below Return-Path and Received (what is fetched: with
them), line ends aside where the program stores its own; `ok, decoded` when the program builds the message itself and
the decoded text and attachment are the same. Login and TLS are proven by the Received line and by listeners that take
nothing before STARTTLS. `-` is what a program cannot do;
the notes below the table say so. Exit code 1 when anything fails or a program is missing.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import os
import poplib
import random
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from base64 import encodebytes
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bridge import DOMAIN, ROOT, Bridge, Lines

sys.path.insert(0, str(ROOT))

from mailbridge import certificate

SENDER = f"bonnie@{DOMAIN}"
RECIPIENT = f"clyde@{DOMAIN}"
UTF8_RECIPIENT = f"bücher.日本@{DOMAIN}"
PASSWORD = "Correct-Horse7Battery"
ATTACHMENT = 20 * 1024 * 1024
SECONDS = 90.0
WAYS = ("plain", "starttls", "implicit")
MESSAGES = ("lines", "20 MiB", "utf-8")
DECODED = "ok, decoded"
GOOD = ("ok", DECODED, "-")
NOT_RUN = "not run"

TEXT = "\n".join([
    ".a dot at the start", "..two dots", ".", "..", "...", "", ". a dot and a space", "x" * 5000, "." + "y" * 4999,
    "Grüße aus Köln, 日本語, trailing space ", "\tFrom a tab", "From the start of a line", ">From with a bracket",
    "z" * 998, "", "a tail of empty lines", "", "", ".."]) + "\n"


class Missing(Exception):
    """The program is not installed."""


class Wrong(Exception):
    """What arrived is not what was sent."""


class Message:
    """A message to send: `wire` its octets with CR LF, `text` and `attachment` what it is made of."""

    def __init__(self, name: str, attachment: bytes) -> None:
        self.name = name
        self.recipient = UTF8_RECIPIENT if name == "utf-8" else RECIPIENT
        self.text = TEXT if name == "lines" else "One line.\n.\n"
        self.attachment = attachment if name == "20 MiB" else None
        subject = "Grüße" if name == "utf-8" else "clients"
        head = [f"From: {SENDER}", f"To: {self.recipient}", f"Subject: {subject} {name}",
                "Date: Fri, 20 Nov 2026 12:00:00 +0000", f"Message-ID: <{name.replace(' ', '')}@{DOMAIN}>",
                "X-Folded: one\n two", "MIME-Version: 1.0"]
        if self.attachment is None:
            head += ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
            body = self.text
        else:
            head += ['Content-Type: multipart/mixed; boundary="=_frontier"']
            body = (f"--=_frontier\nContent-Type: text/plain\n\n{self.text}\n--=_frontier\n"
                    "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
                    'Content-Disposition: attachment; filename="twenty.bin"\n\n'
                    f"{encodebytes(self.attachment).decode()}\n--=_frontier--\n")
        self.lf = ("\n".join(head) + "\n\n" + body).encode()
        self.wire = self.lf.replace(b"\n", b"\r\n")


class Bench:
    """The bridge, a folder for every run, and the maildrop as a plain reader sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        pair = certificate.make(("localhost", "127.0.0.1"), 90, time.time())
        self.ca, key = folder / "cert.pem", folder / "key.pem"
        certificate.write(pair, self.ca, key)
        self.bridge = Bridge(folder / "bridge", (self.ca, key))
        self.messages = [Message(name, random.Random(7).randbytes(ATTACHMENT)) for name in MESSAGES]

    def start(self) -> None:
        """Start the bridge and make its users."""
        self.bridge.start()
        for name in ("bonnie", "clyde"):
            self.bridge.control("user add", name=name, password=PASSWORD, keep_secret=True)
        self.bridge.control("alias set", name=UTF8_RECIPIENT, targets=["clyde"])

    def smtp(self, way: str) -> int:
        """The port for a way of sending."""
        return self.bridge.ports[{"plain": "smtp", "starttls": "smtp-tls", "implicit": "smtps"}[way]]

    def pop3(self, way: str) -> int:
        """The port for a way of fetching."""
        return self.bridge.ports[{"plain": "pop3", "starttls": "pop3-tls", "implicit": "pop3s"}[way]]

    def place(self) -> Path:
        """A fresh folder for one run of a program."""
        self.runs += 1
        place = self.folder / f"run{self.runs}"
        place.mkdir(mode=0o700)
        return place

    def mailboxes(self, take: bool) -> list[bytes]:
        """Everything in the recipient's maildrop; `take` empties it."""
        reader = Lines(self.bridge.ports["pop3"])
        reader.login("clyde", PASSWORD)
        found = [reader.text(b"RETR %d" % number) for number in range(1, reader.count() + 1)]
        if take:
            reader.delete(len(found))
        reader.quit()
        return found

    def fill(self) -> list[bytes]:
        """Put every message into the maildrop; as they are stored."""
        self.mailboxes(take=True)
        with smtplib.SMTP("localhost", self.bridge.ports["smtp"]) as client:
            for message in self.messages:
                client.sendmail(SENDER, [message.recipient], message.wire,
                                ["SMTPUTF8"] if message.name == "utf-8" else [])
        return self.mailboxes(take=False)

    def context(self) -> ssl.SSLContext:
        """Trust in the bridge's certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.ca))


def private(path: Path, text: str) -> Path:
    """A file for its owner only."""
    path.touch(0o600)
    path.write_text(text)
    return path


def run(place: Path, *command: str | Path, octets: bytes = b"", **environment: str) -> bytes:
    """Run a program with an environment of its own; its output. Raises Missing, Wrong."""
    if shutil.which(str(command[0])) is None:
        raise Missing(f"{command[0]} is not installed")
    clean = {"PATH": os.environ["PATH"], "HOME": str(place), "LC_ALL": "C.UTF-8", **environment}
    try:
        done = subprocess.run([str(word) for word in command], input=octets, capture_output=True, env=clean, cwd=place,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Wrong(f"{command[0]} did not end in {SECONDS:.0f} s") from None
    if done.returncode:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise Wrong(f"exit {done.returncode}: {' / '.join(said[-4:])[:300]}")
    return done.stdout


# --- what is compared -------------------------------------------------------------------------------------------------


def parts(octets: bytes) -> tuple[list[bytes], bytes]:
    """The header lines, unfolded lines kept whole, and the body."""
    head, _, body = octets.partition(b"\r\n\r\n")
    fields: list[bytes] = []
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return fields, body


def same(message: Message, stored: bytes) -> str:
    """Exactly what was given, below Return-Path and Received."""
    fields, body = parts(stored)
    if not fields[0].startswith(b"Return-Path: <") or not fields[1].startswith(b"Received: from "):
        raise Wrong(f"the trace lines are missing: {fields[:2]}")
    given, given_body = parts(message.wire)
    rest = fields[2:]
    if rest != given:
        raise Wrong(f"header differs: {[field for field in rest if field not in given][:2]} too much, "
                    f"{[field for field in given if field not in rest][:2]} missing")
    if body != given_body:
        raise Wrong(difference(given_body, body))
    return "ok"


def difference(wanted: bytes, found: bytes) -> str:
    """Where two texts part."""
    at = next((at for at, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other),
              min(len(wanted), len(found)))
    return (f"{len(found)} octets for {len(wanted)}, from octet {at}: {found[max(0, at - 8):at + 24]!r} for "
            f"{wanted[max(0, at - 8):at + 24]!r}")


def same_decoded(message: Message, stored: bytes) -> str:
    """The same text and attachment, however the program has encoded them."""
    leaves = [leaf for leaf in email.message_from_bytes(stored, policy=email.policy.default).walk()
              if not leaf.is_multipart()]
    text = leaves[0].get_payload(decode=True).replace(b"\r\n", b"\n")
    wanted = message.text.encode()
    if text != wanted:
        raise Wrong(difference(wanted, text))
    if message.attachment is not None and leaves[1].get_payload(decode=True) != message.attachment:
        raise Wrong(difference(message.attachment, leaves[1].get_payload(decode=True)))
    return DECODED


# --- programs that send: (bench, way, message), what they do in a way with a login ------------------------------------


def curl_send(bench: Bench, way: str, message: Message) -> str:
    """curl; the login by CRAM-MD5, PLAIN, LOGIN."""
    place = bench.place()
    (place / "message").write_bytes(message.wire)
    scheme = "smtps" if way == "implicit" else "smtp"
    mechanism = dict(zip(WAYS, ("CRAM-MD5", "PLAIN", "LOGIN"), strict=True))[way]
    private(place / "curlrc", f'url = "{scheme}://localhost:{bench.smtp(way)}/client.invalid"\ncacert = "{bench.ca}"\n'
            f'user = "bonnie:{PASSWORD}"\nlogin-options = "AUTH={mechanism}"\nmail-from = "{SENDER}"\n'
            f'mail-rcpt = "{message.recipient}"\nupload-file = "message"\nsilent\nshow-error\n'
            + ("ssl-reqd\n" if way == "starttls" else ""))
    run(place, "curl", "-q", "-K", place / "curlrc")
    return same(message, arrived(bench, way))


def swaks(bench: Bench, way: str, message: Message) -> str:
    """swaks, which ends the last line itself; the login by CRAM-MD5, PLAIN, LOGIN."""
    place = bench.place()
    (place / "message").write_bytes(message.lf.removesuffix(b"\n"))
    mechanism = dict(zip(WAYS, ("CRAM-MD5", "PLAIN", "LOGIN"), strict=True))[way]
    tls = {"plain": "", "starttls": "tls\n", "implicit": "tls-on-connect\n"}[way]
    if tls:
        tls += f"tls-verify\ntls-ca-path {bench.ca}\n"
    private(place / "swaksrc", f"server localhost\nport {bench.smtp(way)}\nhelo client.invalid\nfrom {SENDER}\n"
            f"to {message.recipient}\nauth {mechanism}\nauth-user bonnie\nauth-password {PASSWORD}\ndata @message\n"
            f"suppress-data\n{tls}")
    run(place, "swaks", "--config", place / "swaksrc")
    return same(message, arrived(bench, way))


def msmtp(bench: Bench, way: str, message: Message) -> str:
    """msmtp; the login by CRAM-MD5, SCRAM-SHA-256, PLAIN."""
    place = bench.place()
    mechanism = dict(zip(WAYS, ("cram-md5", "scram-sha-256", "plain"), strict=True))[way]
    private(place / "msmtprc", f"account default\nhost localhost\nport {bench.smtp(way)}\ndomain client.invalid\n"
            f"from {SENDER}\nauth {mechanism}\nuser bonnie\npassword {PASSWORD}\n"
            f"tls {'off' if way == 'plain' else 'on'}\ntls_starttls {'on' if way == 'starttls' else 'off'}\n"
            f"tls_trust_file {bench.ca}\n")
    run(place, "msmtp", "-C", place / "msmtprc", "--", message.recipient, octets=message.lf)
    return same(message, arrived(bench, way))


def s_nail(bench: Bench, way: str, message: Message) -> str:
    """s-nail builds the message itself; the login by PLAIN, CRAM-MD5, LOGIN."""
    place = bench.place()
    mechanism = dict(zip(WAYS, ("plain", "cram-md5", "login"), strict=True))[way]
    scheme = "smtps" if way == "implicit" else "smtp"
    rc = private(place / "mailrc", "set v15-compat\n"
                 f"set mta={scheme}://bonnie:{PASSWORD}@localhost:{bench.smtp(way)}\nset smtp-auth={mechanism}\n"
                 f"set from={SENDER}\nset hostname=client.invalid\nset DEAD={place}/dead.letter\n"
                 "set sendwait\nset mime-encoding=8b\n"
                 f"set tls-ca-file={bench.ca} tls-ca-no-defaults tls-verify=strict\n"
                 + ("set smtp-use-starttls\n" if way == "starttls" else ""))
    attach: tuple[str, ...] = ()
    if message.attachment is not None:
        (place / "twenty.bin").write_bytes(message.attachment)
        attach = ("-a", "twenty.bin")
    run(place, "s-nail", "-n", *attach, "-s", "clients", message.recipient, octets=message.text.encode(),
        MAILRC=str(rc))
    return same_decoded(message, arrived(bench, way))


def python_smtplib(bench: Bench, way: str, message: Message) -> str:
    """smtplib; the login is of its choice, CRAM-MD5 where it is offered."""
    context = bench.context()
    implicit = way == "implicit"
    kind = (lambda port: smtplib.SMTP_SSL("localhost", port, context=context)) if implicit else (
        lambda port: smtplib.SMTP("localhost", port))
    with kind(bench.smtp(way)) as client:
        if way == "starttls":
            client.starttls(context=context)
        client.login("bonnie", PASSWORD)
        client.sendmail(SENDER, [message.recipient], message.wire, ["SMTPUTF8"] if message.name == "utf-8" else [])
    return same(message, arrived(bench, way))


TCL = """
package require mime
package require smtp
lassign $argv port way ca user password from to text attachment
proc text {path} {
    set file [open $path]
    fconfigure $file -encoding utf-8
    set text [read $file]
    close $file
    return $text
}
set token [mime::initialize -canonical text/plain -param {charset utf-8} -encoding 8bit -string [text $text]]
if {$attachment ne ""} {
    set second [mime::initialize -canonical application/octet-stream -encoding base64 -file $attachment]
    set token [mime::initialize -canonical multipart/mixed -parts [list $token $second]]
}
set options [list -servers localhost -ports $port -client client.invalid -username $user -password $password]
if {$way ne "plain"} {
    package require tls
    ::tls::init -cafile $ca -require 1
}
lappend options -usetls [expr {$way eq "starttls"}]
if {$way eq "implicit"} {lappend options -tlsimport 1}
set failed [smtp::sendmessage $token {*}$options -originator $from -recipients $to -header [list From $from] \\
    -header [list To $to] -header [list Subject clients]]
mime::finalize $token -subordinates all
if {[llength $failed]} {puts stderr $failed; exit 1}
"""


def tcllib(bench: Bench, way: str, message: Message) -> str:
    """Tcllib's smtp::sendmessage, which builds the message itself; the login is of its choice."""
    place = bench.place()
    (place / "send.tcl").write_text(TCL)
    (place / "text").write_bytes(message.text.encode())
    attachment = place / "twenty.bin"
    if message.attachment is not None:
        attachment.write_bytes(message.attachment)
    run(place, "tclsh", place / "send.tcl", str(bench.smtp(way)), way, bench.ca, "bonnie", PASSWORD, SENDER,
        message.recipient, place / "text", "" if message.attachment is None else attachment)
    return same_decoded(message, arrived(bench, way))


def arrived(bench: Bench, way: str) -> bytes:
    """The one message that is in the maildrop now; it is taken out. Its Received line must tell of login and TLS."""
    found = bench.mailboxes(take=True)
    if len(found) != 1:
        raise Wrong(f"{len(found)} messages arrived, not one")
    received = parts(found[0])[0][1]
    if not re.search(rb" with (ESMTP|UTF8SMTP)A " if way == "plain" else rb" with (ESMTP|UTF8SMTP)SA ", received):
        raise Wrong(f"not the way it was meant to go: {received!r}")
    return found[0]


# --- programs that fetch: (bench, way) gives what they stored; they delete on the server --------------------


def mpop(bench: Bench, way: str) -> list[bytes]:
    """mpop into a maildir; the login by CRAM-MD5, SCRAM-SHA-256, PLAIN."""
    place = bench.place()
    maildir = make_maildir(place)
    mechanism = dict(zip(WAYS, ("cram-md5", "scram-sha-256", "plain"), strict=True))[way]
    private(place / "mpoprc", f"account default\nhost localhost\nport {bench.pop3(way)}\nuser clyde\n"
            f"password {PASSWORD}\nauth {mechanism}\ndelivery maildir {maildir}\nkeep off\nreceived_header off\n"
            f"uidls_file {place}/uidls\ntls {'off' if way == 'plain' else 'on'}\n"
            f"tls_starttls {'on' if way == 'starttls' else 'off'}\ntls_trust_file {bench.ca}\n")
    run(place, "mpop", "-C", place / "mpoprc")
    return read_maildir(maildir)


def fetchmail(bench: Bench, way: str) -> list[bytes]:
    """fetchmail into files; USER and PASS."""
    place = bench.place()
    spool, script = make_spool(place)
    tls = {"plain": "sslproto ''", "starttls": f"sslproto 'auto' sslcertck sslcertfile '{bench.ca}'",
           "implicit": f"ssl sslcertck sslcertfile '{bench.ca}'"}[way]
    private(place / "fetchmailrc", f"set no syslog\npoll localhost service {bench.pop3(way)} protocol pop3 "
            f"auth password\n  user 'clyde' password '{PASSWORD}' is 'clyde' here {tls}\n"
            f"  fetchall no keep no rewrite pass8bits stripcr mda '{script}'\n")
    run(place, "fetchmail", "--fetchmailrc", place / "fetchmailrc", "--invisible", "--silent", "--pidfile",
        place / "pid", FETCHMAILHOME=str(place))
    return [path.read_bytes() for path in spool.iterdir()]


def getmail(bench: Bench, way: str) -> list[bytes]:
    """getmail6 into files (as root it refuses maildirs); USER and PASS."""
    place = bench.place()
    spool, script = make_spool(place)
    kind = "SimplePOP3SSLRetriever" if way == "implicit" else "SimplePOP3Retriever"
    trust = f"ca_certs = {bench.ca}\n" if way == "implicit" else ""
    private(place / "getmailrc", f"[retriever]\ntype = {kind}\nserver = localhost\nport = {bench.pop3(way)}\n"
            f"username = clyde\npassword = {PASSWORD}\n{trust}[destination]\n"
            f"type = MDA_external\npath = {script}\nallow_root_commands = true\n"
            "[options]\ndelete = true\nreceived = false\ndelivered_to = false\nverbose = 0\n")
    run(place, "getmail", "--getmaildir", place, "--rcfile", "getmailrc")
    return [path.read_bytes() for path in spool.iterdir()]


def curl_fetch(bench: Bench, way: str) -> list[bytes]:
    """curl, a command a message; the login by CRAM-MD5, PLAIN, LOGIN. The maildrop is emptied with DELE."""
    place = bench.place()
    scheme = "pop3s" if way == "implicit" else "pop3"
    mechanism = dict(zip(WAYS, ("CRAM-MD5", "PLAIN", "LOGIN"), strict=True))[way]
    private(place / "curlrc", f'cacert = "{bench.ca}"\nuser = "clyde:{PASSWORD}"\nlogin-options = "AUTH={mechanism}"\n'
            "silent\nshow-error\n" + ("ssl-reqd\n" if way == "starttls" else ""))
    url = f"{scheme}://localhost:{bench.pop3(way)}/"
    found = [run(place, "curl", "-q", "-K", place / "curlrc", f"{url}{number}")
             for number in range(1, len(bench.messages) + 1)]
    for _ in bench.messages:
        run(place, "curl", "-q", "-K", place / "curlrc", "-I", "-X", "DELE 1", url)
    return found


def python_poplib(bench: Bench, way: str) -> list[bytes]:
    """poplib; USER and PASS, RETR line by line, DELE."""
    poplib._MAXLINE = 1 << 20  # type: ignore[attr-defined]  # its own limit of 2,048 octets a line is below ours
    context = bench.context()
    client = (poplib.POP3_SSL("localhost", bench.pop3(way), context=context) if way == "implicit"
              else poplib.POP3("localhost", bench.pop3(way)))
    if way == "starttls":
        client.stls(context)
    client.user("clyde")
    client.pass_(PASSWORD)
    found = []
    for number in range(1, client.stat()[0] + 1):
        found.append(b"\r\n".join(client.retr(number)[1]) + b"\r\n")
        client.dele(number)
    client.quit()
    return found


def make_spool(place: Path) -> tuple[Path, Path]:
    """A folder, and a command that puts its standard input into a new file there."""
    spool, script = place / "spool", place / "deliver"
    spool.mkdir()
    script.write_text(f"#!/bin/sh\nexec cat > {spool}/$$\n")
    script.chmod(0o700)
    return spool, script


def make_maildir(place: Path) -> Path:
    """An empty maildir."""
    for name in ("cur", "new", "tmp"):
        (place / "maildir" / name).mkdir(parents=True)
    return place / "maildir"


def read_maildir(maildir: Path) -> list[bytes]:
    """The octets of every message that was delivered."""
    return [path.read_bytes() for path in (maildir / "new").iterdir()]


# --- the table --------------------------------------------------------------------------------------------------------

SENDERS: dict[str, Callable[[Bench, str, Message], str]] = {
    "curl": curl_send, "swaks": swaks, "msmtp": msmtp, "s-nail": s_nail, "smtplib": python_smtplib, "tcllib": tcllib,
}
FETCHERS: dict[str, Callable[[Bench, str], list[bytes]]] = {
    "mpop": mpop, "fetchmail": fetchmail, "getmail6": getmail, "curl": curl_fetch, "poplib": python_poplib,
}
NO_SMTPUTF8 = "the program has no SMTPUTF8 (RFC 6531)"
CANNOT = {
    ("swaks", "utf-8"): NO_SMTPUTF8, ("msmtp", "utf-8"): NO_SMTPUTF8, ("s-nail", "utf-8"): NO_SMTPUTF8,
    ("tcllib", "utf-8"): NO_SMTPUTF8, ("getmail6", "starttls"): "the program has no STLS, only implicit TLS",
}


def fetched(wanted: list[bytes], found: list[bytes]) -> list[str]:
    """A result for each message: line ends are the program's own affair, nothing else is."""
    rest = [octets.replace(b"\r\n", b"\n") for octets in found]
    results = []
    for octets in wanted:
        lf = octets.replace(b"\r\n", b"\n")
        if lf in rest:
            rest.remove(lf)
            results.append("ok")
        else:
            close = max(rest, key=lambda other: len(os.path.commonprefix([lf, other])), default=b"")
            results.append(f"FAILED {difference(lf, close)}")
    return results


def rows(bench: Bench, only: set[str]) -> Iterator[tuple[str, str, list[str]]]:
    """(client, way, a result for each message)."""
    for name, send in SENDERS.items():
        for way in WAYS if not only or name in only else ():
            results = []
            for message in bench.messages:
                if (name, message.name) in CANNOT or (name, way) in CANNOT:
                    results.append("-")
                    continue
                bench.mailboxes(take=True)
                results.append(attempt(send, bench, way, message))
            yield f"{name} sends", way, results
    for name, fetch in FETCHERS.items():
        for way in WAYS if not only or name in only else ():
            if (name, way) in CANNOT:
                yield f"{name} fetches", way, ["-"] * len(MESSAGES)
                continue
            wanted = bench.fill()
            found = attempt(fetch, bench, way)
            if isinstance(found, list) and (left := len(bench.mailboxes(take=False))):
                found = f"FAILED {left} messages were left in the maildrop"
            yield f"{name} fetches", way, [found] * len(MESSAGES) if isinstance(found, str) else fetched(wanted, found)


def attempt(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` returns, or a text that says how it failed."""
    try:
        return work(*arguments)
    except Missing as error:
        return f"{NOT_RUN}: {error}"
    except (Wrong, OSError, smtplib.SMTPException, poplib.error_proto) as error:
        return f"FAILED {error}"


def line(client: str, way: str, results: Iterable[str]) -> str:
    """One line of the table; what went wrong is told below it."""
    cells = [result if result in GOOD else NOT_RUN if result.startswith(NOT_RUN) else "FAILED" for result in results]
    return f"{client:18} {way:9} " + " ".join(f"{cell:12}" for cell in cells).rstrip()


def main() -> int:
    """The whole table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of clients, with commas")
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    args = parser.parse_args()
    only = set(filter(None, args.only.split(",")))
    if unknown := only - SENDERS.keys() - FETCHERS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SENDERS | FETCHERS)}")
    folder = args.keep or Path(tempfile.mkdtemp(prefix="clients."))
    folder.mkdir(mode=0o700, exist_ok=True)
    bench = Bench(folder)
    bad: list[str] = []
    try:
        bench.start()
        print(f"{'client':18} {'way':9} " + " ".join(f"{name:12}" for name in MESSAGES))
        for client, way, results in rows(bench, only):
            print(line(client, way, results), flush=True)
            bad += [result if result.startswith(NOT_RUN) else f"{client}, {way}, {name}: {result}"
                    for name, result in zip(MESSAGES, results, strict=True) if result not in GOOD]
        for (name, what), why in CANNOT.items():
            if not only or name in only:
                print(f"- {name}, {what}: {why}")
    finally:
        bench.bridge.stop()
        if not args.keep:
            shutil.rmtree(folder)
    print("\n".join(dict.fromkeys(bad)) or "all that a client can do went through unchanged")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
