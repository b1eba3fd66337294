"""What a terminal is shown of strangers' text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.plain import plain, plain_json


class PlainTests(SynchronousTestCase):
    """`plain` and `plain_json`."""

    def test_table(self) -> None:
        """Controls, also those of 8 bits, and marks that turn the writing round, become visible; letters stay."""
        for text, shown in (
            ("gr\u00fc\u00df", "gr\u00fc\u00df"), ("\x1b[31mred", "\\x1b[31mred"), ("a\r\nb", "a\\r\\nb"), ("", ""),
            ("\x9b2J", "\\x9b2J"), ("\u202egpj.exe", "\\u202egpj.exe"), ("\udc80", "\\udc80"),
        ):
            self.assertEqual(shown, plain(text))
        self.assertEqual("abc\u2026", plain("abcdefgh", 4))
        self.assertEqual("abcd", plain("abcd", 4))

    @given(st.text())
    def test_harmless(self, text: str) -> None:
        """Whatever the text, what is shown is printable, and JSON says the same as before."""
        self.assertTrue(plain(text).isprintable())
        shown = plain_json({"text": text})
        self.assertTrue(shown.isprintable())
        self.assertEqual({"text": text}, json.loads(shown))
