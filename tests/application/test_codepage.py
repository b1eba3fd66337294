"""Code pages, and text made to fit."""

from __future__ import annotations

import sys
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.codepage import CodePage

USABLE = ("cp1250", "cp1252", "cp852", "cp895", "iso-8859-2", "latin-1", "koi8-r", "mac-latin2", "us-ascii", "utf-8")
UNSAFE = ("cp037", "cp500", "utf-7", "utf-16", "utf-32", "utf-8-sig", "hz", "gbk", "gb18030", "big5", "shift_jis",
          "cp932", "euc_kr", "iso2022_jp", "iso2022_kr", "punycode", "unicode_escape", "raw_unicode_escape")
NONE = ("", "cp0", "nonsense", "rot13", "hex", "base64", "zlib", "idna", "undefined", "a\0b", "../cp1250", "x" * 300)


class CodePageTests(SynchronousTestCase):
    """Which code pages there are, and what text becomes in them."""

    def test_names(self) -> None:
        """Any spelling of a code page with one octet a character, and UTF-8."""
        for name in USABLE:
            if name != "cp895":  # Kamenicky: not among Python's
                self.assertEqual(CodePage.make(name).encode("A=;[\r\n"), b"A=;[\r\n")
        self.assertEqual(CodePage.make("CP1250"), CodePage.make("windows-1250"))

    def test_unsafe(self) -> None:
        """Code pages in which a letter may hold the octet of a bracket or line end, and names of none, are refused."""
        for name in UNSAFE:
            self.assertIn("cannot be used", str(self.assertRaises(ValueError, CodePage.make, name)))
        for name in (*NONE, "cp895"):
            self.assertIn("there is no code page", str(self.assertRaises(ValueError, CodePage.make, name)))

    def test_no_letter_is_a_sign(self) -> None:
        """In no usable code page does a character beyond ASCII come out as an octet of ASCII."""
        beyond = [chr(code) for code in range(128, 0x10000) if not 0xD800 <= code < 0xE000]
        for name in USABLE:
            if name == "cp895":
                continue
            page = CodePage.make(name)
            octets = "".join(beyond).encode(page.name, "ignore")
            self.assertEqual({octet for octet in octets if octet < 128}, set(), name)

    def test_letters_become_plain(self) -> None:
        """What the code page lacks loses its marks, or becomes a question mark; what it has stays."""
        page = CodePage.make("cp1250")
        for text, wanted in (
            ("Příliš žluťoučký kůň €", ("Příliš žluťoučký kůň €", 0)),
            ("e\u0301", ("é", 0)),
            ("mañana", ("manana", 1)),
            ("m² ﬁ Ａ", ("m2 fi A", 3)),
            ("½", ("?", 1)),
            ("漢字 ≠ \U0001f600", ("?? ? ?", 4)),
            ("x\u0301\u0327y", ("xy", 2)),
            ("\ud800", ("?", 1)),
        ):
            self.assertEqual(page.fit(text), wanted, text)
        self.assertEqual(CodePage.make("utf-8").fit("漢字\ud800"), ("漢字?", 1))
        self.assertEqual(CodePage.make("ascii").fit("Příliš"), ("Prilis", 3))

    def test_nothing_becomes_a_line_end(self) -> None:
        """No character of Unicode becomes a control character by losing its marks."""
        page = CodePage.make("ascii")
        every = (chr(code) for code in range(160, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
        text = "".join(c for c in every if not unicodedata.is_normalized("NFKD", c))
        self.assertGreater(len(text), 10_000)
        self.assertTrue(page.fit(text)[0].isprintable())

    def test_cut(self) -> None:
        """A text is cut between two characters."""
        self.assertEqual(CodePage.make("utf-8").cut("ab€".encode(), 4), b"ab")
        self.assertEqual(CodePage.make("cp1250").cut(b"ab\x80", 2), b"ab")
        self.assertEqual(CodePage.make("cp1250").cut(b"ab\x80", 3), b"ab\x80")

    @settings(max_examples=150, deadline=None)
    @given(st.text(), st.sampled_from([name for name in USABLE if name != "cp895"]))
    def test_fits(self, text: str, name: str) -> None:
        """Whatever the text, what comes out can be written and read again."""
        page = CodePage.make(name)
        fitting, replaced = page.fit(text)
        self.assertEqual(page.encode(fitting).decode(page.name), fitting)
        self.assertEqual(page.fit(fitting), (fitting, 0))
        self.assertTrue(replaced or len(fitting) <= len(text))
