"""When a cycle runs: at its times, never twice at once, with a line and in one of the fetcher's places.

A cycle that is late skips the times it has missed.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.fetch.collection import Collection
from mailbridge.fetch.cycle import Cycle
from mailbridge.fetch.link import Link


@frozen
class Times:
    """Seconds: `period` from start to start, or with `is_interval` from end to start; `retry` after a failure."""

    period: float
    is_interval: bool = False
    retry: float | None = None

    def delay(self, now: float, epoch: float, well: bool) -> float:
        """Until the next cycle, at the end of one. Fixed times count from `epoch`."""
        delay = self.period
        if not self.is_interval:
            delay -= (now - epoch) % self.period
            if delay < min(1.0, self.period / 2):  # a cycle that began a hair before its time
                delay += self.period
        return min(delay, self.retry) if not well and self.retry is not None else delay


class Turn:
    """One cycle and its timer. `next` is the time of the next one, None when none is planned."""

    log = Logger()

    def __init__(
        self, cycle: Cycle, times: Times, link: Link, clock: IReactorTime, places: DeferredSemaphore
    ) -> None:
        self.cycle = cycle
        self.names = [each.account.name for each in cycle.collections]
        self.next: float | None = None
        self._times = times
        self._link = link
        self._clock = clock
        self._places = places
        self._call: IDelayedCall | None = None
        self._epoch = self._time = 0.0
        self._begun: dict[Collection, float] = {}
        self._waiting: list[Deferred[None]] = []
        self._started = self._busy = self._halted = self._extra = False

    def start(self) -> None:
        """Run at once, then at its times."""
        self._started = True
        self._epoch = self._clock.seconds()
        self._begun.clear()
        if not self._busy:
            self._run()

    def stop(self) -> Deferred[None]:
        """No more; fires when what runs has ended."""
        self._started = False
        self._halted = True
        self._cancel()
        if not self._busy:
            return succeed(None)
        ended = self._wait()
        self.cycle.stop()
        return ended

    def now(self) -> Deferred[None]:
        """Run at once, whatever the time; fires at the end."""
        ended = self._wait()
        if not self._busy:
            self._cancel()
            self._run(True)
        return ended

    def _wait(self) -> Deferred[None]:
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def _cancel(self) -> None:
        call, self._call, self.next = self._call, None, None
        if call is not None and call.active():
            call.cancel()

    def _run(self, extra: bool = False) -> None:
        """`extra`: out of turn, for all accounts, whenever they were collected last."""
        self._call = self.next = None
        self._busy, self._halted = True, False
        self._time = self._clock.seconds()
        self._extra = extra
        self.cycle.begin()
        Deferred.fromCoroutine(self._turn()).addErrback(
            lambda failure: self.log.failure("a fault on this side ended a cycle", failure))

    async def _turn(self) -> None:
        well = False
        try:
            # The line comes first: it is up until the last of those who want it has had a place.
            if await self._link.take():
                try:
                    well = await self._places.run(self._placed)
                finally:
                    await self._link.give_back()
            else:
                self.cycle.no_line()
        finally:
            self._busy = False
            if self._started:
                self._plan(well)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def _placed(self) -> Deferred[bool]:
        """Whoever was stopped while waiting for a place does not begin."""
        return succeed(True) if self._halted else Deferred.fromCoroutine(self.cycle.run(self._due))

    def _due(self, one: Collection) -> bool:
        """In a cycle of many accounts some may have longer intervals of their own."""
        if self._extra:
            return True
        interval = one.account.interval or self._times.period
        if one in self._begun and self._time - self._begun[one] < interval - 1.0:
            return False
        self._begun[one] = self._time
        return True

    def _plan(self, well: bool) -> None:
        now = self._clock.seconds()
        delay = self._times.delay(now, self._epoch, True)
        sooner = self._times.delay(now, self._epoch, well)
        self.next = now + sooner
        self._call = self._clock.callLater(sooner, self._run, sooner < delay)
