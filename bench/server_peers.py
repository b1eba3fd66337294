"""Private mail servers on loopback for servers.py: Postfix with Dovecot's login, Exim, aiosmtpd, smtp-sink.

Each has its files in a folder of its own, takes mail for any domain, keeps it, and can show what it took.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from bridge import HOST, free_port

USER = "bridge"
PASSWORD = "Correct-Horse7Battery"
MECHANISMS = ("SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5", "LOGIN", "PLAIN")
START_SECONDS = 20.0
STOP_SECONDS = 10.0
TRACE = re.compile(rb"(?:Return-Path|Received|Delivered-To|X-Original-To|Envelope-to|Delivery-date|X-Client-Addr|"
                   rb"X-Client-Proto|X-Helo-Args|X-Mail-Args|X-Rcpt-Args):", re.I)


class Missing(Exception):
    """A program is not installed."""


class Arrived:
    """One message as a server keeps it, with LF: `recipients` it is for, `trace` lines on top, `text` below them."""

    def __init__(self, octets: bytes, recipients: list[str] | None = None) -> None:
        lines = octets.split(b"\n")
        end = 0
        while TRACE.match(lines[end]) or (end and lines[end][:1] in (b" ", b"\t")):
            end += 1
        self.trace = b"\n".join(lines[:end])
        self.text = b"\n".join(lines[end:])
        self.recipients = self._named() if recipients is None else recipients

    def _named(self) -> list[str]:
        """As the server's own trace lines say."""
        fields = self.trace.decode("utf-8", "replace").replace("\n ", " ").replace("\n\t", " ").split("\n")
        for name in ("X-Rcpt-Args", "Delivered-To", "Envelope-to"):
            if found := " ".join(field for field in fields if field.startswith(f"{name}:")):
                return re.findall(r"[^\s<>,]+@[^\s<>,]+", found)
        return []


def wait_for(port: int, process: subprocess.Popen[bytes] | None, what: str) -> None:
    """Until it greets. Raises SystemExit."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            socket.create_connection((HOST, port), 1.0).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{what} did not start")


def end(process: subprocess.Popen[bytes]) -> None:
    """By its process id, by force when it takes long."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def program(*names: str) -> str:
    """The first that is installed. Raises Missing."""
    for name in names:
        if found := shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return found
    raise Missing(f"{names[0]} is not installed")


def folder_of(name: str, folder: Path, user: str | None = None) -> Path:
    """A new folder, perhaps of another user."""
    path = folder / name
    path.mkdir(parents=True)
    if user is not None:
        shutil.chown(path, user)
    return path


class Dovecot:
    """A private Dovecot that only answers Postfix's questions about logins, on the socket `auth`."""

    def __init__(self, folder: Path) -> None:
        dovecot = program("dovecot")
        run = folder_of("dovecot", folder)
        self.socket = run / "auth"
        (run / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        (run / "dovecot.conf").write_text("\n".join([
            f"base_dir = {run}/run", f"state_dir = {run}/state", f"log_path = {run}/log", "protocols =", "ssl = no",
            f"auth_mechanisms = {' '.join(MECHANISMS).lower()}",
            "passdb {", "driver = passwd-file", f"args = {run}/users", "}",
            "userdb {", "driver = static", "args = uid=nobody gid=nogroup home=/nonexistent", "}",
            "service auth {", f"unix_listener {self.socket} {{", "mode = 0600", "user = postfix", "}", "}",
            "service stats {", "chroot =", "}"]) + "\n")
        self.process = subprocess.Popen([dovecot, "-F", "-c", run / "dovecot.conf"], stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if time.monotonic() > until or self.process.poll() is not None:
                self.stop()
                raise SystemExit(f"Dovecot did not start; see {run}/log")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        end(self.process)


class Postfix:
    """One Postfix that requires TLS and a login: a port with all mechanisms, one for each of them, and one for SMTPS.

    Mail goes to one maildir; `ports` are by mechanism, "" for all and "implicit".
    """

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        postfix = program("postfix")
        self.dovecot = Dovecot(folder)
        base = folder_of("postfix", folder)
        self.base = base
        etc, queue = folder_of("etc", base), folder_of("queue", base)
        folder_of("data", base, "postfix")
        folder_of("mail", base, "nobody")
        owner = pwd.getpwnam("nobody")
        self.ports = {name: free_port() for name in ("", *MECHANISMS, "implicit")}
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in {
            "compatibility_level": "3.6", "queue_directory": queue, "data_directory": base / "data",
            "inet_interfaces": HOST, "inet_protocols": "ipv4", "myhostname": "postfix.invalid", "mydestination": "",
            "mynetworks": "", "alias_maps": "", "local_recipient_maps": "", "message_size_limit": 0,
            "mailbox_size_limit": 0, "virtual_mailbox_limit": 0, "smtpd_peername_lookup": "no",
            "disable_dns_lookups": "yes", "maillog_file": base / "log", "maillog_file_prefixes": base,
            "smtpd_tls_cert_file": certificate, "smtpd_tls_key_file": key, "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_auth_only": "yes", "smtpd_tls_received_header": "yes", "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": self.dovecot.socket,
            "smtpd_sasl_authenticated_header": "yes",
            "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated,reject",
            "virtual_mailbox_domains": "static:all", "virtual_mailbox_base": base / "mail",
            "virtual_mailbox_maps": "static:box/", "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
        }.items()))
        rows = []
        for name, port in self.ports.items():
            row = f"{HOST}:{port} inet n - n - - smtpd"
            if name in MECHANISMS:
                row += f" -o smtpd_sasl_mechanism_filter={name}"
            if name == "implicit":
                row += " -o smtpd_tls_wrappermode=yes"
            rows.append(row)
        rows += [f"{service} {kind} {private} {'n' if service == 'virtual' else '-'} n {wake} {most} {command}"
                 for service, kind, private, wake, most, command in (
                     ("pickup", "unix", "n", "60", "1", "pickup"), ("cleanup", "unix", "n", "-", "0", "cleanup"),
                     ("qmgr", "unix", "n", "300", "1", "qmgr"), ("tlsmgr", "unix", "-", "1000?", "1", "tlsmgr"),
                     ("rewrite", "unix", "-", "-", "-", "trivial-rewrite"), ("bounce", "unix", "-", "-", "0", "bounce"),
                     ("defer", "unix", "-", "-", "0", "bounce"), ("trace", "unix", "-", "-", "0", "bounce"),
                     ("proxymap", "unix", "-", "-", "-", "proxymap"), ("error", "unix", "-", "-", "-", "error"),
                     ("retry", "unix", "-", "-", "-", "error"), ("virtual", "unix", "-", "-", "-", "virtual"),
                     ("anvil", "unix", "-", "-", "1", "anvil"), ("showq", "unix", "n", "-", "-", "showq"),
                     ("postlog", "unix-dgram", "n", "-", "1", "postlogd"))]
        (etc / "master.cf").write_text("\n".join(rows) + "\n")
        done = subprocess.run([postfix, "-c", etc, "start"], capture_output=True, check=False)
        if done.returncode:
            self.dovecot.stop()
            raise SystemExit(f"Postfix did not start: {(done.stdout + done.stderr).decode()[-500:]}")
        for port in self.ports.values():
            wait_for(port, None, "Postfix")

    def stop(self) -> None:
        """End both."""
        pid = int((self.base / "queue/pid/master.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        self.dovecot.stop()

    def arrived(self) -> Iterator[Arrived]:
        """Everything that is in the maildir: a copy for each recipient."""
        for path in (self.base / "mail/box/new").glob("*"):
            yield Arrived(path.read_bytes())

    def busy(self) -> bool:
        """Whether something is still on its way into the maildir."""
        return any(path.is_file() for name in ("incoming", "active", "maildrop", "deferred")
                   for path in (self.base / "queue" / name).rglob("*"))

    def proof(self, name: str) -> str:
        """What it noted of the logins on a port."""
        ways = {"": "SCRAM-SHA-256", "implicit": "SCRAM-SHA-256"}
        wanted = ways.get(name, name)
        log = (self.base / "log").read_text()
        count = log.count(f"sasl_method={wanted}, sasl_username={USER}")
        return f"sasl_method={wanted}" if count else ""


class Exim:
    """An Exim that takes mail after STARTTLS and a CRAM-MD5 login only, into one maildir."""

    def __init__(self, folder: Path, certificate: Path, key: Path, exim: str | None) -> None:
        self.program = exim or program("exim4", "exim")
        user = "Debian-exim"
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise Missing(f"Exim needs its user: useradd --system {user}") from None
        base = folder_of("exim", folder, user)
        for name in ("spool", "log", "mail"):
            folder_of(name, base, user)
        own_key = base / "key.pem"
        shutil.copyfile(key, own_key)
        own_key.chmod(0o600)
        shutil.chown(own_key, user)
        self.base, self.port = base, free_port()
        (base / "exim.conf").write_text("\n".join([
            "primary_hostname = exim.invalid", f"exim_path = {self.program}", f"spool_directory = {base}/spool",
            f"log_file_path = {base}/log/%slog",
            "keep_environment =", "host_lookup =", "rfc1413_hosts =", "check_spool_space = 0",
            "smtputf8_advertise_hosts = *",
            "tls_advertise_hosts = *", f"tls_certificate = {certificate}", f"tls_privatekey = {own_key}",
            "auth_advertise_hosts = ${if def:tls_in_cipher {*}{}}",
            "acl_smtp_rcpt = rcpt", "acl_smtp_data = accept", "message_size_limit = 100M",
            "begin acl", "rcpt:", "accept encrypted = *", "authenticated = *", "deny message = log in first",
            "begin routers", "all:", "driver = accept", "transport = box",
            "begin transports", "box:", "driver = appendfile", f"directory = {base}/mail", "maildir_format",
            "envelope_to_add", "return_path_add", f"user = {user}",
            "begin authenticators", "cram:", "driver = cram_md5", "public_name = CRAM-MD5",
            f"server_secret = ${{if eq{{$auth1}}{{{USER}}}{{{PASSWORD}}}fail}}", "server_set_id = $auth1"]) + "\n")
        with (base / "log/start").open("wb") as log:
            self.process = subprocess.Popen(
                [self.program, "-C", base / "exim.conf", "-bdf", "-oX", f"{HOST}.{self.port}", "-oP", base / "pid"],
                stdout=log, stderr=log)
        wait_for(self.port, self.process, f"Exim (see {base}/log)")

    def stop(self) -> None:
        """End it."""
        end(self.process)

    def arrived(self) -> Iterator[Arrived]:
        """Everything that is in the maildir: a copy for each recipient."""
        for path in (self.base / "mail/new").glob("*"):
            yield Arrived(path.read_bytes())

    def busy(self) -> bool:
        """Whether something is still on its way into the maildir."""
        return any((self.base / "spool/input").rglob("*-H"))

    def proof(self) -> str:
        """What it noted of the login."""
        found = re.search(r"A=(cram:\w+)", (self.base / "log/mainlog").read_text())
        return f"A={found.group(1)}" if found else ""


class AIOSMTPD:
    """aiosmtpd in a thread of ours, TLS and login required; what it took in memory."""

    def __init__(self, certificate: Path, key: Path, implicit: bool = False) -> None:
        self.port = free_port()
        self.taken: list[Arrived] = []
        self.logins: set[str] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        tls: dict[str, Any] = {"ssl_context": context, "auth_require_tls": False} if implicit else {
            "tls_context": context, "require_starttls": True}
        logging.getLogger("mail").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="aiosmtpd")
        self._controller = Controller(
            self, hostname=HOST, port=self.port, enable_SMTPUTF8=True, decode_data=False, auth_required=True,
            authenticator=self._login, **tls)
        self._controller.start()

    def _login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = data == LoginPassword(USER.encode(), PASSWORD.encode())
        if good:
            self.logins.add(mechanism)
        return AuthResult(success=good, handled=False)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """See aiosmtpd."""
        await asyncio.sleep(0)
        self.taken.append(Arrived(envelope.content.replace(b"\r\n", b"\n"), list(envelope.rcpt_tos)))
        return "250 2.0.0 taken"

    def stop(self) -> None:
        """End it."""
        self._controller.stop()

    def arrived(self) -> Iterator[Arrived]:
        """Everything it took."""
        return iter(self.taken)

    def busy(self) -> bool:
        """Nothing is on its way inside."""
        return False

    def proof(self) -> str:
        """What it saw of the login."""
        return f"AUTH {'/'.join(sorted(self.logins))}" if self.logins else ""


class Sink:
    """smtp-sink with switches; `heal` starts it anew without them, in a new folder and on the same port."""

    def __init__(self, name: str, folder: Path, switches: tuple[str, ...]) -> None:
        self.program = program("smtp-sink")
        self.base, self.port, self.switches = folder_of(f"sink-{name}", folder), free_port(), switches
        self.dumps: list[Path] = []
        self._start(switches)

    def _start(self, switches: tuple[str, ...]) -> None:
        place = folder_of(f"dumps{len(self.dumps)}", self.base, "nobody")
        self.dumps.append(place)
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "-u", "nobody", *switches, "-d", f"{place}/", f"{HOST}:{self.port}", "100"],
                cwd=place, stdout=log, stderr=log)
        wait_for(self.port, self.process, f"smtp-sink {' '.join(switches)}")

    def stop(self) -> None:
        """End it."""
        end(self.process)

    def heal(self) -> None:
        """The same without the failure."""
        self.stop()
        self._start(())

    def arrived(self) -> Iterator[Arrived]:
        """What it took, since it was healed if it was; it keeps what it refused at the end of the content too."""
        return self.kept(self.dumps[-1])

    def kept(self, place: Path) -> Iterator[Arrived]:
        """Everything that it wrote down, taken or not."""
        for path in place.glob("*"):
            yield Arrived(path.read_bytes().removesuffix(b"\n"))

    def busy(self) -> bool:
        """Nothing is on its way inside."""
        return False

    def proof(self) -> str:
        """Its switches."""
        return " ".join(self.switches)
