"""Numbers of jobs: from one counter of the store for all applications, in blocks, so that most cost no commit.

A number is given once, whatever happens; those left of a block at a stop or a crash are never given at all.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mailbridge.interfaces import IStore
from mailbridge.store.changes import Allocate

BLOCK = 100
_COUNTER = "job"


class JobNumbers:
    """The counter; its first number is `start`, unless the store has it already. Both methods raise StoreError."""

    def __init__(self, store: IStore, start: int = 1) -> None:
        self._store = store
        self._start = start
        self._next = self._end = 0
        self._waiting: list[Deferred[None]] = []

    async def take(self) -> int:
        """A number that nobody else has or had."""
        await self._fill()
        number = self._next
        self._next += 1
        return number

    async def following(self) -> int:
        """The next that will be taken: all that are in use are below."""
        await self._fill()
        return self._next

    def upcoming(self) -> int:
        """What `take` would give now, without taking it. Raises StoreError."""
        if self._next != self._end:
            return self._next
        return self._store.counter(_COUNTER) or self._start

    async def _fill(self) -> None:
        while self._next == self._end:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            if len(self._waiting) == 1:
                self._store.commit(Allocate(_COUNTER, BLOCK, self._start)).addBoth(self._filled)
            await waiting

    def _filled(self, result: Any) -> None:
        waiting, self._waiting = self._waiting, []
        failed = None
        if isinstance(result, tuple):
            self._next = result[0]
            self._end = self._next + BLOCK
        else:
            failed = result
        for each in waiting:
            if not each.called:
                each.callback(None) if failed is None else each.errback(failed)
