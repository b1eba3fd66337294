"""The queue at work: watches lanes, claims what is due, has it attempted, and commits what became of it.

Promises: a lane has no more attempts at once than its target allows; lanes take turns, so a dead one delays no other;
what was done is settled before its claim can run out; nothing bounces for a fault of our own side. A lane in trouble is
tried with one delivery until that works. Idle, it has one timer and asks the store once a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.interfaces import IBounce, IRouter, IStore, ITarget
from mailbridge.outcome import Delivered, Outcome, RouteFailure, TransientFailure
from mailbridge.queue.attempt import TIME, Attempts
from mailbridge.queue.claims import Claims
from mailbridge.queue.commits import Commits
from mailbridge.queue.ending import Ending, Endings, Result
from mailbridge.queue.lane import BATCH, LaneWork
from mailbridge.queue.schedule import Schedule
from mailbridge.routing.route import USDS_LANES
from mailbridge.store.changes import (
    Change,
    Delivery,
    Message,
    Move,
    RetryNow,
    Selection,
    SetLane,
    Settle,
    Verdict,
)

POLL = 60.0  # seconds between looks at the store when nothing is told
LOOK_APART = 0.05
LISTED = 5000
ATTEMPTS = 500  # at once, in all lanes
MOST_CLAIMED = 10_000
READ_AGAIN = 60.0
MESSAGES = 50  # read at once
SWEEP = 3600.0
GRACE = 10.0


class Runner:
    """The service of the queue. `targets` may change at any time; `owner` is random text; `random()` is in 0..1."""

    _log = Logger()

    def __init__(self, store: IStore, router: IRouter, targets: Mapping[str, ITarget], bounce: IBounce,
                 clock: IReactorTime, random: Callable[[], float], owner: str, schedule: Schedule | None = None,
                 attempt_time: float = TIME, attempts: int = ATTEMPTS) -> None:
        self._store = store
        self._clock = clock
        self._most = attempts
        self._claims = Claims(store, clock, owner)
        self._commits = Commits(store, clock)
        self._attempts = Attempts(router, targets, clock, attempt_time)
        self._endings = Endings(schedule or Schedule(), bounce, random)
        self._random = random
        self._works: dict[int, LaneWork] = {}
        self._wanting: dict[int, LaneWork] = {}
        self._running = self._troubled = 0
        self._looking = self._look_again = False
        self._looked = float("-inf")
        self._timer: IDelayedCall | None = None
        self._end_watch: Callable[[], None] | None = None
        self._tasks: set[Deferred[Any]] = set()
        self._rested: Deferred[None] | None = None
        self._stopping = self._pumping = False

    @property
    def schedule(self) -> Schedule:
        """The times it goes by; a reload sets them."""
        return self._endings.schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self._endings.schedule = schedule

    @property
    def running(self) -> int:
        """Attempts in progress."""
        return self._running

    # --- start, stop, wake --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work."""
        self._end_watch = self._store.watch("lanes", self._told)
        self._look_at(self._clock.seconds())

    def stop(self, grace: float = GRACE) -> Deferred[None]:
        """Begin nothing more; fires when attempts have ended, or were cancelled after `grace` seconds."""
        return Deferred.fromCoroutine(self._stop(grace))

    async def _stop(self, grace: float) -> None:
        self._stopping = True
        if self._end_watch is not None:
            self._end_watch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for work in self._works.values():
            self._do(self._give_back(work, work.take_all()))
        self._commits.hurry()
        cancel = self._clock.callLater(grace, self._attempts.cancel)
        while self._tasks:
            self._rested = Deferred()
            await self._rested
        if cancel.active():
            cancel.cancel()
        self._claims.stop()

    def kick(self, target: str | None = None, destination: str | None = None) -> Deferred[int]:
        """Try now what waits (ETRN, `queue retry`): of a target, of a destination, or all. Fires with how many."""
        return Deferred.fromCoroutine(self._kick(Selection(target=target, destination=destination)))

    async def _kick(self, selection: Selection) -> int:
        (count,) = await self._store.commit(RetryNow(selection))
        assert isinstance(count, int)
        return count

    def _told(self) -> None:
        self._look_at(max(self._clock.seconds(), self._looked + LOOK_APART))

    def _look_at(self, when: float) -> None:
        if self._stopping:
            return
        if self._looking:
            self._look_again = True
            return
        if self._timer is not None:
            if self._timer.getTime() <= when:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._begin_look)

    def _begin_look(self) -> None:
        self._timer = None
        self._looking, self._look_again = True, False
        self._do(self._look())

    async def _look(self) -> None:
        """Ask which lanes are ready, and when to ask again."""
        now = self._looked = self._clock.seconds()
        following: float | None = None
        try:
            lanes, following = await self._store.ready(LISTED)
        except StoreError as error:
            self._log.warn("the queue cannot be read: {error}", error=error)
            lanes = ()
        self._looking = False
        for lane in [each for each in lanes if not each.target.startswith(USDS_LANES)]:
            work = self._works.setdefault(lane.id, LaneWork(lane))
            if not work.closing:
                work.lane, work.drained, work.not_before = lane, False, 0.0
                self._wanting[lane.id] = work
        if self._look_again:
            self._told()
        else:
            self._look_at(min(now + POLL, max(following or now + POLL, now + LOOK_APART)))
        self._pump()

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it; what goes wrong is logged, and `stop` waits for it."""
        task: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        task.addErrback(lambda failure: self._log.failure("the queue", failure))
        if not task.called:
            self._tasks.add(task)
            task.addCallback(lambda _: self._done(task))

    def _done(self, task: Deferred[Any]) -> None:
        self._tasks.discard(task)
        rested, self._rested = self._rested, None
        if rested is not None:
            rested.callback(None)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give lanes their turns, one attempt or one claim each, while there is room."""
        if self._pumping:
            return  # an attempt that ended at once; the loop below goes on with it
        self._pumping = True
        later: dict[int, LaneWork] = {}
        while self._wanting and self._running < self._most and not self._stopping:
            id = next(iter(self._wanting))
            work = self._wanting.pop(id)
            concurrency = self._attempts.concurrency(work.lane)
            if work.may_start(concurrency):
                if work.probing and self._troubled >= max(1, self._most // 2):
                    later[id] = work
                    continue
                self._wanting[id] = work
                self._start(work)
            elif work.may_claim(concurrency):
                if len(self._claims) >= MOST_CLAIMED:
                    later[id] = work
                    continue
                work.claiming = True
                self._do(self._claim(work))
            elif work.idle and not work.troubled:
                self._works.pop(id, None)
        self._wanting.update(later)
        self._pumping = False

    def _want(self, work: LaneWork) -> None:
        self._wanting[work.lane.id] = work
        self._pump()

    async def _claim(self, work: LaneWork) -> None:
        limit = work.limit
        try:
            claimed = await self._claims.take(work.lane.id, limit)
        except StoreError as error:
            self._log.warn("lane {lane}: nothing could be claimed: {error}", lane=work.lane.id, error=error)
            claimed = ()
        work.claiming = False
        work.drained = len(claimed) < limit
        if claimed and (self._stopping or work.not_before > self._clock.seconds()):
            await self._give_back(work, claimed)
            return
        work.add(claimed)
        self._want(work)

    def _start(self, work: LaneWork) -> None:
        message, deliveries = work.backlog.popleft()
        probing = work.probing
        work.running += 1
        self._running += 1
        self._troubled += probing
        self._do(self._attempt(work, message, deliveries, probing))

    async def _attempt(self, work: LaneWork, id: int, deliveries: list[Delivery], probing: bool) -> None:
        try:
            await self._deliver(work, id, [delivery for delivery in deliveries if self._claims.sure(delivery)])
        finally:
            self._claims.end(deliveries)
            work.running -= 1
            self._running -= 1
            self._troubled -= probing
            self._want(work)

    # --- one attempt and its end --------------------------------------------------------------------------------------

    async def _deliver(self, work: LaneWork, id: int, deliveries: list[Delivery]) -> None:
        if not deliveries:
            return
        try:
            message = self._store.messages([id]).get(id)
        except StoreError as error:
            self._log.error("message {id} cannot be read: {error}", id=id, error=error)
            await self._give_back(work, deliveries, READ_AGAIN)
            return
        if message is None:
            self._log.error("message {id} is gone, its deliveries go too", id=id)
            await self._commits.commit(*(Settle(each.id, each.fence, Verdict.DONE) for each in deliveries))
            return
        found = self._attempts.sort(message, deliveries, work.lane, self._clock.seconds())
        if found.changes:
            await self._take_away(message, found.changes, found.deposited)
        if not found.staying:
            return
        results = await self._attempts.make(message, found.staying, work.lane)
        if self._stopping:
            # What did not end well ends without a count: it may have been cut short.
            bad = [delivery for delivery, outcome in results if isinstance(outcome, TransientFailure)]
            results = [result for result in results if not isinstance(result[1], TransientFailure)]
            await self._give_back(work, bad)
        await self._finish(work, message, results)

    async def _take_away(self, message: Message, changes: list[Change], deposited: list[Delivery]) -> None:
        ending = Ending([*changes])
        reported = [(each, Delivered(final=True)) for each in deposited if "SUCCESS" in each.wishes.notify]
        if reported and message.sender:
            await self._endings.tell_delivered(ending, message, reported)
        await self._commits.settle(ending)

    async def _finish(self, work: LaneWork, message: Message, results: Sequence[Result]) -> None:
        if not results:
            return
        now = self._clock.seconds()
        fault = next((outcome for _, outcome in results if isinstance(outcome, RouteFailure)), None)
        first = results[0][1]
        down = first if all(isinstance(each, TransientFailure) and each.unreachable for _, each in results) else None
        work.reached = work.reached or (fault is None and down is None)
        change: SetLane | None = None
        name = f"{work.lane.target} {work.lane.destination}".rstrip()
        if fault is not None:
            if fault.reason != work.fault:  # once for each cause, and once after a start
                self._log.error("ALARM: {lane} is paused, nothing bounces: {reason}", lane=name, reason=fault.reason)
            change = work.pause(fault.reason, now + self.schedule.pause)
        elif isinstance(down, TransientFailure):
            if work.not_before <= now:  # once for all attempts that ran at the same time
                wait = self.schedule.wait(work.failures + 1, self._random())
                change = work.back_off(str(down.reply), now, now + wait)
        elif work.probing:
            self._log.info("{lane} works again", lane=name)
            change = work.reopen()
        sweep = down is not None and change is not None and now - work.swept >= self._sweep_apart()
        ending = await self._endings.of(message, results, work.lane, now, work.not_before if down else None)
        if change is not None and not sweep:
            ending.sure.append(change)
        closes = change is not None and work.closing
        try:
            await self._commits.settle(ending)
            if closes:
                await self._give_back(work, work.take_all())
            if change is not None and sweep:
                await self._sweep(work, first)
                await self._commits.commit(change)
        finally:
            if closes:
                work.closing = False

    def _sweep_apart(self) -> float:
        return min(SWEEP, self.schedule.delay_notice / 4, self.schedule.expire / 4)

    async def _sweep(self, work: LaneWork, result: Outcome) -> None:
        """Look through all of a lane that cannot be reached: what is late is told of, what is too old given up."""
        not_before = work.not_before
        while not self._stopping and (claimed := await self._claims.take(work.lane.id, BATCH)):
            batch = LaneWork(work.lane)
            batch.add(claimed)
            whole = Ending()
            while batch.backlog:
                some = [batch.backlog.popleft() for _ in range(min(MESSAGES, len(batch.backlog)))]
                messages = self._store.messages([id for id, _ in some])
                for id, deliveries in some:
                    if id in messages:
                        results = [(delivery, result) for delivery in deliveries]
                        now = self._clock.seconds()
                        whole.add(await self._endings.of(messages[id], results, work.lane, now, not_before))
            await self._commits.settle(whole)
            self._claims.end(claimed)

    async def _give_back(self, work: LaneWork, deliveries: Sequence[Delivery], wait: float = 0.0) -> None:
        """End claims without an attempt."""
        if deliveries:
            due, lane = self._clock.seconds() + wait, work.lane
            await self._commits.commit(
                *(Move(each.id, each.fence, lane.target, lane.destination, due) for each in deliveries))
            self._claims.end(deliveries)
