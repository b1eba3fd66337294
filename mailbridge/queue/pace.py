"""How many notices may leave in a minute: the others are held back, none is dropped.

It counts what leaves, not what happens: a notice beyond the limit is stored at once like any other and becomes due
later.
"""

from __future__ import annotations

from collections import deque

MINUTE = 60.0


class Pace:
    """Gives times such that no minute has more than `per_minute` of them; it remembers no more than that many."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = max(1, per_minute)
        self._given: deque[float] = deque()

    def next(self, now: float) -> float:
        """The time at which one more may leave: now, or when the minute has room again."""
        while len(self._given) > self.per_minute:
            self._given.popleft()
        due = max(now, self._given[-1]) if self._given else now
        if len(self._given) == self.per_minute:
            due = max(due, self._given.popleft() + MINUTE)
        self._given.append(due)
        return due
