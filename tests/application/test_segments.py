"""How many short messages a text takes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.segments import segments


class SegmentTests(SynchronousTestCase):
    """Counting as TS 23.038 and TS 23.040 do."""

    def test_counts(self) -> None:
        """160 and 153 characters of GSM, 70 and 67 of others; what is escaped takes two and is not parted."""
        for text, parts in (
            ("", 1), ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
            ("ž" * 70, 1), ("ž" * 71, 2), ("ž" * 134, 2), ("ž" * 135, 3), ("a" * 70 + "ž", 2),
            ("€" * 80, 1), ("€" * 81, 2), ("a" * 158 + "€", 1), ("a" * 159 + "€", 2),
            ("€" * 152, 2), ("€" * 153, 3), ("a" + "€" * 152, 2), ("a" * 152 + "€" + "a" * 152, 3),
            ("\U0001f600" * 35, 1), ("\U0001f600" * 36, 2), ("\U0001f600" * 66, 2), ("\U0001f600" * 67, 3),
            ("äöñüà ΔΦ ¤§¿\n\r@£$" * 8, 1), ("ä" * 160, 1), ("á" * 71, 2), ("`" * 71, 2), ("[" * 80, 1),
        ):
            self.assertEqual(segments(text), parts, f"{text[:5]}... {len(text)}")

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=400), st.text(max_size=50))
    def test_longer_is_not_less(self, text: str, more: str) -> None:
        """A longer text never takes fewer, and never more than its UTF-16 units over 66."""
        self.assertLessEqual(segments(text), segments(text + more))
        self.assertLessEqual(segments(text), max(1, -(-len(text.encode("utf-16-le", "replace")) // 2 // 66)) + 1)
