"""Bridges that speak through OCEs, in processes of their own: configurations and what a test does with them."""

from __future__ import annotations

import email
import email.policy
import os
import poplib
import smtplib
import subprocess
import sys
import time
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path

from mailbridge import certificate
from tests.running import PATIENCE, ROOT, RunningBridge

PASSWORD = "correct horse"
KEYS = {"home": "AAAA0000AAAA0000", "friends": "BBBB1111BBBB1111"}

BRIDGE = """
hostname = "{name}.example"
state = "state"
[tls]
certificate = "cert.pem"
key = {{ file = "key.pem" }}
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["{name}.example"]
[queue]
retry = "1 s"
pause = "1 s"
[oce]
"""

EMBEDDED = """embedded = true
name = "{name}"
key = "{key}"
listen = "tcp:{port}:interface=127.0.0.1"
tls = true
"""

TRIBE = """[oce.tribes.{name}]
key = "{key}"
url = "https://localhost:{port}/"
pin = "{pin}"
secret = {{ file = "{name}.secret" }}
"""

ANOTHER = """url = "http://127.0.0.1:{port}/"
interval = "1 s"
"""

ALONE = """
hostname = "oce.example"
state = "state"
[oce]
embedded = true
name = "home"
listen = "tcp:0:interface=127.0.0.1"
"""


class TribeBridge(RunningBridge):
    """A bridge with a certificate. `oce` is what stands in its `[oce]`."""

    def __init__(self, folder: Path, name: str, oce: str) -> None:
        self.name = name
        pair = certificate.make(("localhost",), 30, time.time())
        certificate.write(pair, folder / "cert.pem", folder / "key.pem")
        self.pin = certificate.describe(pair.certificate).fingerprint.replace(":", "").lower()
        super().__init__(folder, BRIDGE.format(name=name) + oce)

    def meet(self, other: TribeBridge, port: int, secret: str) -> str:
        """The lines that make the other tribe known here; the secret goes into its file."""
        write_secret(self.folder / f"{other.name}.secret", secret)
        return TRIBE.format(name=other.name, key=KEYS[other.name], port=port, pin=other.pin)

    def configure(self, oce: str) -> None:
        """Write another `[oce]`, to be read by a reload or a start."""
        self.path.write_text(BRIDGE.format(name=self.name) + oce)

    def add(self, *names: str) -> None:
        """Make users."""
        for name in names:
            self.ask("user add", name=name, password=PASSWORD)

    def send(self, user: str, recipients: Sequence[str], message: EmailMessage | bytes) -> None:
        """Hand in mail after a login as `user`; it is from `user` when that is an address."""
        octets = message if isinstance(message, bytes) else message.as_bytes(policy=email.policy.SMTP)
        with smtplib.SMTP("127.0.0.1", self.ports[0], timeout=PATIENCE) as client:
            client.login(user, PASSWORD)
            client.sendmail(user, recipients, octets)

    def mail(self, user: str, count: int) -> list[EmailMessage]:
        """The maildrop once it has so many messages; it is emptied. AssertionError when they do not come."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            box = poplib.POP3("127.0.0.1", self.ports[1], timeout=PATIENCE)
            box.user(user)
            box.pass_(PASSWORD)
            if box.stat()[0] >= count:
                texts = [b"\r\n".join(box.retr(number + 1)[1]) + b"\r\n" for number in range(box.stat()[0])]
                for number in range(len(texts)):
                    box.dele(number + 1)
                box.quit()
                return [email.message_from_bytes(text, policy=email.policy.SMTP) for text in texts]
            box.quit()
            time.sleep(0.05)
        raise AssertionError(f"{user} got no {count} messages; the log of {self.name}:\n{self.told()}")

    def told(self) -> str:
        """How its OCE and queue stand, for a failed test."""
        return f"{self.ask('oce pullinfo')}\n{self.ask('queue stats')}"


def write_secret(path: Path, text: str) -> None:
    """A file for one secret."""
    path.write_text(text)
    path.chmod(0o600)


def letter(sender: str, to: str, cc: str = "", text: str = "Hello\n") -> EmailMessage:
    """A mail with an attachment."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"] = sender, to
    if cc:
        message["Cc"] = cc
    message["Subject"] = "Grüße"
    message["Message-ID"] = f"<{time.monotonic_ns()}@test.example>"
    message.set_content(text)
    message.add_attachment(b"\x00\xff\r\n.\r\n" * 100, "application", "octet-stream", filename="octets.bin")
    return message


def command(path: Path, *words: str, **environ: str) -> tuple[int, str]:
    """(exit code, what it said) of `mailbridge` with the configuration at `path`."""
    program = "import sys; from mailbridge.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(path), *words], cwd=ROOT, text=True, capture_output=True,
        timeout=120, check=False, stdin=subprocess.DEVNULL, env={**os.environ, **environ})
    return done.returncode, done.stdout + done.stderr
