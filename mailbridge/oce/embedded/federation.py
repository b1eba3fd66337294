"""Messages for other tribes, sent on to their OCEs: queued in the store, tried until they are there or given up.

They wait in lanes of the store, like mail, but are not worked off by the queue's Runner: that one resolves routes by
mail address, reads content as mail and tells of failures by mail, and a `twist mailbridge-oce` has none. What waits
here is USDS. A message is settled only after its answer; one that was cut off in between goes out a second time with
the same MsgKey, and the other side answers that it has it. Who cannot be reached keeps waiting as a whole, doubling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.oce import codes, strictjson
from mailbridge.oce.calls import read_answer
from mailbridge.oce.embedded.deeds import TRIBE_LANE
from mailbridge.oce.embedded.sender import HEADER
from mailbridge.oce.exchange import Exchange, ExchangeError, NotTrusted
from mailbridge.oce.keys import sign
from mailbridge.oce.strictjson import BadJSON
from mailbridge.oce.underway import UnderWay
from mailbridge.oce.usds import USDSError
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.schedule import Schedule
from mailbridge.reply import Reply
from mailbridge.store.changes import Accept, Delivery, Lane, LaneState, Message, Move, SetLane, Settle, Verdict

POLL = 60.0
APART = 0.05
BATCH = 32
AT_ONCE = 8
CLAIM_SECONDS = 600.0
READ_AGAIN = 5.0
GRACE = 5.0
"""At the end an exchange under way may take so many seconds more."""
LISTED = 5000
_DISAGREE = (-1, -14)
"""INVOCE and PODEXT: the two OCEs do not know each other as their operators meant. That bounces nobody's messages."""
_PENDING = -8
_LATER = Reply(450, "4.3.0", "Waiting for an approval in the other tribe")
_UNREACHABLE = Reply(451, "4.4.1", "The other tribe cannot be reached")

Read = Callable[[Message], Awaitable[bytes]]
Tell = Callable[[Message, bytes, str, str], Awaitable[Accept | None]]
Told = Callable[[Accept], object]
"""The notice for the sender: of the message with these octets, to whom, and why not."""


@frozen
class Peering:
    """How the OCE of another tribe is reached. `secret` proves us to it; None when our certificate does."""

    exchange: Exchange
    secret: bytes | None = field(default=None, repr=False)


class Federation:
    """Works off the lanes of other tribes. `random()` is in 0..1; `owner` is random text of this process.

    `tell` makes the notice to the sender of what is given up, `told` hears that it is in the store.
    """

    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, peerings: Mapping[str, Peering], schedule: Schedule,
                 random: Callable[[], float], owner: str, read: Read, tell: Tell, told: Told) -> None:
        self._store = store
        self._clock = clock
        self._peerings = peerings
        self._schedule = schedule
        self._random = random
        self._owner = owner
        self._read = read
        self._tell = tell
        self._told = told
        self._failures: dict[int, int] = {}
        self._working: set[int] = set()
        self._tasks: set[Deferred[Any]] = set()
        self._sent = UnderWay()
        self._timer: IDelayedCall | None = None
        self._end_watch: Callable[[], None] | None = None
        self._looking = self._again = self._stopping = False

    def start(self) -> None:
        """Begin to send."""
        self._end_watch = self._store.watch("lanes", self.wake)
        self._do(self._resume())

    async def _resume(self) -> None:
        """Try at once what had been paused for tribes that are as they should be now."""
        try:
            lanes = await self._store.lanes()
            paused = [each for each in lanes if each.target == TRIBE_LANE and each.state is LaneState.PAUSED
                      and each.destination in self._peerings]
            if paused:
                await self._store.commit(*(SetLane(each.id, LaneState.OPEN) for each in paused))
        except StoreError as error:
            self._log.warn("the queue cannot be read: {error}", error=error)
        self.wake()

    def stop(self) -> Deferred[Any]:
        """Begin nothing more; fires when what is under way has ended, or was broken off after a few seconds, and the
        connections are closed."""
        self._stopping = True
        if self._end_watch is not None:
            self._end_watch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        broken_off = self._sent.ended(self._clock, GRACE)
        ended: Deferred[Any] = gatherResults([broken_off, *self._tasks], consumeErrors=True)
        return ended.addBoth(lambda _: gatherResults([each.exchange.close() for each in self._peerings.values()]))

    def wake(self) -> None:
        """Something may be there to send."""
        self._look_in(APART)

    def _look_in(self, seconds: float) -> None:
        if self._stopping:
            return
        if self._looking:
            self._again = True
            return
        if self._timer is not None:
            if self._timer.getTime() <= self._clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._looking, self._again = True, False
        self._do(self._look())

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        task.addErrback(lambda failure: self._log.failure("messages for other tribes", failure))
        if not task.called:
            self._tasks.add(task)
            task.addCallback(lambda _: self._tasks.discard(task))

    async def _look(self) -> None:
        following: float | None = None
        lanes: Sequence[Lane] = ()
        try:
            lanes, following = await self._store.ready(LISTED)
        except StoreError as error:
            self._log.warn("the queue cannot be read: {error}", error=error)
        self._looking = False
        now = self._clock.seconds()
        self._look_in(APART if self._again else min(POLL, max(APART, (following or now + POLL) - now)))
        for lane in lanes:
            if lane.target != TRIBE_LANE or lane.id in self._working:
                continue
            self._working.add(lane.id)
            self._do(self._work(lane) if lane.destination in self._peerings else self._strand(lane))

    async def _strand(self, lane: Lane) -> None:
        """A tribe that is no longer in the configuration: what waits for it waits on, with an alarm."""
        try:
            reason = "the tribe is not in the configuration"
            self._log.error("messages for {tribe} wait: {reason}", tribe=lane.destination, reason=reason)
            until = self._clock.seconds() + self._schedule.pause
            await self._store.commit(SetLane(lane.id, LaneState.PAUSED, reason, until))
        finally:
            self._working.discard(lane.id)

    async def _work(self, lane: Lane) -> None:
        """Send what waits for one tribe, until nothing more does or it cannot be reached."""
        try:
            while not self._stopping:
                claimed = await self._store.claim(self._owner, lane.id, BATCH, CLAIM_SECONDS)
                if not claimed or not await self._send(lane, claimed):
                    return
        except StoreError as error:
            self._log.warn("messages for {tribe} wait: {error}", tribe=lane.destination, error=error)
        finally:
            self._working.discard(lane.id)

    async def _send(self, lane: Lane, claimed: Sequence[Delivery]) -> bool:
        """Try a batch; False when the rest has to wait."""
        messages = self._store.messages([each.message for each in claimed])
        changes: list[object] = [Settle(each.id, each.fence, Verdict.DONE) for each in claimed
                                 if each.message not in messages]
        here = [each for each in claimed if each.message in messages]
        places = DeferredSemaphore(AT_ONCE)
        trouble: list[Outcome] = []

        def attempt(delivery: Delivery) -> Deferred[list[object]]:
            return Deferred.fromCoroutine(self._attempt(lane, delivery, messages[delivery.message], trouble))

        for ended in await gatherResults([places.run(attempt, each) for each in here], consumeErrors=True):
            changes += ended
        changes += self._lane_changes(lane, trouble)
        await self._store.commit(*changes)
        for change in changes:
            if isinstance(change, Accept):
                self._told(change)
        return not trouble

    def _lane_changes(self, lane: Lane, trouble: list[Outcome]) -> list[object]:
        now = self._clock.seconds()
        if not trouble:
            self._failures.pop(lane.id, None)
            return [SetLane(lane.id, LaneState.OPEN)] if lane.reason or lane.state is not LaneState.OPEN else []
        worst = next((each for each in trouble if isinstance(each, RouteFailure)), trouble[0])
        if isinstance(worst, RouteFailure):
            self._log.error("messages for {tribe} wait: {reason}", tribe=lane.destination, reason=worst.reason)
            return [SetLane(lane.id, LaneState.PAUSED, worst.reason, now + self._schedule.pause)]
        failures = self._failures[lane.id] = self._failures.get(lane.id, 0) + 1
        reason = getattr(worst, "detail", "")
        return [SetLane(lane.id, LaneState.OPEN, reason, now + self._schedule.wait(failures, self._random()))]

    async def _attempt(self, lane: Lane, delivery: Delivery, message: Message,
                       trouble: list[Outcome]) -> list[object]:
        """Send one message; the changes that end its claim."""
        now = self._clock.seconds()
        back: list[object] = [Move(delivery.id, delivery.fence, lane.target, lane.destination, message.received)]
        if self._stopping or (trouble and not self._schedule.expired(now, message.received)):
            return back
        try:
            octets = await self._read(message)
        except StoreError as error:  # its segment was cleaned up meanwhile, say; the others are not to wait for it
            self._log.warn("message {id} is read again: {error}", id=message.queue_id, error=error)
            return [Move(delivery.id, delivery.fence, lane.target, lane.destination, now + READ_AGAIN)]
        try:
            outcome = await self._push(self._peerings[lane.destination], octets, delivery)
        except CancelledError:  # the other side has it or not; it knows the key
            return back
        if isinstance(outcome, Delivered):
            return [Settle(delivery.id, delivery.fence, Verdict.DONE)]
        if isinstance(outcome, RouteFailure) or (isinstance(outcome, TransientFailure) and outcome.unreachable):
            trouble.append(outcome)
        said = outcome.reason if isinstance(outcome, RouteFailure) else outcome.detail
        again = not isinstance(outcome, PermanentFailure) and not self._schedule.expired(now, message.received)
        if isinstance(outcome, RouteFailure) or (again and outcome in trouble):
            return [Settle(delivery.id, delivery.fence, Verdict.AGAIN, message.received, said)]
        if again:
            due = self._schedule.again(now, message.received, delivery.attempts + 1, self._random())
            return [Settle(delivery.id, delivery.fence, Verdict.AGAIN, due, said)]
        notice = await self._tell(message, octets, delivery.recipient, said)
        done = Settle(delivery.id, delivery.fence, Verdict.DONE, answer=said)
        return [done] if notice is None else [done, notice]

    async def _push(self, peering: Peering, octets: bytes, delivery: Delivery) -> Outcome:
        headers = {}
        if peering.secret is not None:
            headers[HEADER] = sign(peering.secret, self._clock.seconds(), octets)
        try:
            answer = read_answer(strictjson.read(await self._sent.add(peering.exchange.exchange(octets, headers))))
        except NotTrusted as error:
            return RouteFailure(str(error))
        except ExchangeError as error:
            return TransientFailure(_UNREACHABLE, str(error), unreachable=True)
        except (BadJSON, USDSError) as error:
            return TransientFailure(_UNREACHABLE, f"the other OCE answered nonsense: {error}", unreachable=True)
        # Keys are compared among ours only, so one that is known there is a message that was sent before.
        if codes.is_strange(answer.num, delivery.fence > 1 or delivery.attempts > 0):
            self._log.warn("the OCE of another tribe had message {id} before it was sent", id=delivery.message)
        said = codes.text(answer.num, answer.id) + (f" ({answer.words})" if answer.words else "")
        if answer.num in _DISAGREE:
            return RouteFailure(said)
        if answer.num == _PENDING:  # the application of one member: no reason to stop the others
            return TransientFailure(_LATER, said)
        return codes.outcome(answer.num, answer.id, answer.words, "", resend=True)
