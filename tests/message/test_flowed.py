"""Flowed text (RFC 3676)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.flowed import unflowed
from tests.message.hostile import seconds


class FlowedTests(SynchronousTestCase):
    """Paragraphs."""

    def test_table(self) -> None:
        """Lines that end in a blank go on; quotes, stuffing and signatures are minded."""
        for text, delsp, expected in (
            ("a \nb\nc", False, "a b\nc"), ("a \nb", True, "ab"), ("a  \nb", True, "a b"), ("", False, ""),
            (" From x\n >no quote", False, "From x\n>no quote"), ("a \n\nb", False, "a\n\nb"),
            (">a \n>b\n> c", False, "> a b\n> c"), (">>a \n>b \nc ", False, ">> a\n> b\nc"), (">", False, ">"),
            ("a \n-- \nBonnie", False, "a\n-- \nBonnie"), ("> > a", False, "> > a"), ("a ", False, "a"),
            (">a \n>-- \n>b", False, "> a\n> -- \n> b"),
        ):
            self.assertEqual(unflowed(text, delsp), expected, text)

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet=" >a-\n", max_size=60), st.booleans())
    def test_nothing_lost(self, text: str, delsp: bool) -> None:
        """Every letter of the text is there, in order."""
        self.assertEqual(unflowed(text, delsp).count("a"), text.count("a"))

    def test_hostile(self) -> None:
        """Half a megabyte of blanks, quotes or short lines is read in a moment."""
        for piece in (" ", ">", " \n", "> \n", ">\n", "a \n", "-- \n", ">>>a \n>b \n"):
            self.assertLess(seconds(lambda: unflowed(piece * (2**19 // len(piece)))), 1.0, piece)  # noqa: B023
