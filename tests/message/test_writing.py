"""Messages that are written here and read back by `message.mime`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.mime import parse
from mailbridge.message.writing import LONGEST_LINE, attachment, line, message, multipart, text_part

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
NAME = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=90).map(
    str.strip).filter(bool)


def lines_fit(octets: bytes) -> bool:
    """Whether every line is one that mail allows."""
    return all(len(each) <= LONGEST_LINE and b"\r" not in each and b"\n" not in each for each in octets.split(b"\r\n"))


class WritingTests(SynchronousTestCase):
    """`line`, `text_part`, `attachment`, `multipart`, `message`."""

    @settings(max_examples=200, deadline=None)
    @given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400))
    def test_no_second_header(self, value: str) -> None:
        """Whatever a value has in it, it stays one field, folded, and is read back without its controls."""
        octets = line("Subject", value)
        self.assertTrue(octets.startswith(b"Subject:") and octets.endswith(b"\r\n") and lines_fit(octets))
        self.assertTrue(all(each[:1] in (b" ", b"") for each in octets[:-2].split(b"\r\n")[1:]), octets)

    @settings(max_examples=200, deadline=None)
    @given(TEXT)
    def test_text(self, text: str) -> None:
        """Text of any letters is read back, whatever encoding it took."""
        octets = message([("Subject", "x")], multipart("mixed", [text_part(text)]))
        found = parse(octets).parts[0]
        expected = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")  # a mark, no letter
        self.assertEqual(found.text(), expected)
        self.assertTrue(lines_fit(octets))

    def test_encodings(self) -> None:
        """Plain text stays plain; few letters are quoted, many go as base64; long lines are broken up."""
        for text, encoding in (("plain\n", "7bit"), ("caf\u00e9 au lait, s'il vous pla\u00eet", "quoted-printable"),
                               ("\u2603" * 50, "base64"), ("x" * 2000, "quoted-printable"),
                               ("a\0b", "quoted-printable")):
            octets = message([], text_part(text))
            self.assertEqual(parse(octets).encoding, encoding)
            self.assertTrue(lines_fit(octets))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300), NAME)
    def test_attachment(self, octets: bytes, name: str) -> None:
        """Octets and the name of a file come back as they were."""
        part = parse(message([], multipart("mixed", [attachment(octets, "image/png", name)]))).parts[0]
        self.assertEqual((part.type, part.disposition, part.filename, part.octets()),
                         ("image/png", "attachment", name, octets))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200) | st.just(b"Subject: x\r\n\r\nhello\r\n") | st.just(b"\r\n--=_mb_0_\r\n"))
    def test_attached_message(self, octets: bytes) -> None:
        """An attached message is one again, whatever it is made of."""
        part = parse(message([], multipart("mixed", [attachment(octets, "message/rfc822")]))).parts[0]
        self.assertEqual((part.type, part.octets()), ("message/rfc822", octets))

    def test_boundary(self) -> None:
        """A boundary is never one that stands in a part."""
        inner = multipart("alternative", [text_part("--=_mb_1_\n"), text_part("b")])
        found = parse(message([], multipart("mixed", [inner, text_part("--=_mb_0_--\n")])))
        self.assertEqual([part.type for part in found.walk()],
                         ["multipart/mixed", "multipart/alternative", "text/plain", "text/plain", "text/plain"])
        self.assertEqual(found.parts[0].parts[0].text(), "--=_mb_1_\n")

    def test_types(self) -> None:
        """A type that is none is replaced, so that it cannot write a header or begin a multipart."""
        for content_type in ("x", "a/b\r\nX: y", "multipart/mixed; boundary=x", "multipart/mixed", "image/png; x=y"):
            part = attachment(b"x", content_type, "x")
            self.assertIn(b"Content-Type: application/octet-stream\r\n", part.head)
        part = attachment(b"x", "text/plain", parameters=(("charset", "x\r\ny"), ("charset", "koi8-r")))
        self.assertIn(b"Content-Type: text/plain; charset=koi8-r\r\n", part.head)
