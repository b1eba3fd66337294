"""What is under way: remembered while it runs, so that a stop can wait for it and break off what takes too long."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

Result = TypeVar("Result")


class UnderWay:
    """Deferreds that have not fired yet. It leaves their results alone."""

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()
        self._waiting: list[Deferred[None]] = []

    def add(self, running: Deferred[Result]) -> Deferred[Result]:
        """Remember it until it fires; the same again."""
        if not running.called:
            self._running.add(running)
            running.addBoth(self._ended, running)
        return running

    def ended(self, clock: IReactorTime, grace: float) -> Deferred[None]:
        """Fires when none runs any more; those that still do after `grace` seconds are cancelled."""
        ended: Deferred[None] = Deferred()
        if not self._running:
            ended.callback(None)
            return ended
        self._waiting.append(ended)
        timer = clock.callLater(grace, self._cancel)
        return ended.addCallback(lambda _: timer.cancel() if timer.active() else None)

    def _cancel(self) -> None:
        for running in list(self._running):
            running.cancel()

    def _ended(self, result: Any, running: Deferred[Any]) -> Any:
        self._running.discard(running)
        if not self._running:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)
        return result
