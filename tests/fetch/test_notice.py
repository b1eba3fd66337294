"""The caretaker's copy: read back by another parser, and what must never happen to a message."""

from __future__ import annotations

import email.policy
from email import message_from_bytes
from email.message import EmailMessage
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.notice import MOST_LISTED, Failed, Signature, copy, reason_line

SIGNATURE = Signature("bridge.example", "Sat, 21 Nov 2026 12:00:00 +0000", "0123456789")
FAILED = [Failed("nobody@x", "550 5.1.1 No such user here"), Failed("later@x", "")]
PLAIN = b"From: a@x\r\nSubject: hello\r\n"


def made(header: bytes, body: bytes, failed: list[Failed] = FAILED, delivered: tuple[str, ...] = ()) -> bytes:
    """The whole copy."""
    frame = copy(header, body[:1024], failed, delivered, SIGNATURE)
    return frame.before + body + frame.after


def read(octets: bytes) -> EmailMessage:
    """As a mail program reads it."""
    return cast(EmailMessage, message_from_bytes(octets, policy=email.policy.default))


class NoticeTests(SynchronousTestCase):
    """The two forms."""

    def test_prepended(self) -> None:
        """Plain text gets the paragraph on top: who did not get it and why, who did; the header is kept whole."""
        octets = made(PLAIN, b"the text\r\n", delivered=("bonnie@x",))
        head, _, body = octets.partition(b"\r\n\r\n")
        self.assertEqual(head + b"\r\n", b"X-POPFetch-Failed: nobody@x\r\nX-POPFetch-Failed: later@x\r\n"
                                         b"X-POPFetch-Delivered: bonnie@x\r\n" + PLAIN)
        self.assertEqual(body, b"This message was fetched by the mail bridge. It could not be delivered to:\r\n"
                               b"  nobody@x\r\n    550 5.1.1 No such user here\r\n  later@x\r\n\r\n"
                               b"It was delivered to:\r\n  bonnie@x\r\n\r\nThe message follows.\r\n\r\nthe text\r\n")

    def test_where_it_fits(self) -> None:
        """A paragraph is put on top only where it is seen and breaks nothing; all else is wrapped."""
        for header, body, plain in (
            (b"", b"x", True), (b"Content-Type: text/plain\r\n", b"x", True),
            (b"content-type: TEXT/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", b"x", True),
            (b"Content-Type:\r\n text/plain\r\n", b"x", True),
            (b"Content-Type: text/html\r\n", b"x", False), (b"Content-Type: text/plainer\r\n", b"x", False),
            (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n", b"x", False),
            (b"Content-Type: text/plain; charset=utf-16\r\n", b"x", False),
            (b"Content-Type: nonsense\r\n", b"x", False),
            (b"Content-Transfer-Encoding: base64\r\n", b"eA==", False),
            (b"Content-Transfer-Encoding: quoted-printable\r\n", b"x", False),
            (b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b--", False),
            (b"Content-Type: application/pkcs7-mime\r\n", b"x", False), (b"no header\r\n", b"x", False),
            (b"", b"-----BEGIN PGP SIGNED MESSAGE-----\r\n", False), (b"", b"x\r\nbegin 644 f\r\n", False),
        ):
            frame = copy(header, body, FAILED, (), SIGNATURE)
            self.assertEqual(not frame.after, plain, (header, body))

    def test_wrapped(self) -> None:
        """A wrapped message is whole inside, octet for octet, under a header that looks like its own."""
        original = (b"Received: x\r\nFrom: =?utf-8?q?=C5=BD?= <a@x>\r\nTo: b@x,\r\n\tc@x\r\nSubject: hello\r\n"
                    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xc5\xbd\r\n--b--\r\n")
        at = original.index(b"\r\n\r\n") + 2
        octets = made(original[:at], original[at + 2:])
        message = read(octets)
        self.assertEqual((message["Subject"], message["To"], message["Auto-Submitted"], message["Date"]),
                         ("hello", "b@x, c@x", "auto-generated", SIGNATURE.date))
        self.assertEqual(message.get_content_type(), "multipart/mixed")
        self.assertEqual(message.get_all("X-POPFetch-Failed"), ["nobody@x", "later@x"])
        self.assertIsNone(message["Received"])
        told, inner = message.iter_parts()
        self.assertIn("No such user", cast(EmailMessage, told).get_content())
        self.assertEqual(inner.get_content_type(), "message/rfc822")
        self.assertIn(original, octets)

    def test_reason(self) -> None:
        """A message without a recipient gets one line on top, and whatever the reason it is one."""
        self.assertEqual(reason_line("no-recipient-header"), b"X-POPFetch-Reason: no-recipient-header\r\n")
        self.assertEqual(reason_line("a\r\nb\x00"), b"X-POPFetch-Reason: a b?\r\n")

    def test_clean_replies(self) -> None:
        """What a server said cannot make a line or a header, and is short."""
        nasty = Failed("a@x\r\nBcc: b@x", "550 no\r\n\r\nX: y\x1b[2J" + "z" * 1000)
        for header in (PLAIN, b"Content-Type: text/html\r\n"):
            message = read(made(header, b"x\r\n", [nasty]))
            self.assertEqual((message["Bcc"], message["X"]), (None, None))
        octets = made(PLAIN, b"", [nasty])
        self.assertNotIn(b"\x1b", octets)
        self.assertLess(len(octets), 800)

    def test_many(self) -> None:
        """A thousand refused recipients are counted, not listed."""
        octets = made(PLAIN, b"", [Failed(f"u{n}@x", "550 no") for n in range(1000)], tuple("abc" * 100))
        self.assertIn(b"and 900 more", octets)
        self.assertIn(b"and 200 more", octets)
        self.assertEqual(octets.count(b"X-POPFetch-Failed"), MOST_LISTED)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from([b"Content-Type: text/plain", b"Content-Type:", b"Subject: x", b"From: y", b"\r\n",
                                     b"\r\n ", b";", b"boundary=x", b"\xff"]) | st.binary(max_size=8), max_size=20))
    def test_any_header(self, parts: list[bytes]) -> None:
        """Whatever the header, the original is inside, and only pairs of CR LF are added."""
        header = b"".join(parts).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
        frame = copy(header, b"", FAILED, (), SIGNATURE)
        self.assertIn(header, frame.before)
        added = frame.before.replace(header, b"") + frame.after
        self.assertEqual(added.count(b"\n"), added.count(b"\r\n"))
