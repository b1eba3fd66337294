"""Messages that cannot be retrieved."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.poison import FAILURES, MOST_NAMES, REST, Poison


class PoisonTests(SynchronousTestCase):
    """With a clock."""

    def test_passed_over(self) -> None:
        """Three failures pass a message over for an hour; one more failure does so again, a success forgets them."""
        clock = Clock()
        poison = Poison(clock.seconds)
        self.assertEqual([poison("a") for _ in range(FAILURES) if poison.add("a")], [False, False, True])
        clock.advance(REST)
        self.assertFalse(poison("a"))
        self.assertEqual(poison.add("a"), FAILURES + 1)
        self.assertTrue(poison("a"))
        poison.clear("a")
        self.assertFalse(poison("a"))

    def test_bounded(self) -> None:
        """A server cannot fill the memory with names."""
        poison = Poison(Clock().seconds)
        for number in range(MOST_NAMES + 100):
            poison.add(str(number))
        self.assertEqual(len(poison._failed), MOST_NAMES)
