"""Two bridges: mail goes from one to the other by an encrypted and logged-in relay, and what fails comes back."""

from __future__ import annotations

import poplib
import shutil
import smtplib
import time

from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from tests.running import PATIENCE, RunningBridge, short_folder

FAR = """
hostname = "far.example"
state = "state"
[tls]
certificate = "cert.pem"
key = { file = "key.pem" }
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
starttls = "require"
auth = "require"
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
starttls = "off"
[users]
domains = ["far.example"]
"""

NEAR = """
hostname = "near.example"
state = "state"
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
clients = ["127.0.0.1"]
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["near.example"]
[queue]
retry = "1 s"
pause = "1 s"
[relay.far]
servers = ["localhost:%d"]
tls = "require"
ca = "ca.pem"
user = "clyde"
password = { file = "password" }
"""

MESSAGE = b"From: bonnie@near.example\r\nSubject: hello\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\n.\r\n..dots\r\n"


class RelayTests(SynchronousTestCase):
    """A near and a far bridge, each in a process of its own."""

    def setUp(self) -> None:
        self.far_folder, self.near_folder = short_folder(), short_folder()
        for folder in (self.far_folder, self.near_folder):
            self.addCleanup(shutil.rmtree, folder, True)
        pair = certificate.make(("localhost",), 30, time.time())
        certificate.write(pair, self.far_folder / "cert.pem", self.far_folder / "key.pem")
        (self.near_folder / "ca.pem").write_bytes(pair.certificate)
        self.password("correct horse")
        self.far = self.bridge(RunningBridge(self.far_folder, FAR))
        self.far.ask("user add", name="clyde", password="correct horse", send_as=["*@near.example"])
        self.near = self.bridge(RunningBridge(self.near_folder, NEAR % self.far.ports[0]))
        self.near.ask("user add", name="bonnie", password="correct horse")

    def bridge(self, bridge: RunningBridge) -> RunningBridge:
        """A started bridge that ends with the test."""
        self.addCleanup(bridge.stop)
        bridge.start()
        return bridge

    def password(self, text: str) -> None:
        """What the near bridge logs in with."""
        path = self.near_folder / "password"
        path.write_text(text)
        path.chmod(0o600)

    def send(self, *recipients: str) -> None:
        """Mail from bonnie by the near bridge."""
        with smtplib.SMTP("127.0.0.1", self.near.ports[0]) as client:
            client.sendmail("bonnie@near.example", recipients, MESSAGE)

    def wait_for_the_queue(self) -> None:
        """Until nothing is in the near bridge's queue any more."""
        deadline = time.monotonic() + PATIENCE
        while self.near.ask("queue count", all=True)["count"]:
            self.assertLess(time.monotonic(), deadline, "the queue does not empty")

    def mail(self, bridge: RunningBridge, user: str) -> list[bytes]:
        """All of a maildrop."""
        box = poplib.POP3("127.0.0.1", bridge.ports[1], timeout=PATIENCE)
        box.user(user)
        box.pass_("correct horse")
        texts = [b"\r\n".join(box.retr(number + 1)[1]) + b"\r\n" for number in range(box.stat()[0])]
        box.quit()
        return texts

    def test_there_and_back(self) -> None:
        """One recipient gets the message octet for octet, over TLS and a login; for the other a bounce comes back."""
        self.send("clyde@far.example", "nobody@far.example")
        self.wait_for_the_queue()
        (arrived,) = self.mail(self.far, "clyde")
        self.assertEqual(arrived[arrived.index(b"From: bonnie"):], MESSAGE)
        self.assertIn(b"with ESMTPSA", arrived)
        (bounce,) = self.mail(self.near, "bonnie")
        self.assertIn(b"Return-Path: <>", bounce)
        self.assertIn(b"Final-Recipient: rfc822; nobody@far.example", bounce)
        self.assertIn(b"Status: 5.1.1", bounce)
        self.assertNotIn(b"Final-Recipient: rfc822; clyde@far.example", bounce)
        self.assertIn(MESSAGE, bounce)

    def test_refused_login(self) -> None:
        """A wrong password at our smart host pauses the route with an alarm; set right, the mail goes out."""
        self.password("wrong")
        self.near.ask("reload")
        self.near.path.write_text(self.near.path.read_text() + "idle = 20\n")  # a changed relay reads its secret anew
        self.near.ask("reload")
        self.send("clyde@far.example")
        self.near.wait_for("ALARM")
        status = self.near.ask("status")
        self.assertNotEqual(status["level"], "ok")
        self.assertEqual(status["queue"], 1)
        self.password("correct horse")
        self.near.path.write_text(self.near.path.read_text().replace("idle = 20", "idle = 25"))
        self.assertEqual(self.near.ask("reload"), {"notes": []})
        self.wait_for_the_queue()
        (arrived,) = self.mail(self.far, "clyde")
        self.assertIn(MESSAGE, arrived)
        self.assertEqual(self.mail(self.near, "bonnie"), [])
