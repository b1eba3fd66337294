"""Bodies, attachments and urgency."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.mime import Entity, parse
from mailbridge.message.text import attached_message, attachments, body_html, body_text, priority
from tests.message.test_mime import ANY

PDF = "Content-Type: application/pdf; name=a.pdf\r\n\r\nPDF"
PLAIN = "\r\nplain"
HTML = "Content-Type: text/html\r\n\r\n<p>page"
NAMED = "Content-Disposition: inline; filename=n.txt\r\n\r\nnamed"
ATTACHED = "Content-Disposition: attachment\r\n\r\nattached"


def multipart(kind: str, *parts: str, more: str = "") -> str:
    """A multipart with its header; parts with theirs."""
    boundary = f"b{sum(map(len, parts))}"
    lines = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary={boundary}{more}\r\n\r\n{lines}--{boundary}--\r\n"


def read(octets: str) -> tuple[str, str | None, list[str]]:
    """(body as text, body as HTML, types or names of the attachments)."""
    message = parse(octets.encode())
    return body_text(message), body_html(message), [found.filename or found.type for found in attachments(message)]


class BodyTests(SynchronousTestCase):
    """Which part is the body."""

    def test_structures(self) -> None:
        """Messages as mail programs make them."""
        report = multipart("report", PLAIN, "Content-Type: message/delivery-status\r\n\r\nx: y",
                           "Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\n" + PLAIN)
        for octets, text, html, names in (
            (PLAIN, "plain", None, []), (HTML, "page", "<p>page", []), (PDF, "", None, ["a.pdf"]),
            (multipart("mixed", PLAIN, PDF), "plain", None, ["a.pdf"]), (ATTACHED, "", None, ["text/plain"]),
            (multipart("alternative", PLAIN, HTML), "plain", "<p>page", []),
            (multipart("alternative", "\r\n  ", HTML), "page", "<p>page", []),
            (multipart("alternative", HTML), "page", "<p>page", []),
            (multipart("alternative", PLAIN, HTML, "Content-Type: text/html\r\n\r\nbest"), "plain", "best", []),
            (multipart("mixed", multipart("alternative", PLAIN, multipart("related", HTML, PDF)), PDF), "plain",
             "<p>page", ["a.pdf", "a.pdf"]),
            (multipart("alternative", PLAIN, multipart("mixed", HTML, PDF, "Content-Type: text/html\r\n\r\nend")),
             "plain", "<p>page", ["a.pdf"]),
            (multipart("alternative", PLAIN, HTML, "Content-Type: text/calendar\r\n\r\nBEGIN"), "plain", "<p>page",
             ["text/calendar"]),
            (multipart("related", PDF, HTML.replace("\r\n\r\n", "\r\nContent-ID: <p>\r\n\r\n"), more="; start=\"<p>\""),
             "page", "<p>page", ["a.pdf"]),
            (multipart("related", HTML, PLAIN), "page", "<p>page", ["text/plain"]),
            (multipart("mixed", HTML, PLAIN), "page", "<p>page", ["text/plain"]),  # a list's footer
            (multipart("mixed", "\r\n\r\n", PDF, PLAIN), "plain", None, ["a.pdf"]),
            (multipart("mixed", ATTACHED, PLAIN), "plain", None, ["text/plain"]),
            (multipart("mixed", NAMED, PLAIN), "plain", None, ["n.txt"]),
            (multipart("mixed", PDF, NAMED), "named", None, ["a.pdf"]),
            (multipart("mixed", "Content-Type: text/markdown\r\n\r\n*x*", PDF), "*x*", None, ["a.pdf"]),
            (multipart("signed", PLAIN, "Content-Type: application/pgp-signature\r\n\r\n"), "plain", None,
             ["application/pgp-signature"]),
            (report, "plain", None, ["message/delivery-status", "message/rfc822"]),
            ("Content-Type: message/partial; id=x\r\n\r\n" + PLAIN, "", None, ["message/partial"]),
            ("Content-Type: message/rfc822\r\n\r\n" + PLAIN, "", None, ["message/rfc822"]),
            (multipart("mixed", "Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n\x78\x9f"), "", None,
             ["winmail.dat"]),
            ("Content-Type: multipart/mixed\r\n\r\nlost", "", None, ["multipart/mixed"]), ("", "", None, []),
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--", "", None, ["multipart/mixed"]),
        ):
            self.assertEqual(read(octets), (text, html, names), octets)

    def test_flowed(self) -> None:
        """Flowed lines are joined, also after an encoding; other text keeps its lines."""
        flowed = ("Content-Type: text/plain; format=Flowed; delsp=yes\r\n"
                  "Content-Transfer-Encoding: quoted-printable\r\n\r\n")
        self.assertEqual(read(flowed + "a =20\r\nb =\r\n\r\nc")[0], "a bc")
        self.assertEqual(read("Content-Type: text/plain; format=flowed\r\n\r\na \r\nb")[0], "a b")
        self.assertEqual(read("\r\na \r\nb")[0], "a \nb")

    def test_rtf_that_says_it_is_html(self) -> None:
        """HTML that is RTF is an empty document; the other form of the body is read instead."""
        rtf = "Content-Type: text/html\r\n\r\n<html>{\\rtf1\\ansi x}"
        self.assertEqual(read(rtf), ("", "", []))
        self.assertEqual(read(rtf.replace("rtf1", "rtf2")), ("", "", []))
        self.assertEqual(read(rtf.replace("rtf1", "rtf3"))[1], "<html>{\\rtf3\\ansi x}")
        self.assertEqual(read(multipart("alternative", PLAIN, rtf))[0], "plain")

    def test_charset_of_a_page(self) -> None:
        """A page that says its charset itself is read by it; what the part says counts more."""
        page = b"<meta http-equiv=x content='text/html; charset=windows-1250'>\x9e"
        self.assertEqual(body_text(parse(b"Content-Type: text/html\r\n\r\n" + page)), "ž")
        self.assertEqual(body_text(parse(b"Content-Type: text/html; charset=cp1251\r\n\r\n" + page)), "ћ")
        self.assertEqual(body_text(parse(b"Content-Type: text/html\r\n\r\n<meta charset=utf-16>\xc5\xbe")), "ž")

    def test_attached_message(self) -> None:
        """The first message that is attached, also one in base64; none when none is."""
        inner = "Subject: inner\r\n\r\nx"
        plain = multipart("mixed", PLAIN, "Content-Type: message/rfc822\r\n\r\n" + inner)
        coded = multipart("mixed", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                          + b64encode(inner.encode()).decode())
        wide = plain.replace("message/rfc822", "message/global")
        for octets in (plain, coded, wide):
            found = attached_message(parse(octets.encode()))
            assert found is not None
            self.assertEqual((found[0].value("subject"), found[1]), ("inner", inner.encode()))
        self.assertIsNone(attached_message(parse(PLAIN.encode())))
        octets = parse(plain.encode())
        self.assertEqual(attachments(octets)[0].octets(), inner.encode())

    def test_priority(self) -> None:
        """The ways in which programs mark urgent mail; a mark that means nothing is none."""
        for header, expected in (
            ("X-Priority: 1 (Highest)", "high"), ("X-Priority: 3", "normal"), ("X-Priority: 5 (Lowest)", "low"),
            ("Importance: High", "high"), ("Importance: low", "low"), ("Priority: urgent", "high"),
            ("Priority: non-urgent", "low"), ("X-MSMail-Priority: Normal", "normal"), ("X-Priority: 9", ""),
            ("X-Priority: junk\r\nImportance: high", "high"), ("X-Priority:\r\nPriority: normal", "normal"),
            ("A: b", ""),
        ):
            self.assertEqual(priority(parse(header.encode() + b"\r\n\r\n")), expected, header)

    @settings(max_examples=300, deadline=None)
    @given(ANY)
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets have a body and attachments; no leaf is both, and what is attached can be read."""
        message: Entity = parse(octets)
        body_text(message).encode()
        (body_html(message) or "").encode()
        found = attachments(message)
        self.assertEqual(len(found), len(set(found)))
        self.assertLessEqual(len(found), sum(1 for _ in message.walk()))
        for entity in found:
            entity.octets()
