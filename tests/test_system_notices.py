"""Delivery status notices of a whole bridge: asked for by SMTP, read by POP3."""

from __future__ import annotations

import poplib
import shutil
import smtplib
from email import message_from_bytes
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.running import BASIC, RunningBridge, short_folder

LARGE = b"Subject: large\r\n" + b"X-Filler: 0123456789abcdef0123456789abcdef\r\n" * 800 + b"\r\nbody\r\n"


class NoticeTests(SynchronousTestCase):
    """One bridge in a process of its own, with the SQLite store."""

    def test_success(self) -> None:
        """A sender who asks for it reads that the mail was delivered; small notices and those in segments alike."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder, True)
        bridge = RunningBridge(folder, BASIC)
        self.addCleanup(bridge.stop)
        bridge.start()
        for name in ("bonnie", "clyde"):
            bridge.ask("user add", name=name, password="correct horse")
        with smtplib.SMTP("127.0.0.1", bridge.ports[0]) as client:
            client.ehlo()
            self.assertTrue(client.has_extn("dsn"))
            for envid, message in (("first", b"Subject: small\r\n\r\nbody\r\n"), ("second", LARGE)):
                client.sendmail("bonnie@example.org", ["clyde@example.org"], message, [f"ENVID={envid}"],
                                ["NOTIFY=SUCCESS", "ORCPT=rfc822;c+2Bx@old.example"])
        box = poplib.POP3("127.0.0.1", bridge.ports[1])
        box.user("bonnie")
        box.pass_("correct horse")
        count, size = box.stat()
        texts = [b"\r\n".join(box.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
        self.assertEqual((count, size), (2, sum(map(len, texts))))
        box.quit()
        for text, envid in zip(texts, ("first", "second"), strict=True):
            self.assertTrue(text.startswith(b"Return-Path: <>\r\nFrom: Mail server <MAILER-DAEMON@bridge.example.org>"))
            parts: Any = message_from_bytes(text).get_payload()
            whole, one = parts[1].get_payload()
            self.assertEqual(whole["Original-Envelope-Id"], envid)
            self.assertEqual((one["Action"], one["Original-Recipient"]), ("delivered", "rfc822;c+x@old.example"))
        self.assertIn(b"X-Filler", texts[1])
        self.assertGreater(len(texts[1]), 16 * 1024)
