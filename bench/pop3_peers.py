"""POP3 servers to collect from: a private Dovecot, popa3d, servers that hang or cut, and a slow line in front of one.

Each listens on a free loopback port and is ended by its process id. Dovecot and popa3d need root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from bridge import HOST, free_port

NOBODY = pwd.getpwnam("nobody")
PASSWORD = "Correct-Horse7Battery"
MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-256")


def message(number: int, size: int = 0, to: str = "b@dst.invalid") -> bytes:
    """A message with LF line ends: dots, 8 bits, long lines, empty lines at its end."""
    text = (f"Return-Path: <a@src.invalid>\nFrom: a@src.invalid\nTo: {to}\nSubject: message {number}\n"
            f"Message-ID: <{number}@src.invalid>\nX-Folded: one\n two\n\n").encode()
    kinds = (b".\n..\n. dot\n\n.\n", "Grüße 日本語\n".encode(), b"\xff\xfe\x80 octets\n", b"y" * 3000 + b"\n",
             b"\n\n\n")
    return text + kinds[number % len(kinds)] + (b"x" * 76 + b"\n") * (max(0, size - len(text)) // 77)


def wire(text: bytes) -> bytes:
    """As it goes over the wire."""
    return text.replace(b"\n", b"\r\n")


def until_open(port: int) -> None:
    """Until somebody listens. Raises SystemExit after 20 seconds."""
    for _ in range(400):
        try:
            socket.create_connection((HOST, port), 1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Dovecot:
    """A POP3 server with maildirs of any user; `port` with STLS, `tls_port` in TLS from the first octet."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        if shutil.which("dovecot") is None:
            raise SystemExit("dovecot is missing: apt-get install dovecot-pop3d")
        self.folder, self.boxes = folder, folder / "boxes"
        self.port, self.tls_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.boxes.mkdir(parents=True)
        for each in (folder, self.boxes):
            os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid)
        (folder / "dovecot.conf").write_text(f"""
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = pop3
listen = {HOST}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = {" ".join(MECHANISMS)}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{self.boxes}/%n
mail_max_userip_connections = 1000
passdb {{
  driver = static
  args = password={{PLAIN}}{PASSWORD}
}}
userdb {{
  driver = static
  args = uid={NOBODY.pw_uid} gid={NOBODY.pw_gid} home={self.boxes}/%n
}}
# A wrong password must not slow down the other logins of this address: that would be Dovecot's doing.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {self.port}
  }}
  inet_listener pop3s {{
    port = {self.tls_port}
    ssl = yes
  }}
}}
""")

    def fill(self, user: str, messages: list[bytes]) -> None:
        """Put messages (LF) into a new mailbox."""
        box = self.boxes / user
        for name in ("", "cur", "new", "tmp"):
            (box / name).mkdir(exist_ok=True)
            os.chown(box / name, NOBODY.pw_uid, NOBODY.pw_gid)
        stamp = time.time_ns()
        for number, text in enumerate(messages):
            path = box / "new" / f"{stamp + number}.M{number}P1.bench,S={len(text)},W={len(wire(text))}"
            path.write_bytes(text)
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)

    def left(self, user: str) -> int:
        """Messages that are still there."""
        return sum(len(list((self.boxes / user / name).iterdir())) for name in ("new", "cur"))

    def start(self) -> None:
        """Start it, in a process group of its own."""
        with (self.folder / "stderr").open("ab") as log:
            command = ["dovecot", "-F", "-c", self.folder / "dovecot.conf"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until_open(self.port)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with all its processes."""
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, number)
            process.wait(20)


class Popa3d:
    """popa3d behind a listener of ours, as inetd would run it; the mailbox is that of a user of this host."""

    def __init__(self, program: str, user: str, spool: Path = Path("/var/mail")) -> None:
        self.program, self.user, self.spool = program, user, spool / user
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            subprocess.Popen([self.program], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
            connection.close()

    def fill(self, messages: list[bytes]) -> None:
        """Put messages (LF) into the mailbox."""
        with self.spool.open("wb") as file:
            for text in messages:
                file.write(b"From a@src.invalid Sat Nov 21 00:00:00 2026\n" + text + b"\n")
        shutil.chown(self.spool, self.user, "mail")
        self.spool.chmod(0o660)

    def stop(self) -> None:
        """Take no more."""
        self.listener.close()


class Fake:
    """A listener whose sessions are what `session(socket)` does, each in a thread."""

    def __init__(self) -> None:
        self.listener = socket.create_server((HOST, 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.session(connection)
        except OSError:
            pass

    def session(self, connection: socket.socket) -> None:
        """One client."""
        raise NotImplementedError

    def stop(self) -> None:
        """Take no more."""
        self.listener.close()


class Hanging(Fake):
    """Takes connections and never says a word."""

    def session(self, connection: socket.socket) -> None:
        """Wait for the other side to go."""
        while connection.recv(4096):
            pass


class Poisoned(Fake):
    """Ten messages, and the connection ends in the middle of the third, every time. A new `turn` brings new ones."""

    turn = 0

    def session(self, connection: socket.socket) -> None:
        """A POP3 session."""
        lines = connection.makefile("rb")
        connection.sendall(b"+OK\r\n")
        octets = wire(message(1))
        for line in lines:
            verb, _, argument = line.strip().upper().partition(b" ")
            if verb in (b"LIST", b"UIDL"):
                each = b"%%d %d\r\n" % len(octets) if verb == b"LIST" else b"%%d t%du%%d\r\n" % self.turn
                lines_of = [each % ((n,) * each.count(b"%d")) for n in range(1, 11)]
                connection.sendall(b"+OK\r\n" + b"".join(lines_of) + b".\r\n")
            elif verb == b"RETR" and argument == b"3":
                connection.sendall(b"+OK\r\n" + octets[:50])
                connection.shutdown(socket.SHUT_RDWR)  # the file beside it would keep it open
                return
            elif verb == b"RETR":
                connection.sendall(b"+OK\r\n" + octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            elif verb == b"CAPA":
                connection.sendall(b"+OK\r\nUSER\r\nUIDL\r\n.\r\n")
            else:
                connection.sendall(b"+OK\r\n")
                if verb == b"QUIT":
                    return


class SlowLine(Fake):
    """Carries octets to `port` and back, at most `rate` octets a second towards the client."""

    def __init__(self, port: int, rate: float) -> None:
        self.to, self.rate = port, rate
        super().__init__()

    def session(self, connection: socket.socket) -> None:
        """Both directions; what ends one ends both."""
        with socket.create_connection((HOST, self.to)) as server:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = threading.Thread(target=self._carry, args=(connection, server, 1e12), daemon=True)
            up.start()
            self._carry(server, connection, self.rate)
            up.join(5)

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket, rate: float) -> None:
        try:
            while octets := one.recv(8192):
                other.sendall(octets)
                time.sleep(len(octets) / rate)
        except OSError:
            pass
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
