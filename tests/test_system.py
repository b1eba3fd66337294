"""The whole bridge over real loopback sockets: mail in by SMTP, out by POP3, and what an operator does meanwhile."""

from __future__ import annotations

import poplib
import shutil
import signal
import smtplib
import socket
import ssl
import time
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from tests.running import BASIC, RunningBridge, short_folder

TLS = '[tls]\ncertificate = "cert.pem"\nkey = { file = "key.pem" }\n'
IMPLICIT = """
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
tls = true
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
tls = true
"""
MESSAGE = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nsome text\r\n"


class SystemTests(SynchronousTestCase):
    """One bridge in a process of its own for each test."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)

    def bridge(self, configuration: str = BASIC) -> RunningBridge:
        """A running bridge with the user bonnie."""
        bridge = RunningBridge(self.folder, configuration)
        self.addCleanup(bridge.stop)
        bridge.start()
        self.assertEqual(bridge.ask("user add", name="bonnie", password="correct horse")["name"], "bonnie")
        return bridge

    def make_certificate(self) -> ssl.SSLContext:
        """A certificate in the folder, and a client's context that trusts it."""
        pair = certificate.make(("localhost", "127.0.0.1"), 30, time.time())
        certificate.write(pair, self.folder / "cert.pem", self.folder / "key.pem", replace=True)
        return ssl.create_default_context(cadata=pair.certificate.decode())

    def fetch(self, box: poplib.POP3) -> list[bytes]:
        """Every message in a maildrop, without the lines added above `Subject`."""
        box.user("bonnie")
        box.pass_("correct horse")
        count, _ = box.stat()
        texts = [b"\r\n".join(box.retr(number + 1)[1]) + b"\r\n" for number in range(count)]
        return [text[text.index(b"Subject"):] for text in texts]

    def test_mail_in_and_out(self) -> None:
        """What one program sends another reads, octet for octet."""
        bridge = self.bridge()
        large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000
        with smtplib.SMTP("127.0.0.1", bridge.ports[0]) as client:
            for message in (MESSAGE, large):
                client.sendmail("a@example.net", ["bonnie@example.org"], message)
        box = poplib.POP3("127.0.0.1", bridge.ports[1])
        self.assertEqual(self.fetch(box), [MESSAGE, large])
        box.dele(1)
        box.quit()
        again = poplib.POP3("127.0.0.1", bridge.ports[1])
        self.assertEqual(self.fetch(again), [large])
        again.quit()

    def test_mail_survives_a_kill(self) -> None:
        """Mail that was acknowledged is there after the process was killed."""
        bridge = self.bridge()
        with smtplib.SMTP("127.0.0.1", bridge.ports[0]) as client:
            client.sendmail("a@example.net", ["bonnie@example.org"], MESSAGE)
            bridge.stop(signal.SIGKILL)
        bridge.ports.clear()
        bridge.start()
        box = poplib.POP3("127.0.0.1", bridge.ports[1])
        self.assertEqual(self.fetch(box), [MESSAGE])
        box.quit()

    def test_over_tls(self) -> None:
        """STARTTLS, STLS and implicit TLS with a login on each."""
        context = self.make_certificate()
        bridge = self.bridge(BASIC + TLS + IMPLICIT)
        smtp, smtps, pop3, pop3s = bridge.ports
        with smtplib.SMTP("localhost", smtp) as client:
            client.starttls(context=context)
            client.login("bonnie", "correct horse")
            client.sendmail("bonnie@example.org", ["bonnie@example.org"], MESSAGE)
        with smtplib.SMTP_SSL("localhost", smtps, context=context) as client:
            client.login("bonnie", "correct horse")
            client.sendmail("bonnie@example.org", ["bonnie@example.org"], MESSAGE)
        plain = poplib.POP3("localhost", pop3)
        plain.stls(context)
        self.assertEqual(self.fetch(plain), [MESSAGE, MESSAGE])
        plain.quit()
        implicit = poplib.POP3_SSL("localhost", pop3s, context=context)
        implicit.user("bonnie")
        implicit.pass_("correct horse")
        text = b"\r\n".join(implicit.retr(1)[1])
        implicit.quit()
        self.assertIn(b"with ESMTPSA", text)
        self.assertIn(b"using TLSv1.3", text)

    def test_reload_keeps_sessions(self) -> None:
        """SIGHUP takes new domains, limits and a new certificate, and an open session goes on."""
        old = self.make_certificate()
        bridge = self.bridge(BASIC + TLS)
        with smtplib.SMTP("localhost", bridge.ports[0]) as client:
            client.ehlo()
            new = self.make_certificate()
            bridge.path.write_text(bridge.path.read_text().replace('["example.org"]', '["example.org", "example.com"]'))
            bridge.send_signal(signal.SIGHUP)
            bridge.wait_for("configuration read again")
            client.sendmail("a@example.net", ["bonnie@example.com"], MESSAGE)
        with smtplib.SMTP("localhost", bridge.ports[0]) as client:
            client.starttls(context=new)
        with smtplib.SMTP("localhost", bridge.ports[0]) as client:
            self.assertRaises(ssl.SSLError, client.starttls, context=old)

    def test_reload_of_a_wrong_file(self) -> None:
        """A wrong configuration is not taken: the old one stays in force and the fault is in the log."""
        bridge = self.bridge()
        bridge.path.write_text(bridge.path.read_text().replace("[users]", "[user]"))
        bridge.send_signal(signal.SIGHUP)
        bridge.wait_for("the old one stays")
        with smtplib.SMTP("127.0.0.1", bridge.ports[0]) as client:
            client.sendmail("a@example.net", ["bonnie@example.org"], MESSAGE)

    def test_listeners_come_and_go(self) -> None:
        """A reload opens a listener that was added and closes one that was removed."""
        bridge = self.bridge()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        extra = f'[[smtp]]\nlisten = "tcp:{port}:interface=127.0.0.1"\n'
        bridge.path.write_text(bridge.path.read_text() + extra)
        self.assertEqual(bridge.ask("reload"), {"notes": []})
        with smtplib.SMTP("127.0.0.1", port) as client:
            self.assertEqual(client.noop()[0], 250)
        bridge.path.write_text(bridge.path.read_text().replace(extra, ""))
        self.assertEqual(bridge.ask("reload"), {"notes": []})
        self.assertRaises(ConnectionRefusedError, smtplib.SMTP, "127.0.0.1", port)

    @skipUnless(Path("/proc/self/limits").exists(), "needs /proc")
    def test_open_files(self) -> None:
        """The bridge takes as many open files as it may have, up to 65,536."""
        bridge = self.bridge()
        limits = Path(f"/proc/{bridge.pid}/limits").read_text()
        soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
        self.assertEqual(soft, hard if hard != "unlimited" and int(hard) < 65_536 else soft)
        self.assertTrue(soft == "unlimited" or int(soft) >= min(65_536, int(hard) if hard != "unlimited" else 65_536))

    def test_orderly_stop(self) -> None:
        """SIGTERM says 421 to those who wait, lets a message in progress end, and leaves nothing locked."""
        bridge = self.bridge()
        idle = smtplib.SMTP("127.0.0.1", bridge.ports[0])
        busy = smtplib.SMTP("127.0.0.1", bridge.ports[0])
        busy.ehlo()
        busy.mail("a@example.net")
        busy.rcpt("bonnie@example.org")
        busy.putcmd("data")
        self.assertEqual(busy.getreply()[0], 354)
        bridge.send_signal(signal.SIGTERM)
        self.assertEqual(idle.getreply()[0], 421)
        busy.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        self.assertEqual(busy.getreply()[0], 250)
        idle.close()
        busy.close()
        bridge.stop()
        bridge.ports.clear()
        bridge.start()
        box = poplib.POP3("127.0.0.1", bridge.ports[1])
        self.assertEqual(self.fetch(box), [MESSAGE])
        box.quit()
