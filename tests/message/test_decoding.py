"""Encoded words and raw letters of header values."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.decoding import decoded_value, decoded_words
from mailbridge.message.words import encoded
from tests.message.hostile import seconds

PIECES = ["=?utf-8?q?", "=?utf-8?b?", "?=", "=?", "?", " ", "\t", "a", "=C5=BE", "xb0=", "ž", "\x00", "\r\n", "=0A",
          "=?x?q?a?=", "=?utf-7?q?+2AA-?=", "\x85", "\u2028"]


class DecodingTests(SynchronousTestCase):
    """Values as people read them."""

    def test_words(self) -> None:
        """Words are read and joined as RFC 2047 says; what is no encoded word stays as it was written."""
        for value, text in (
            ("plain", "plain"), ("=?utf-8?Q?=C5=BDofie_Nov=C3=A1?=", "Žofie Nová"), ("=?UTF-8?b?xb1vZmll?=", "Žofie"),
            ("=?iso-8859-1?q?a?= b", "a b"), ("=?iso-8859-1?Q?a?= =?iso-8859-1?Q?b?=", "ab"),  # RFC 2047 8
            ("=?iso-8859-1?Q?a?=  \t =?iso-8859-2?Q?b?=", "ab"), ("=?iso-8859-1?Q?a_b?=", "a b"),
            ("=?iso-8859-1?Q?a?= =?iso-8859-2?Q?_b?=", "a b"), ("=?utf-8*cs?q?=C5=BE?=", "ž"),
            ("=?utf-8?q?=C5?= =?utf-8?q?=BE?=", "ž"), ("(=?utf-8?q?a?=)", "(a)"), ("a=?utf-8?q?b?=c", "abc"),
            ("=?cp1250?q?=9E?= x =?utf-8?b?xb4=?=", "ž x ž"), ("=?utf-8?q?a b?=", "a b"), ("=?utf-8?b?xb4?=", "ž"),
            ("=?us-ascii?q?=C5=BE?=", "ž"), ("=?unknown-8bit?q?=E9?=", "é"),
            # Broken ones.
            ("=?utf-8?q?a", "=?utf-8?q?a"), ("=?utf-8?x?a?=", "=?utf-8?x?a?="), ("=?nobody?q?a?=", "=?nobody?q?a?="),
            ("=?utf-8?b?a*b?=", "=?utf-8?b?a*b?="), ("=??q?a?=", "=??q?a?="), ("=?utf-8?q??=", ""),
            ("=?zip?b?YQ==?=", "=?zip?b?YQ==?="), ("=?nobody?q?a?= =?utf-8?q?b?=", "=?nobody?q?a?= b"),
            # Nothing that ends a line or moves a cursor comes out.
            ("=?utf-8?q?a=0D=0ABcc:_x@y?=", "a Bcc: x@y"), ("a\tb\x07c\x1b[0m", "a bc[0m"), ("a\x00b\x7f", "ab"),
            ("=?utf-8?q?=C2=85=E2=80=A8x?=", "x"), ("  a  ", "a"), ("=?utf-7?q?+2AA-?=", "\ufffd"),
        ):
            self.assertEqual(decoded_value(value.encode()), text, value)

    def test_raw_letters(self) -> None:
        """Letters that are not encoded are UTF-8, else of the charset that the message names."""
        self.assertEqual(decoded_value("Žofie".encode()), "Žofie")
        self.assertEqual(decoded_value(b"\x8eofie", "cp1250"), "Žofie")
        self.assertEqual(decoded_value(b"caf\xe9"), "café")
        self.assertEqual(decoded_value(b"\xe9 =?utf-8?q?=C5=BE?="), "é ž")

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80))
    def test_reads_what_we_write(self, value: str) -> None:
        """What `words.encoded` writes is read back, but for blanks at its ends."""
        if "=?" not in value:
            self.assertEqual(decoded_value(encoded("Subject", value).encode()), value.strip())

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join).map(str.encode) | st.binary(max_size=80))
    def test_any_value(self, octets: bytes) -> None:
        """Whatever a field holds, one line without control characters comes out."""
        text = decoded_value(octets, "utf-7")
        text.encode()
        self.assertFalse([c for c in text if c < " " or "\x7f" <= c < "\xa0" or c in "\u2028\u2029"])

    def test_hostile(self) -> None:
        """60,000 encoded words, whole or broken, are read in a moment."""
        for piece in ("=?utf-8?q?a?= ", "=?utf-8?q?=C5?= =?cp1250?b?YQ==?= ", "=?", "=?a?q?", "=?utf-8?q?", "?=", " ",
                      "=?utf-8?q?x", "=?a?", "=?utf-8?b?a?= "):
            self.assertLess(seconds(lambda: decoded_words(piece * 60_000)), 1.0, piece)  # noqa: B023
