"""Transfer encodings taken off."""

from __future__ import annotations

import binascii
import quopri
from base64 import b64encode, encodebytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.transfer import decoded
from tests.message.hostile import seconds

MIB = 1024 * 1024


class TransferTests(SynchronousTestCase):
    """Bodies."""

    def test_broken(self) -> None:
        """What can be read of a broken body is read."""
        for encoding, body, octets in (
            ("base64", b"YWJj", b"abc"), ("base64", b"YW\r\n Jj!\xff", b"abc"), ("base64", b"YWI", b"ab"),
            ("base64", b"YWJjZ", b"abc"), ("base64", b"YQ==YWJj", b"aabc"), ("base64", b"YQ=\r\n=\r\n", b"a"),
            ("base64", b"====", b""), ("base64", b"", b""), ("base64", b"YQ==\r\n-- \r\nfooter", b"a~\x8a-z"),
            ("base64", b"=" * 30_000 + b"YWJj", b"abc"),
            ("quoted-printable", b"a=\r\nb=3D=C5=BE  \r\nc", "ab=ž\r\nc".encode()),
            ("quoted-printable", b"a= \t\r\nb \n", b"ab\n"), ("quoted-printable", b"=ZZ=4", b"=ZZ=4"),
            ("x-uuencode", b"junk\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n", b"abc"),
            ("uuencode", b"begin 644 a.txt\n#86)CX\n#86)C\n~~~~\nend\n", b"abcabc"),
            ("x-uue", b"no begin", b"no begin"), ("7bit", b"=41", b"=41"), ("x-strange", b"YWJj", b"YWJj"),
        ):
            self.assertEqual(decoded(body, encoding), octets, (encoding, body))

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=400))
    def test_round_trip(self, octets: bytes) -> None:
        """What was encoded comes back."""
        self.assertEqual(decoded(encodebytes(octets).replace(b"\n", b"\r\n"), "base64"), octets)
        self.assertEqual(decoded(b64encode(octets).rstrip(b"="), "base64"), octets)
        one_end = octets.replace(b"\r", b"")  # CPython's encoder makes all line ends alike
        self.assertEqual(decoded(quopri.encodestring(one_end), "quoted-printable"), one_end)
        lines = b"".join(binascii.b2a_uu(octets[at:at + 45]) for at in range(0, len(octets), 45))
        self.assertEqual(decoded(b"begin 644 x\n" + lines + b"`\nend\n", "uuencode"), octets)

    def test_long_bodies(self) -> None:
        """Bodies that are read in pieces come out whole, whatever their lines."""
        octets = bytes(range(256)) * 5000
        self.assertEqual(decoded(encodebytes(octets), "base64"), octets)
        self.assertEqual(decoded(b64encode(octets), "base64"), octets)
        one_end = octets.replace(b"\r", b"")  # CPython's encoder makes all line ends alike
        self.assertEqual(decoded(quopri.encodestring(one_end), "quoted-printable"), one_end)
        self.assertEqual(decoded(b"=41" * 300_000, "quoted-printable"), b"A" * 300_000)
        lines = b"".join(binascii.b2a_uu(octets[at:at + 45]) for at in range(0, len(octets), 45))
        self.assertEqual(decoded(b"begin 644 x\n" + lines + b"`\nend\n", "uuencode"), octets)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80) | st.lists(st.sampled_from([b"=", b" ", b"\r", b"\n", b"begin 644 a\n", b"M", b"Y",
                                                              b"\xff", b"=41", b"`"]), max_size=40).map(b"".join))
    def test_any_body(self, body: bytes) -> None:
        """No body is refused."""
        for encoding in ("base64", "quoted-printable", "uuencode", "7bit", ""):
            self.assertLessEqual(len(decoded(body, encoding)), 64 + 2 * len(body))

    def test_hostile(self) -> None:
        """A megabyte of anything is read in a moment."""
        for piece in (b"=", b" ", b"= \n", b"=\r", b"a=", b" \r\n", b"M", b"M\n", b"begin 644 a\n", b"\n"):
            for encoding in ("base64", "quoted-printable", "uuencode"):
                body = b"begin 644 a\n" + piece * (MIB // len(piece))
                self.assertLess(seconds(lambda: decoded(body, encoding)), 1.5, (piece, encoding))  # noqa: B023
