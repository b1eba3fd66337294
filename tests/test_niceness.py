"""`thread_priority`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.niceness import nice_of


class NicenessTests(SynchronousTestCase):
    """The four words of the historic receiver."""

    def test_table(self) -> None:
        """Normal, lower, low and idle become nice values, each higher than the one before."""
        self.assertEqual([nice_of(priority) for priority in (0, -1, -2, -15)], [0, 5, 10, 19])

    def test_others(self) -> None:
        """Any other number is refused with those there are."""
        for priority in (1, -3, 15):
            with self.assertRaisesRegex(ValueError, "0, -1, -2, -15"):
                nice_of(priority)
