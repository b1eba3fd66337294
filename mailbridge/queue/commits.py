"""Commits of the queue, made with patience: what was delivered has to be known before its claim runs out."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreConflict, StoreError, StoreFull
from mailbridge.interfaces import IStore
from mailbridge.queue.ending import Ending

AGAIN = 10.0


class Commits:
    """Commits to `store`, again every ten seconds while that fails, until `hurry` is called."""

    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._sleeping: set[IDelayedCall] = set()
        self._hurried = False

    async def settle(self, ending: Ending) -> None:
        """Commit an ending; without its notices if those cannot be stored."""
        if ending.told:
            try:
                self._look_at(await self._store.commit(*ending.sure, *ending.told))
                return
            except (StoreConflict, StoreFull) as error:
                self._log.warn("a notice could not be stored: {error}", error=error)
                await self.commit(*ending.sure, *ending.untold)
                return
            except StoreError as error:
                self._log.error("the queue's work could not be stored: {error}", error=error)
                await self._sleep()
        await self.commit(*ending.sure, *ending.told)

    async def commit(self, *changes: object) -> None:
        """Commit. Raises StoreConflict only."""
        while changes:
            try:
                self._look_at(await self._store.commit(*changes))
                return
            except StoreConflict:
                raise
            except StoreError as error:
                self._log.error("the queue's work could not be stored: {error}", error=error)
                if self._hurried:
                    return
                await self._sleep()

    def hurry(self) -> None:
        """The store is about to be closed: try once more, then leave it."""
        self._hurried = True
        for timer in self._sleeping:
            timer.reset(0)

    def _look_at(self, receipts: tuple[object, ...]) -> None:
        if False in receipts:
            self._log.warn("a claim was over before its delivery was settled")

    async def _sleep(self) -> None:
        waiting: Deferred[None] = Deferred()
        timer = self._clock.callLater(0 if self._hurried else AGAIN, waiting.callback, None)
        self._sleeping.add(timer)
        await waiting
        self._sleeping.discard(timer)
