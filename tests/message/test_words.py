"""Encoded words: what comes out is ASCII, and reads as what went in."""

from __future__ import annotations

from email.header import decode_header, make_header

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.mailboxes import parse_mailboxes
from mailbridge.message.words import encoded


def read(value: str) -> str:
    """As a mail program shows it."""
    return str(make_header(decode_header(value)))


class WordsTests(SynchronousTestCase):
    """Values of fields."""

    def test_text(self) -> None:
        """ASCII stays as it is; other words are encoded, the blanks between them too."""
        for value in ("plain  text", "Grüße aus Köln", "a Žluťoučký kůň b", "ž " * 60 + "x", "日本語" * 40, "ž"):
            found = encoded("Subject", value)
            self.assertTrue(found.isascii())
            self.assertEqual(read(found).replace(" ", ""), value.strip().replace(" ", ""))
            self.assertTrue(all(len(word) <= 75 for word in found.split(" ") if word.startswith("=?")))
        self.assertEqual(read(encoded("Subject", "Grüße an Žofie Nová")), "Grüße an Žofie Nová")
        self.assertEqual(encoded("Subject", "plain  text"), "plain  text")

    def test_addresses(self) -> None:
        """Names are encoded, addresses never: the list is the same before and after."""
        for value in ("Žofie Nová <z@x>, b@y", '"Nová, Žofie" <z@x>, "Plain, Joe" <j@x>', "Ž <z@x>,Č <c@x> , d@x",
                      "ž@x, <č@ž.example>", 'Ž "é" <z@x>'):
            found = encoded("To", value)
            self.assertEqual(parse_mailboxes(found), parse_mailboxes(value), found)
        self.assertEqual(read(encoded("To", "Žofie Nová <z@x>")), "Žofie Nová <z@x>")
        self.assertTrue(encoded("Resent-To", '"Nová, Žofie" <z@x>').isascii())

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80))
    def test_any(self, value: str) -> None:
        """Any text of an unstructured field comes out as ASCII without a line end."""
        found = encoded("Subject", value)
        self.assertTrue(found.isascii())
        self.assertFalse(set("\r\n") & set(found))
