"""Keys of messages that came, forgotten after a month: until then a repeat is known, after that nobody repeats.

A key says nothing of its time, but message ids only grow: once a day the highest one so far is noted, and keys of
messages below the note of thirty days ago go, a slice at a time.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.store.changes import ForgetKeys, Remember

DAY = 86_400.0
DAYS = 30
APART = 0.05
"""Seconds between slices."""
_SLICE = 1000


class Seen:
    """Keys of Accepts that begin with `prefix`. Call `note` with the id of each message that came with one."""

    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, prefix: str, days: int = DAYS) -> None:
        self._store = store
        self._clock = clock
        self._prefix = prefix
        self._days = days
        self._marks = f"seen:{prefix}"
        self._highest = 0
        self._call: IDelayedCall | None = None
        self._pause: Deferred[None] | None = None
        self._stopped = False

    def note(self, message: int) -> None:
        """A message with this id came."""
        self._highest = max(self._highest, message)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._look()

    def stop(self) -> None:
        """End; a slice under way is finished."""
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        done: Deferred[None] = Deferred.fromCoroutine(self._forget())
        done.addErrback(self._failed)
        done.addCallback(lambda _: self._later(DAY / 24, self._look))

    def _failed(self, failure: Any) -> None:
        failure.trap(StoreError)
        self._log.warn("old keys stay for now: {error}", error=failure.value)

    def _later(self, seconds: float, function: Any) -> None:
        if not self._stopped:
            self._call = self._clock.callLater(seconds, function)

    async def _forget(self) -> None:
        today = int(self._clock.seconds() // DAY)
        marks = await self._store.remembered(self._marks, "", _SLICE)
        days = {int(key.removeprefix(self._marks)): int(value) for key, value in marks.items()}
        if self._highest and today not in days:
            await self._store.commit(Remember(f"{self._marks}{today:08d}", str(self._highest)))
        old = [day for day in days if day <= today - self._days]
        if not old:
            return
        before, after = days[max(old)], ""
        while not self._stopped:
            (last,) = await self._store.commit(ForgetKeys(self._prefix, after, before, _SLICE))
            if not last:
                await self._store.commit(*(Remember(f"{self._marks}{day:08d}", None) for day in old))
                return
            after = str(last)
            self._pause = Deferred()
            self._later(APART, lambda pause=self._pause: pause.callback(None))
            await self._pause
