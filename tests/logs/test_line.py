"""What may stand in a line of a log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.logs.line import clean, stamp


class LineTests(SynchronousTestCase):
    """Text and date."""

    def test_table(self) -> None:
        """Letters stay, what would move the cursor or end the line is escaped."""
        for text, line in [
            ("plain <a@b>", "plain <a@b>"), ("Ž\u4e2d", "Ž\u4e2d"), ("a\r\nb", r"a\r\nb"), ("\x1b[2J", r"\x1b[2J"),
            ("\0\x7f\x85", r"\x00\x7f\x85"), ("\u2028\u202e", r"\u2028\u202e"), ("a\\n", r"a\\n"),
            ("\udcff", r"\udcff"), ("", ""),
        ]:
            self.assertEqual(clean(text), line)

    @given(st.text(alphabet=st.characters(), max_size=50))
    def test_any_text(self, text: str) -> None:
        """Any text becomes one printable line that can be written, and that no other text becomes."""
        line = clean(text)
        self.assertTrue(line.isprintable())
        self.assertEqual(len(line.encode().splitlines()), 1 if text else 0)
        if text.isascii():
            self.assertEqual(line.encode("ascii").decode("unicode_escape"), text)

    def test_stamp(self) -> None:
        """The date is UTC, to the second."""
        self.assertEqual(stamp(1_795_258_113.9), "2026-11-21T10:48:33Z")
