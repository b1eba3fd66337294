"""Notices as octets, read back by CPython's parser."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message as Parsed
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.clock import rfc5322_date
from mailbridge.envelope import MailParameters
from mailbridge.queue.fate import Action, Fate
from mailbridge.queue.notice import About, Heading, Notice, compose

NOW = 1_763_740_000.0
ORIGINAL = (b"Received: from laptop by bridge\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
            b"From: <bonnie@example.org>\r\n\r\nDear Bob,\r\nhello\r\n")
FIELDS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
          "Content-Transfer-Encoding"]
HEADING = Heading("bridge.example.org", "aa11", "bonnie@example.org", NOW, 64 * 1024)
FAILED = Fate("bob@dst.invalid", Action.FAILED, "5.1.1", "rfc822;robert@dst.invalid", "mx.dst.invalid",
              "550 5.1.1 No such user\nReally not", NOW - 60)


def about(octets: bytes = ORIGINAL, **declared: Any) -> About:
    return About("0123", "bonnie@example.org", NOW - 600, MailParameters(**declared), octets, len(octets))


def parsed(notice: Notice) -> tuple[Parsed, list[Parsed]]:
    """The whole and its parts, with CR LF line ends demanded first."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", notice.octets.replace(b"\r\n", b"")), notice.octets
    message = message_from_bytes(notice.octets)
    parts = message.get_payload()
    assert isinstance(parts, list)
    return message, parts


def text_of(notice: Notice) -> str:
    """What people read."""
    part = parsed(notice)[1][0]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode(part.get_content_charset() or "ascii").replace("\r\n", "\n")


def fields_of(notice: Notice) -> list[list[tuple[str, str]]]:
    """The blocks of the part for programs."""
    message, parts = parsed(notice)
    blocks: Any = parts[1].get_payload()
    if parts[1].get_content_type() == "message/global-delivery-status":  # CPython does not know this one's blocks
        part = notice.octets.split(f"\r\n--{message.get_boundary()}".encode())[2]
        blocks = [message_from_bytes(block) for block in part.split(b"\r\n\r\n")[1:]]
    return [list(block.items()) for block in blocks]


class NoticeTests(SynchronousTestCase):
    """One recipient failed, unless a test says otherwise."""

    def test_header(self) -> None:
        """The notice says whom it is from, that a machine wrote it, and what it is."""
        message, parts = parsed(compose(HEADING, about(), [FAILED]))
        self.assertEqual(message.keys(), FIELDS)
        self.assertEqual(message["From"], "Mail server <MAILER-DAEMON@bridge.example.org>")
        self.assertEqual(message["To"], "<bonnie@example.org>")
        self.assertEqual(message["Subject"], "Your message could not be delivered")
        self.assertEqual(message["Message-ID"], "<aa11@bridge.example.org>")
        self.assertEqual(message["Auto-Submitted"], "auto-replied")
        self.assertEqual((message.get_content_type(), message.get_param("report-type")),
                         ("multipart/report", "delivery-status"))
        self.assertEqual([part.get_content_type() for part in parts],
                         ["text/plain", "message/delivery-status", "message/rfc822"])
        self.assertEqual(message.defects, [])

    def test_plain_words(self) -> None:
        """A person reads which message it was, who did not get it, the server's words, and what to do."""
        text = text_of(compose(HEADING, about(), [FAILED]))
        for words in ("Subject:   Grüße", f"Came here: {rfc5322_date(NOW - 600)}", "Number:    0123",
                      "<bob@dst.invalid>",
                      "The server mx.dst.invalid answered:\n> 550 5.1.1 No such user\n> Really not",
                      "Look for a typing error", "postmaster@bridge.example.org"):
            self.assertIn(words, text)

    def test_fields(self) -> None:
        """A program reads the same from the fields of RFC 3464."""
        self.assertEqual(fields_of(compose(HEADING, about(envid="QQ1"), [FAILED])), [
            [("Reporting-MTA", "dns; bridge.example.org"), ("Original-Envelope-Id", "QQ1"),
             ("Arrival-Date", rfc5322_date(NOW - 600))],
            [("Original-Recipient", "rfc822;robert@dst.invalid"), ("Final-Recipient", "rfc822; bob@dst.invalid"),
             ("Action", "failed"), ("Status", "5.1.1"), ("Remote-MTA", "dns; mx.dst.invalid"),
             ("Diagnostic-Code", "smtp; 550 5.1.1 No such user Really not"),
             ("Last-Attempt-Date", rfc5322_date(NOW - 60))],
        ])

    def test_delay(self) -> None:
        """A delay notice says until when it will be tried, and returns the header only."""
        fate = Fate("bob@dst.invalid", Action.DELAYED, "4.4.1", said="no connection", retry_until=NOW + 3600)
        notice = compose(HEADING, about(ret="FULL"), [fate])
        self.assertEqual(parsed(notice)[0]["Subject"], "Your message is late")
        self.assertIn(f"It will be tried until {rfc5322_date(NOW + 3600)}.", text_of(notice))
        self.assertIn("The reason:\n> no connection", text_of(notice))
        self.assertEqual(fields_of(notice)[1], [
            ("Final-Recipient", "rfc822; bob@dst.invalid"), ("Action", "delayed"), ("Status", "4.4.1"),
            ("Diagnostic-Code", "x-mailbridge; no connection"), ("Will-Retry-Until", rfc5322_date(NOW + 3600)),
        ])
        self.assertEqual(parsed(notice)[1][2].get_content_type(), "text/rfc822-headers")

    def test_success(self) -> None:
        """Each kind of success has its words."""
        for action, subject, words in (
            (Action.DELIVERED, "Your message was delivered", "<bob@x> has it in the mailbox."),
            (Action.RELAYED, "Your message was passed on", "<bob@x> was passed on."),
            (Action.EXPANDED, "Your message was delivered", "<bob@x> is a list, and its members have it."),
        ):
            notice = compose(HEADING, about(), [Fate("bob@x", action, "2.0.0")])
            self.assertEqual(parsed(notice)[0]["Subject"], subject)
            self.assertIn(words, text_of(notice))
            self.assertEqual(dict(fields_of(notice)[1])["Action"], action.value)

    def test_many(self) -> None:
        """One notice names every recipient that failed."""
        fates = [evolve(FAILED, recipient=f"u{n}@dst.invalid") for n in range(300)]
        notice = compose(HEADING, about(), fates)
        self.assertEqual([dict(block)["Final-Recipient"] for block in fields_of(notice)[1:]],
                         [f"rfc822; u{n}@dst.invalid" for n in range(300)])

    def test_long_answers(self) -> None:
        """A long answer is shown at length for one recipient, and cut short where there are many."""
        fates = [evolve(FAILED, said="550 " + "word " * 1000)] * 51
        for count, lines, longest in ((1, 10, 700), (50, 10, 700), (51, 3, 200)):
            notice = compose(HEADING, about(), fates[:count])
            self.assertEqual(text_of(notice).count("\n> "), lines * count)
            self.assertEqual(len(dict(fields_of(notice)[1])["Diagnostic-Code"]), longest)

    def test_returned(self) -> None:
        """The message comes back whole when it is small and was not asked to be left out; else its header."""
        head = ORIGINAL[:ORIGINAL.index(b"\r\n\r\n") + 2]
        small = evolve(HEADING, longest=len(ORIGINAL) - 1)
        for heading, ret, kind, octets in (
            (HEADING, "FULL", "message/rfc822", ORIGINAL), (HEADING, None, "message/rfc822", ORIGINAL),
            (HEADING, "HDRS", "text/rfc822-headers", head), (small, "FULL", "text/rfc822-headers", head),
        ):
            notice = compose(heading, about(ret=ret), [FAILED])
            part = notice.octets.split(b"\r\n--aa11.0")[3]
            self.assertEqual(part, b"\r\nContent-Type: %b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n%b"
                             % (kind.encode(), octets))
            self.assertIn("Your message is attached" if octets == ORIGINAL else "message's header", text_of(notice))

    def test_long_header(self) -> None:
        """A header that is too long is cut at the end of a line."""
        line = b"X: " + b"y" * 95 + b"\r\n"
        for end in (b"\r\nbody\r\n", b"", line[:50]):
            notice = compose(HEADING, about(line * 1000 + end), [FAILED])
            self.assertTrue(notice.octets.split(b"\r\n--aa11.0")[3].endswith(b"\r\n\r\n" + line * 327))

    def test_eight_bit(self) -> None:
        """8-bit mail comes back as it was, and the notice says so; a header alone is encoded."""
        octets = b"Subject: x\xfc\r\n\r\n\xe4\r\n"
        notice = compose(HEADING, about(octets), [FAILED])
        self.assertTrue(notice.eight_bit)
        self.assertEqual(parsed(notice)[0]["Content-Transfer-Encoding"], "8bit")
        self.assertIn(b"message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + octets, notice.octets)
        notice = compose(HEADING, about(octets, ret="HDRS"), [FAILED])
        self.assertFalse(notice.eight_bit)
        self.assertTrue(notice.octets.isascii())
        self.assertEqual(parsed(notice)[1][2].get_payload(decode=True), b"Subject: x\xfc\r\n")

    def test_no_lines_of_mail(self) -> None:
        """A message with a NUL or a line that no mail may have is not returned whole, and its header is encoded."""
        for octets in (b"Subject: x\r\n\r\n" + b"x" * 1001 + b"\r\n", b"Subject: x\r\n\r\n\0\r\n",
                       b"Subject: " + b"x" * 2000 + b"\r\n\r\n"):
            notice = compose(HEADING, about(octets), [FAILED])
            self.assertEqual(parsed(notice)[1][2].get_content_type(), "text/rfc822-headers")
            self.assertLess(max(map(len, notice.octets.split(b"\r\n"))), 999)

    def test_utf8(self) -> None:
        """Addresses in UTF-8 are told in the forms of RFC 6533."""
        fate = evolve(FAILED, recipient="用户@例え.jp", original="utf-8;jürgen@x")
        notice = compose(HEADING, about("Subject: ü\r\n\r\n".encode(), utf8=True), [fate])
        self.assertTrue(notice.utf8)
        self.assertEqual([part.get_content_type() for part in parsed(notice)[1]],
                         ["text/plain", "message/global-delivery-status", "message/global"])
        self.assertIn("\r\nFinal-Recipient: utf-8; 用户@例え.jp\r\n".encode(), notice.octets)
        self.assertIn("\r\nOriginal-Recipient: utf-8;jürgen@x\r\n".encode(), notice.octets)
        self.assertIn("<用户@例え.jp>", text_of(notice))

    def test_declared_utf8_alone(self) -> None:
        """Mail that declared UTF-8 and has none of it gets a notice that every server takes."""
        notice = compose(HEADING, about(utf8=True), [FAILED])
        self.assertEqual((notice.utf8, notice.octets.isascii()), (False, True))

    def test_for_postmaster(self) -> None:
        """A notice that cannot go back says for whom it was."""
        notice = compose(evolve(HEADING, undeliverable_to="gone@example.org"), about(), [FAILED])
        self.assertIn("This notice is for the postmaster: there is no way back to its receiver,\ngone@example.org",
                      text_of(notice))

    def test_boundary(self) -> None:
        """A message that has the boundary in it makes the notice take another."""
        octets = b"Subject: x\r\n\r\n--aa11.0\r\nContent-Type: text/html\r\n\r\n--aa11.0--\r\n"
        message, parts = parsed(compose(HEADING, about(octets), [FAILED]))
        self.assertEqual((message.get_boundary(), len(parts)), ("aa11.1", 3))

    def test_subject_that_cannot_be_decoded(self) -> None:
        """Broken encoded words are shown as they came; a subject that encodes a line end stays one line."""
        for raw, shown in ((b"=?utf-8?b?x?= y", "=?utf-8?b?x?= y"), (b"=?nonsense?q?x?=", "=?nonsense?q?x?="),
                           (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a Bcc: x"), (b"a\r\n b", "a b"), (b"", "(none)"),
                           (b"\xff\x1b[31m", "\ufffd?[31m")):
            notice = compose(HEADING, about(b"Subject: " + raw + b"\r\n\r\n"), [FAILED])
            self.assertIn(f"    Subject:   {shown}\n    Came here:", text_of(notice), raw)


TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["\r\n", "\n", "\r", "\0", "\u2028", "\x85", "\x0b", "--aa11.0", "--", "Bcc: x@y", ": ",
                              " ", "=?utf-8?q?=0A?=", "\r\n\r\n", "Content-Type: text/html", "ü", "\ud800", "x" * 900]),
             max_size=8).map("".join),
)
OCTETS = st.one_of(
    st.binary(max_size=80).map(lambda octets: octets.replace(b"\r", b"").replace(b"\n", b"\r\n")),
    st.lists(st.sampled_from([b"\r\n", b"Subject: x", b"--aa11.0", b"--aa11.1--", b"--", b"\xff", b"\0", b"x" * 999,
                              b"Content-Type: multipart/mixed; boundary=b", b"--b", b"\r\n\r\n", b" "]), max_size=12)
    .map(b"".join),
)


class PropertyTests(SynchronousTestCase):
    """Whatever strangers write."""

    @settings(max_examples=200, deadline=None)
    @given(said=TEXT, server=TEXT, recipient=TEXT, original=st.none() | TEXT, to=TEXT, envid=st.none() | TEXT,
           octets=OCTETS, action=st.sampled_from(list(Action)), ret=st.sampled_from([None, "FULL", "HDRS"]),
           utf8=st.booleans())
    def test_structure(self, said: str, server: str, recipient: str, original: str | None, to: str, envid: str | None,
                       octets: bytes, action: Action, ret: str | None, utf8: bool) -> None:
        """Any words, addresses and headers: our fields and no others, three parts, one block for the recipient."""
        fate = Fate(recipient, action, "5.0.0", original, server, said, NOW, NOW)
        declared = MailParameters(utf8=utf8, ret=ret, envid=envid)
        notice = compose(evolve(HEADING, to=to, undeliverable_to=to), evolve(about(octets), declared=declared), [fate])
        message, parts = parsed(notice)
        self.assertEqual(message.keys(), FIELDS)
        self.assertEqual(len(parts), 3)
        self.assertEqual(message.defects, [])
        blocks = fields_of(notice)
        self.assertEqual(len(blocks), 2)
        self.assertEqual([name for name, _ in blocks[0]],
                         ["Reporting-MTA", *(["Original-Envelope-Id"] if envid is not None else []), "Arrival-Date"])
        self.assertEqual(dict(blocks[1])["Action"], action.value)
        self.assertLessEqual({name for name, _ in blocks[1]}, {
            "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
            "Last-Attempt-Date", "Will-Retry-Until"})
        self.assertLess(max(map(len, notice.octets.split(b"\r\n"))), 2900 if notice.utf8 else 1000)
        self.assertTrue(notice.eight_bit or notice.utf8 or notice.octets.isascii())
