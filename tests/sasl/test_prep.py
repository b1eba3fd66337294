"""Names and passwords typed in different ways."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import SASLError


class PrepareTests(SynchronousTestCase):
    """What is equal, and what is refused."""

    def test_equal_spellings(self) -> None:
        """The same letters composed, decomposed, full-width or with a soft hyphen inside are one password."""
        table = [("pa ss", "pa ss"), ("e\u0301t\u00e9", "\u00e9t\u00e9"), ("\uff50\uff57", "pw"), ("I\u00adX", "IX"),
                 ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b"), (b"\xc3\xa9", "\u00e9")]
        for typed, expected in table:
            self.assertEqual(expected, prepare(typed))

    def test_refused(self) -> None:
        """Control characters, line separators, surrogates and octets that are not UTF-8 are refused, and not shown."""
        for typed in ("a\nb", "a\0", "\x7f", "\u0085", "\u2028\u00e9", "\ud800", "\ue000", b"\xff", b"\xc3"):
            error = self.assertRaises(SASLError, prepare, typed)
            self.assertEqual([], [c for c in str(error) if not c.isprintable()])

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=20) | st.binary(max_size=20))
    def test_stable(self, typed: str | bytes) -> None:
        """Preparing twice changes nothing more, and nothing but SASLError is raised."""
        try:
            once = prepare(typed)
        except SASLError:
            return
        self.assertEqual(once, prepare(once))
