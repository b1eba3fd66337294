"""The last lines of a log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.logs.recent import MOST, Recent


class RecentTests(SynchronousTestCase):
    """Recent."""

    def test_follows(self) -> None:
        """Whoever asks gets what is new, with the number to ask for next; what is too old is gone."""
        recent = Recent()
        self.assertEqual(recent.after(0), ([], 0))
        recent.write(0.0, "I", "one")
        recent.write(1.0, "T", "two")
        self.assertEqual(recent.after(0), (["1970-01-01T00:00:00Z I one", "1970-01-01T00:00:01Z T two"], 2))
        self.assertEqual(recent.after(1), (["1970-01-01T00:00:01Z T two"], 2))
        self.assertEqual(recent.after(2**53), ([], 2))
        for number in range(MOST):
            recent.write(0.0, "I", str(number))
        lines, last = recent.after(0)
        self.assertEqual((len(lines), last, lines[0][-1]), (MOST, MOST + 2, "0"))
