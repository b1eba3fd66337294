"""Charsets: what a message may name, and what is read under it."""

from __future__ import annotations

import codecs
import encodings
import pkgutil

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.charsets import codec_of, text_of

NO_CHARSETS = {"aliases", "charmap", "idna", "mbcs", "oem", "palmos", "punycode", "raw_unicode_escape", "undefined",
               "unicode_escape"}
KNOWN = sorted(
    module.name for module in pkgutil.iter_modules(encodings.__path__)
    if module.name not in NO_CHARSETS and codecs.lookup(module.name)._is_text_encoding
)


class CharsetTests(SynchronousTestCase):
    """Names and octets."""

    def test_every_charset_of_python(self) -> None:
        """Whatever charset CPython can read, a message may be written in."""
        self.assertGreater(len(KNOWN), 90)
        self.assertEqual([name for name in KNOWN if codec_of(name) is None], [])

    def test_no_codec_that_is_no_charset(self) -> None:
        """A message cannot name a codec that unpacks, escapes or maps names."""
        for name in ("zip", "zlib_codec", "hex", "bz2", "rot13", "rot_13", "uu", "base64", "quopri", "idna", "punycode",
                     "unicode_escape", "raw-unicode-escape", "undefined", "charmap", "mbcs", "oem", "../utf_8",
                     "aliases", "x" * 100_000, "utf-8\0", "encodings.utf_8\n.x"):
            self.assertNotIn(codec_of(name), ("zlib_codec", "hex_codec", "rot_13", "idna", "unicode_escape"), name)
        self.assertEqual(text_of(b"uryyb", "rot13"), "uryyb")
        self.assertEqual(text_of(rb"\x41", "unicode_escape"), r"\x41")

    def test_read(self) -> None:
        """Letters come out as they were meant, under the names that programs use."""
        for octets, charset, text in (
            ("žluťoučký".encode("cp1250"), "windows-1250", "žluťoučký"), (b"\xbe\xb9", "ISO-8859-2", "žš"),
            ("žluťoučký".encode("cp852"), "ibm852", "žluťoučký"), (b"\x9alu\x9d", "CP1250", "šluť"),
            ("žš".encode("cp1250"), "x-cp1250", "žš"), ("žš".encode("cp1250"), "win-1250", "žš"),
            (b"\x93quoted\x94", "iso-8859-1", "“quoted”"), (b"\x80 5", "latin1", "€ 5"),
            ("日本語".encode("iso2022_jp"), "ISO-2022-JP", "日本語"), ("①".encode("cp932"), "Shift_JIS", "①"),
            ("한국어".encode("cp949"), "ks_c_5601-1987", "한국어"), ("汉字".encode("gb18030"), "gb2312", "汉字"),
            ("привет".encode("koi8_r"), "KOI8-R", "привет"), (b"\xef\xbb\xbfx", "utf-8", "x"),
            ("ahoj".encode("utf-16"), "utf-16", "ahoj"), ("ahoj".encode("utf-16-be"), "utf-16", "ahoj"),
            ("ahoj".encode("utf-16-le"), "utf-16", "ahoj"), (b"+AX4-", "utf-7", "ž"), (b"+2AA-", "utf-7", "\ufffd"),
            (b"a\xffb", "utf-8", "a\ufffdb"), (b"a\x81b", "windows-1252", "a\ufffdb"),
        ):
            self.assertEqual(text_of(octets, charset), text, charset)

    def test_guessed(self) -> None:
        """8-bit letters without a charset that says anything are UTF-8 when they can be, else those of Windows."""
        for charset in ("", "us-ascii", "ASCII", "unknown-8bit", "x-unknown", "8bit", "no-such-charset", "zip"):
            self.assertEqual(text_of("Žofie".encode(), charset), "Žofie", charset)
            self.assertEqual(text_of(b"caf\xe9 \x81", charset), "café \ufffd", charset)

    def test_long_text_in_pieces(self) -> None:
        """A letter that falls between two pieces of a long text is whole."""
        for codec, line in (("utf-8", "ž日x"), ("utf-16", "až"), ("gb18030", "a汉字"), ("shift_jis", "a日本"),
                            ("utf-7", "až"), ("cp1250", "ž"), ("euc-jp", "a日"), ("iso-2022-jp", "日本\n")):
            text = line * (700_000 // len(line.encode(codec)))
            self.assertEqual(text_of(text.encode(codec), codec), text, codec)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=60) | st.lists(st.sampled_from([b"\x1b$B", b"~{", b"+2AA-", b"\xff\xfe", b"\0", b"a"]),
                                             max_size=9).map(b"".join), st.sampled_from(KNOWN) | st.text(max_size=20))
    def test_any_octets(self, octets: bytes, charset: str) -> None:
        """Any octets under any name are text that can be written as UTF-8."""
        text_of(octets, charset).encode()
        text_of(octets * 3000, charset).encode()
