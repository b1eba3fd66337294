"""Mail through real servers: the bridge as their client, and `sendmessage` directly; smtp-sink with its failures.

    python bench/servers.py [--messages N] [--keep FOLDER] [--exim PROGRAM]

A private Postfix that requires STARTTLS and a login checked by a private Dovecot (a port for each mechanism, one with
implicit TLS), Exim, aiosmtpd, and smtp-sink, each on loopback. A user of the bridge sends N messages through each
(small, dots, 8-bit, 1 MiB, five recipients, a UTF-8 address), `sendmessage` one of each kind. What the servers keep is
compared octet for octet below their trace lines; each recipient must have it once.

Then smtp-sink fails on purpose, at each step and in each of its ways. Nothing may bounce that it refused for now: it
waits, is tried again, and arrives once when smtp-sink is well. What it refused for good comes back to the sender with
the server's words. Where it hangs up after the content a copy may have been taken before: the copies are shown.

Needs root (Postfix and Exim give up their rights), postfix, dovecot-core and exim4-daemon-light; as Debian lets only
one of Postfix and Exim be installed, `--exim` takes one that was unpacked with `dpkg -x`, and needs the user
Debian-exim. What is missing is said and counts as a failure. About a minute. Exit code 1 when anything fails.
"""

from __future__ import annotations

import argparse
import base64
import random
import re
import shutil
import smtplib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from email import message_from_bytes
from pathlib import Path
from typing import Any

from bridge import DOMAIN, HOST, ROOT, Bridge, Lines
from server_peers import AIOSMTPD, MECHANISMS, PASSWORD, USER, Arrived, Exim, Missing, Postfix, Sink

sys.path.insert(0, str(ROOT))

from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread

from mailbridge import certificate
from mailbridge.sendmail import SendFailure, SendResult, Trust, sendmessage

SENDER = f"bonnie@{DOMAIN}"
KINDS = ("small", "dots", "8-bit", "1 MiB", "five", "utf-8")
SECONDS = 90.0
WORDS = "5.7.77 we do not want it, said the sink"
HARD = ("-B", f"550 {WORDS}")

# What it is started with, what becomes of the bridge's mail, and the code that `sendmessage` is told (0: none).
WAITS, BOUNCES, PAUSES = "waits", "bounces", "pauses"
FAILURES: tuple[tuple[tuple[str, ...], str, int], ...] = (
    *((("-r", step), WAITS, 450) for step in ("CONNECT", "EHLO,HELO", "MAIL", "RCPT", "DATA", ".")),
    *((("-q", step), WAITS, 0) for step in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".")),
    *((("-Q", step), WAITS, 421) for step in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".")),
    *((("-f", step), BOUNCES, 550) for step in ("MAIL", "RCPT", "DATA", ".")),
    *((("-f", step), PAUSES, 550) for step in ("CONNECT", "EHLO,HELO")),
    (("-A", "1"), BOUNCES, 550),
)
WELL = ((), ("-8",), ("-e",), ("-p",), ("-N",), ("-E",), ("-w", "1"), ("-L",))


class Sent:
    """One message: `lf` its octets with LF, `tag` its Message-ID, `recipients` whom it is for."""

    def __init__(self, kind: str, tag: str, domain: str) -> None:
        self.kind, self.tag = kind, f"<{tag}@{DOMAIN}>"
        count = 5 if kind == "five" else 1
        local = "bücher.日本" if kind == "utf-8" else "clyde"
        self.recipients = [f"{local}{number or ''}@{domain}" for number in range(count)]
        head = [f"From: Bonnie <{SENDER}>", f"To: {', '.join(self.recipients)}", f"Subject: servers {kind}",
                "Date: Fri, 20 Nov 2026 12:00:00 +0000", f"Message-ID: {self.tag}", "X-Folded: one\n two",
                "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
                f"Content-Transfer-Encoding: {'8bit' if kind in ('8-bit', 'utf-8') else '7bit'}"]
        self.lf = ("\n".join(head) + "\n\n" + self._body(kind, tag)).encode()

    @staticmethod
    def _body(kind: str, tag: str) -> str:
        if kind == "dots":
            return "\n".join([".a dot", "..two", ".", "..", "", ". and a space", "." + "y" * 900, "", "", "."]) + "\n"
        if kind == "8-bit":
            return "Grüße aus Köln, 日本語, trailing space \n.ß\n" * 20
        if kind == "1 MiB":
            return base64.encodebytes(random.Random(tag).randbytes(776_000)).decode()
        return f"One line of {tag}.\n"


class Row:
    """One server, or one way into it: a relay of the bridge, a line of the table."""

    def __init__(self, name: str, label: str, server: Any, port: int, settings: dict[str, Any],
                 expected: str = "", code: int = 0) -> None:
        self.name, self.label, self.server, self.port, self.settings = name, label, server, port, settings
        self.expected, self.code = expected, code
        self.by_bridge: list[Sent] = []
        self.direct: list[Sent] = []
        self.told: list[str] = []
        self.wrong: list[str] = []

    @property
    def domain(self) -> str:
        """All mail for it goes to this server."""
        return f"{self.name}.invalid"

    def kinds(self) -> Iterable[str]:
        """smtp-sink has no SMTPUTF8."""
        return KINDS[:-1] if isinstance(self.server, Sink) else KINDS


class Stage:
    """All servers, the bridge and the thread of the reactor; `end` ends what was started."""

    def __init__(self, folder: Path, exim: str | None) -> None:
        self.folder, self.exim = folder, exim
        self.rows: list[Row] = []
        self.missing: list[str] = []
        self.servers: list[Any] = []
        self.password = folder / "password"
        self.password.touch(0o600)
        self.password.write_text(PASSWORD)
        self.ca, self.key = folder / "cert.pem", folder / "key.pem"
        certificate.write(certificate.make(("localhost", HOST), 90, time.time()), self.ca, self.key)

    def _start(self, start: Callable[[], Any]) -> Any:
        try:
            server = start()
        except Missing as error:
            self.missing.append(str(error))
            return None
        self.servers.append(server)
        return server

    def _real_servers(self) -> None:
        login = {"tls": "require", "user": USER}
        if postfix := self._start(lambda: Postfix(self.folder, self.ca, self.key)):
            self.rows.append(Row("postfix", "Postfix STARTTLS, all", postfix, postfix.ports[""], login))
            for name in MECHANISMS:
                label = f"Postfix STARTTLS, {name}"
                self.rows.append(Row(f"postfix-{name.lower()}", label, postfix, postfix.ports[name], login))
            self.rows.append(Row("postfix-implicit", "Postfix SMTPS, all", postfix, postfix.ports["implicit"],
                                 {"tls": "implicit", "user": USER}))
        if server := self._start(lambda: Exim(self.folder, self.ca, self.key, self.exim)):
            self.rows.append(Row("exim", "Exim STARTTLS, CRAM-MD5", server, server.port, login))
        server = self._start(lambda: AIOSMTPD(self.ca, self.key))
        self.rows.append(Row("aiosmtpd", "aiosmtpd STARTTLS", server, server.port, login))
        server = self._start(lambda: AIOSMTPD(self.ca, self.key, implicit=True))
        self.rows.append(Row("aiosmtpd-implicit", "aiosmtpd implicit TLS", server, server.port,
                             {"tls": "implicit", "user": USER}))

    def _sinks(self) -> None:
        for number, switches in enumerate(WELL):
            sink = self._start(lambda number=number, switches=switches: Sink(f"well{number}", self.folder, switches))
            if sink is None:
                return
            settings: dict[str, Any] = {"tls": "off"}
            if switches == ():
                settings |= {"user": USER, "auth_in_clear": True}
            if switches == ("-L",):
                settings["lmtp"] = True
            self.rows.append(Row(f"well{number}", f"smtp-sink {' '.join(switches)}", sink, sink.port, settings))
        for number, (switches, expected, code) in enumerate(FAILURES):
            sink = Sink(f"fails{number}", self.folder, (*HARD, *switches))
            self.servers.append(sink)
            self.rows.append(Row(f"fails{number}", f"smtp-sink {' '.join(switches)}", sink, sink.port, {"tls": "off"},
                                 expected, code))

    def _configuration(self) -> str:
        text = ["[queue]", "retry = 1", "longest_retry = 1", "pause = 1", "notices_per_minute = 10000"]
        for row in self.rows:
            text += ["[[route]]", f'to = "relay:{row.name}"', f"recipient = '.*@{re.escape(row.domain)}'"]
        for row in self.rows:
            text += [f"[relay.{row.name}]", f'servers = ["localhost:{row.port}"]', f'tls = "{row.settings["tls"]}"']
            if row.settings["tls"] != "off":
                text.append(f'ca = "{self.ca}"')
            if "user" in row.settings:
                text += [f'user = "{USER}"', f'password = {{ file = "{self.password}" }}']
            text += [f"{key} = true" for key in ("auth_in_clear", "lmtp") if row.settings.get(key)]
        return "\n".join(text)

    def start(self) -> None:
        """Servers, the bridge with its user, and the reactor."""
        self._real_servers()
        self._sinks()
        self.bridge = Bridge(self.folder / "bridge", more=self._configuration())
        self.servers.insert(0, self.bridge)
        self.bridge.start()
        self.bridge.control("user add", name="bonnie", password=PASSWORD, keep_secret=True)
        threading.Thread(target=lambda: reactor.run(installSignalHandlers=False), daemon=True).start()

    def end(self) -> None:
        """End everything that was started."""
        for server in self.servers:
            server.stop()
        if reactor.running:
            reactor.callFromThread(reactor.stop)

    # --- sending ------------------------------------------------------------------------------------------------------

    def send_all(self, messages: int) -> int:
        """Hand the bridge `messages` for each row; how many in all."""
        count = 0
        with smtplib.SMTP(HOST, self.bridge.ports["smtp"]) as client:
            client.login("bonnie", PASSWORD)
            for row in self.rows:
                kinds = list(row.kinds())
                for number in range(messages):
                    sent = Sent(kinds[number % len(kinds)], f"bridge-{row.name}-{number}", row.domain)
                    options = ["BODY=8BITMIME", *(["SMTPUTF8"] if sent.kind == "utf-8" else [])]
                    client.sendmail(SENDER, sent.recipients, sent.lf.replace(b"\n", b"\r\n"), options)
                    row.by_bridge.append(sent)
                    count += 1
        return count

    def send_directly(self, row: Row) -> None:
        """One message of each kind with `sendmessage`, a failure of a failing sink too."""
        for kind in row.kinds():
            sent = Sent(kind, f"direct-{row.name}-{kind.replace(' ', '')}", row.domain)
            tls = row.settings["tls"]
            login = {"username": USER, "password": PASSWORD} if "user" in row.settings else {}
            try:
                result: SendResult = blockingCallFromThread(
                    reactor, sendmessage, reactor, sent.lf.replace(b"\n", b"\r\n"), servers="localhost", ports=row.port,
                    originator=SENDER, recipients=sent.recipients, tls=tls, lmtp=bool(row.settings.get("lmtp")),
                    trust=Trust(authorities=self.ca.read_text()) if tls != "off" else None, timeout=30.0,
                    password_in_clear=bool(row.settings.get("auth_in_clear")), **login)
            except SendFailure as failure:
                row.told.append(f"{failure.kind.value} {failure.code}" + (", maybe sent" if failure.maybe_sent else ""))
                if not row.expected:
                    row.wrong.append(f"sendmessage, {kind}: {failure.line}")
                elif failure.code != row.code:
                    row.wrong.append(f"sendmessage, {kind}: code {failure.code}, not {row.code}: {failure.line}")
                continue
            row.direct.append(sent)
            row.told.append(f"{result.tls or 'no TLS'}, {result.mechanism or 'no login'}")
            if row.expected:
                row.wrong.append(f"sendmessage, {kind}: did not fail: {result.answer}")

    # --- looking ------------------------------------------------------------------------------------------------------

    def waiting(self) -> list[dict[str, Any]]:
        """What is in the queue."""
        entries: list[dict[str, Any]] = []
        after = 0
        while after is not None:
            page = self.bridge.control("queue list", after=after)
            entries += page["entries"]
            after = page["next"]
        return entries

    def until(self, done: Callable[[list[dict[str, Any]]], bool], what: str) -> list[dict[str, Any]]:
        """Wait until the queue is so; what is in it then. Raises SystemExit."""
        end = time.monotonic() + SECONDS
        while not done(entries := self.waiting()):
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not after {SECONDS:.0f} s, {len(entries)} wait, such as {entries[:2]}")
            time.sleep(0.2)
        return entries

    def bounces(self) -> dict[str, str]:
        """The texts of the sender's maildrop by the Message-ID that came back. Raises SystemExit for two of one."""
        reader = Lines(self.bridge.ports["pop3"])
        reader.login("bonnie", PASSWORD)
        found: dict[str, str] = {}
        for number in range(1, reader.count() + 1):
            text = reader.text(b"RETR %d" % number).decode("utf-8", "replace")
            for tag in set(re.findall(r"^Message-ID: (<bridge-.*>)\r$", text, re.M)):
                if tag in found:
                    raise SystemExit(f"{tag} came back twice")
                found[tag] = text
        reader.quit()
        return found


# --- what must hold ---------------------------------------------------------------------------------------------------


def decoded(octets: bytes) -> bytes:
    """The text of a message with 8-bit content that may have been recoded."""
    return bytes(message_from_bytes(octets).get_payload(decode=True)).replace(b"\r\n", b"\n")


def same(row: Row, sent: Sent, found: Arrived) -> str:
    """What is wrong with a copy, nothing if it is as it was sent."""
    if found.text == sent.lf:
        return ""
    recodes = any(switch in ("-8", "-e") for switch in row.server.switches) if isinstance(row.server, Sink) else False
    if recodes and sent.kind == "8-bit" and decoded(found.text) == decoded(sent.lf) and found.text.isascii():
        return ""
    at = next((at for at, pair in enumerate(zip(found.text, sent.lf, strict=False)) if pair[0] != pair[1]), 0)
    near = slice(max(0, at - 30), at + 40)
    return f"{sent.tag} differs at {at}: {found.text[near]!r} for {sent.lf[near]!r}"


def apart(row: Row, sent: list[Sent], arrived: list[Arrived]) -> list[str]:
    """The messages that came to a server that keeps transactions, not copies, in more than one of them."""
    if isinstance(row.server, Postfix | Exim):
        return []
    return [each.tag for each in sent if sum(each.tag.encode() in found.text[:600] for found in arrived) > 1]


def compare(row: Row, sent: list[Sent], arrived: list[Arrived], none: bool = False) -> int:
    """Each recipient of each message has it once (`none`: nobody has it), unaltered; how many deliveries there are."""
    by_tag: dict[str, list[Arrived]] = {}
    for found in arrived:
        tag = re.search(rb"^Message-ID: (<.*>)$", found.text, re.M)
        by_tag.setdefault(tag.group(1).decode() if tag else "", []).append(found)
    good = 0
    for message in sent:
        copies = by_tag.get(message.tag, [])
        counted = Counter(recipient for found in copies for recipient in found.recipients)
        wanted = {} if none else dict.fromkeys(message.recipients, 1)
        if counted != wanted:
            row.wrong.append(f"{message.tag} ({message.kind}): delivered {dict(counted)}, not {wanted}")
            continue
        differences = [text for found in copies if (text := same(row, message, found))]
        row.wrong += differences
        good += 0 if differences else len(wanted)
    return good


def in_trouble(entries: list[dict[str, Any]], rows: list[Row]) -> bool:
    """Whether all that should wait was tried twice (of a lane in trouble: one), and nothing else waits."""
    waiting = {row.domain: row for row in rows if row.expected in (WAITS, PAUSES)}
    tried: Counter[str] = Counter()
    for entry in entries:
        domain = entry["recipient"].partition("@")[2]
        if domain not in waiting:
            return False
        tried[domain] = max(tried[domain], entry["attempts"])
    return all(tried[domain] >= 2 or row.expected == PAUSES for domain, row in waiting.items())


def check_failing(stage: Stage, row: Row, entries: list[dict[str, Any]], bounces: dict[str, str], alarms: str) -> None:
    """While it fails: what waits is all there; what was refused for good has come back."""
    waiting = Counter(entry["recipient"] for entry in entries if entry["target"] == f"relay:{row.name}")
    wanted = Counter(recipient for sent in row.by_bridge for recipient in sent.recipients)
    if row.expected == BOUNCES:
        wanted.clear()
        for sent in row.by_bridge:
            text = re.sub(r"\s+", " ", bounces.get(sent.tag, ""))
            said = "This violates SMTP" if row.server.switches[-2] == "-A" else WORDS
            missing = [word for word in (*sent.recipients, said) if word not in text]
            if missing:
                row.wrong.append(f"{sent.tag}: its bounce lacks {missing}" if text else f"{sent.tag}: no bounce")
    else:
        row.wrong += [f"{sent.tag} came back" for sent in row.by_bridge if sent.tag in bounces]
    if waiting != wanted:
        row.wrong.append(f"{waiting.total()} deliveries wait, not {wanted.total()}")
    if (f"relay:{row.name} is paused" in alarms) != (row.expected == PAUSES):
        row.wrong.append(f"alarm: {f'relay:{row.name} ' in alarms}")


def refused_copies(row: Row) -> str:
    """How many copies a sink had read to the end before it failed at the end of the content."""
    copies = Counter(re.findall(r"<bridge-.*?>", " ".join(
        found.text.decode("utf-8", "replace")[:600] for found in row.server.kept(row.server.dumps[0]))))
    return f"; read to the end while it failed: {sum(copies.values())}" if copies else ""


def judge_row(row: Row) -> str:
    """The line of the table, after everything was sent and healed."""
    arrived = list(row.server.arrived())
    bounced = row.expected == BOUNCES
    by_bridge = compare(row, row.by_bridge, arrived, none=bounced)
    direct = compare(row, row.direct, arrived)
    several = apart(row, row.by_bridge, arrived)
    if several and not row.expected:
        row.wrong.append(f"in more than one transaction: {several}")
    known = {sent.tag for sent in row.by_bridge + row.direct}
    mine = [found for found in arrived if any(each.endswith(f"@{row.domain}") for each in found.recipients)]
    strange = [found for found in mine if not any(tag.encode() in found.text[:600] for tag in known)]
    if strange:
        row.wrong.append(f"{len(strange)} messages that nobody sent")
    if isinstance(row.server, Postfix):
        proof = row.server.proof(row.name.removeprefix("postfix").removeprefix("-").replace("implicit", "").upper())
    else:
        proof = row.server.proof()
    if "user" in row.settings and not isinstance(row.server, Sink):
        if not proof:
            row.wrong.append("the server noted no login")
        if not isinstance(row.server, AIOSMTPD) and not all(
                re.search(rb"with (?:utf8)?e?smtpsa", found.trace, re.I) for found in mine):
            row.wrong.append("a message came without TLS and login")
    if row.expected:
        words = {WAITS: "waited, then arrived", BOUNCES: "came back with its words", PAUSES: "paused, then arrived"}
        what = f"{len(row.by_bridge)} messages {words[row.expected]} ({by_bridge} deliveries)"
        what += f", {len(several)} of them in parts" if several else ""
        how = "; ".join(f"{text} x{count}" for text, count in Counter(row.told).items()) + refused_copies(row)
    else:
        what = f"{len(row.by_bridge)} messages, {by_bridge} deliveries the same"
        how = f"{len(row.direct)} messages, {direct} deliveries the same: " + "; ".join(Counter(row.told))
        if proof and not isinstance(row.server, Sink):
            how += f"; it noted {proof}"
    return f"{'FAILED' if row.wrong else 'ok':6} {row.label:33} {what:70} | {how}"


def show(stage: Stage, messages: int) -> bool:
    """All of it; whether everything held."""
    rows = stage.rows
    begun = time.monotonic()
    count = stage.send_all(messages)
    print(f"the bridge took {count} messages for {len(rows)} servers in {time.monotonic() - begun:.1f} s")
    entries = stage.until(lambda found: in_trouble(found, rows), "what is well delivered, what fails tried twice")
    print(f"after {time.monotonic() - begun:.1f} s all is delivered or bounced but {len(entries)} deliveries that wait")
    for row in rows:
        stage.send_directly(row)
    entries, bounces = stage.waiting(), stage.bounces()
    alarms = " ".join(alarm["text"] for alarm in stage.bridge.control("queue stats")["alarms"])
    for row in rows:
        if row.expected:
            check_failing(stage, row, entries, bounces, alarms)
    begun = time.monotonic()
    for row in rows:
        if row.expected:
            row.server.heal()
    stage.until(lambda found: not found, "after smtp-sink is well again")
    print(f"smtp-sink is well again: the queue is empty after {time.monotonic() - begun:.1f} s; "
          f"{len(bounces)} messages had come back")
    while any(row.server.busy() for row in rows):
        time.sleep(0.1)
    late = set(stage.bounces()) - {sent.tag for row in rows if row.expected == BOUNCES for sent in row.by_bridge}
    for row in rows:
        print(judge_row(row))
        for text in row.wrong[:5]:
            print(f"         {text}")
    for text in stage.missing:
        print(f"FAILED {text}")
    for tag in late:
        print(f"FAILED {tag} came back")
    return not (late or stage.missing or any(row.wrong for row in rows))


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description="mail through real servers")
    parser.add_argument("--messages", type=int, default=12, help="for each server, through the bridge")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for all files, which is kept")
    parser.add_argument("--exim", metavar="PROGRAM", help="the program of Exim 4")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="servers-"))
    folder.chmod(0o755)
    stage = Stage(folder.resolve(), options.exim)
    try:
        stage.start()
        good = show(stage, options.messages)
    finally:
        stage.end()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("all of it holds" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
