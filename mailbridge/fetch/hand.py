"""What is under way at the same time, bounded by whoever begins it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Hand:
    """Coroutines that run; `broken(failure)` hears of each that fails."""

    def __init__(self, broken: Callable[[Failure], object]) -> None:
        self._broken = broken
        self._running: set[Deferred[None]] = set()
        self._room: Deferred[None] | None = None

    def begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Put something under way."""
        ending = Deferred.fromCoroutine(work)
        self._running.add(ending)
        ending.addErrback(self._broken)
        ending.addCallback(self._ended, ending)

    def _ended(self, _: object, ending: Deferred[None]) -> None:
        self._running.discard(ending)
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    async def below(self, many: int) -> None:
        """Wait until fewer than `many` are under way."""
        while len(self._running) >= many:
            self._room = Deferred()
            await self._room
