"""The pace of notices: what leaves in any minute, counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.queue.pace import Pace


class PaceTests(SynchronousTestCase):
    """Times by table and for any arrivals."""

    def test_table(self) -> None:
        """The first may leave at once, the others as soon as the minute before them has room."""
        pace = Pace(2)
        self.assertEqual([pace.next(now) for now in (0, 10, 20, 21, 75, 400)], [0, 10, 60, 70, 120, 400])

    def test_changed_while_it_runs(self) -> None:
        """A new limit holds from the next notice on."""
        pace = Pace(3)
        self.assertEqual([pace.next(0) for _ in range(3)], [0, 0, 0])
        pace.per_minute = 1
        self.assertEqual([pace.next(1), pace.next(1)], [60, 120])
        pace.per_minute = 2
        self.assertEqual([pace.next(1), pace.next(1)], [120, 180])

    @given(st.integers(1, 5), st.lists(st.floats(0, 200), max_size=40))
    def test_no_minute_has_more(self, per_minute: int, arrivals: list[float]) -> None:
        """Whenever notices are made: none leaves before it is made, and no minute has more than its number."""
        pace = Pace(per_minute)
        times = []
        for now in sorted(arrivals):
            times.append(pace.next(now))
            self.assertGreaterEqual(times[-1], now)
        self.assertEqual(times, sorted(times))
        for first, beyond in zip(times, times[per_minute:], strict=False):
            self.assertGreaterEqual(beyond, first + 60 - 1e-6)
