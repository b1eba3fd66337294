"""Messages that could not be retrieved: after three failures one is passed over, so that it never blocks the others.

Kept in memory only. Once an hour it is tried again: the fault may have been the server's, and it is still there.
"""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 3
REST = 3600.0
MOST_NAMES = 10_000


class Poison:
    """The failures of one account, by the names of messages. Calling it says whether to pass a message over."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._failed: dict[str, tuple[int, float]] = {}

    def __call__(self, name: str) -> bool:
        """Whether it has failed too often of late."""
        times, last = self._failed.get(name, (0, 0.0))
        return times >= FAILURES and self._seconds() - last < REST

    def add(self, name: str) -> int:
        """One more failure; how many there are."""
        times, _ = self._failed.pop(name, (0, 0.0))
        if len(self._failed) >= MOST_NAMES:
            del self._failed[next(iter(self._failed))]
        self._failed[name] = times + 1, self._seconds()
        return times + 1

    def clear(self, name: str) -> None:
        """It could be retrieved."""
        self._failed.pop(name, None)
