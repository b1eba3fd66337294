"""What becomes of deliveries after an attempt: the changes to commit, and who is told of it in the same commit.

Delivered and failed for good: gone. Failed for now: again at the schedule's time, until the message's time is over. A
fault of our own side: back without a word. The null sender never gets a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.logger import Logger

from mailbridge.interfaces import IBounce
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.schedule import Schedule
from mailbridge.store.changes import Change, Delivery, Lane, Message, Move, Settle, Verdict

Result = tuple[Delivery, Outcome]
Due = Callable[[Delivery], float]


@define
class Ending:
    """`sure` is to be committed in any case, `told` together with its notice; `untold` stands for it if that fails."""

    sure: list[object] = field(factory=list)
    told: list[object] = field(factory=list)
    untold: list[object] = field(factory=list)

    def add(self, other: Ending) -> None:
        """Make it the ending of both."""
        self.sure += other.sure
        self.told += other.told
        self.untold += other.untold


class Endings:
    """Makes an Ending of the results for one message. `random()` is between 0 and 1."""

    _log = Logger()

    def __init__(self, schedule: Schedule, bounce: IBounce, random: Callable[[], float]) -> None:
        self.schedule = schedule
        self._bounce = bounce
        self._random = random

    async def of(self, message: Message, results: Sequence[Result], lane: Lane, now: float,
                 not_before: float | None = None) -> Ending:
        """What to commit. With `not_before` what failed for now waits for that time, as its whole lane does."""
        jitter = self._random()  # one for all, so that recipients of a message stay together in one transaction

        def due(delivery: Delivery) -> float:
            if not_before is not None:
                return not_before
            return self.schedule.again(now, message.received, delivery.attempts + 1, jitter)

        ending = Ending()
        failed: list[Result] = []
        late: list[Result] = []
        reported: list[tuple[Delivery, Delivered]] = []
        for delivery, outcome in results:
            if isinstance(outcome, RouteFailure):
                ending.sure.append(Move(delivery.id, delivery.fence, lane.target, lane.destination, now))
            elif isinstance(outcome, Delivered):
                ending.sure.append(Settle(delivery.id, delivery.fence, Verdict.DONE))
                ending.sure += outcome.changes
                if "SUCCESS" in delivery.wishes.notify:
                    reported.append((delivery, outcome))
            elif isinstance(outcome, PermanentFailure) or self._over(message, delivery, now):
                failed.append((delivery, outcome))
            elif self.schedule.delayed(now, message.received, delivery.noticed):
                late.append((delivery, outcome))
            else:
                ending.sure.append(self._again(delivery, outcome, due))
        await self._tell_failed(ending, message, failed, due)
        await self._tell_late(ending, message, late, due)
        if reported and message.sender:
            await self.tell_delivered(ending, message, reported)
        return ending

    def _over(self, message: Message, delivery: Delivery, now: float) -> bool:
        # A message that waited all its time for a paused route is tried twice before it is given up.
        return delivery.attempts > 0 and self.schedule.expired(now, message.received)

    def _again(self, delivery: Delivery, outcome: Outcome, due: Due, noticed: bool = False) -> Settle:
        return Settle(delivery.id, delivery.fence, Verdict.AGAIN, due(delivery), _words(outcome), noticed)

    async def _tell_failed(self, ending: Ending, message: Message, failed: list[Result], due: Due) -> None:
        if not failed:
            return
        again: list[Change] = [self._again(*result, due) for result in failed]
        for delivery, outcome in failed:
            self._log.info("{id}: given up for <{recipient}>: {words}", id=message.queue_id,
                           recipient=delivery.recipient, words=_words(outcome))
        done: list[Change] = [Settle(delivery.id, delivery.fence, Verdict.DONE, 0.0, _words(outcome))
                              for delivery, outcome in failed]
        try:
            notice = await self._bounce.failed(message, failed) if message.sender else None
        except Exception:
            # Whatever went wrong there must not keep a delivery from being settled.
            self._log.failure("{id}: the bounce could not be written", id=message.queue_id)
            ending.sure += again
            return
        if notice is None:
            ending.sure += done
        else:
            ending.told += [*done, notice]
            ending.untold += again

    async def _tell_late(self, ending: Ending, message: Message, late: list[Result], due: Due) -> None:
        if not late:
            return
        again: list[Change] = [self._again(*result, due) for result in late]
        noticed: list[Change] = [self._again(*result, due, True) for result in late]
        try:
            notice = await self._bounce.delayed(message, late) if message.sender else None
        except Exception:
            # Whatever went wrong there must not keep a delivery from being settled.
            self._log.failure("{id}: the notice could not be written", id=message.queue_id)
            ending.sure += again
            return
        if notice is None:
            ending.sure += noticed
        else:
            ending.told += [*noticed, notice]
            ending.untold += again

    async def tell_delivered(self, ending: Ending, message: Message,
                             reported: Sequence[tuple[Delivery, Delivered]]) -> None:
        """Add the notice of success. Without it the deliveries are over all the same."""
        try:
            notice = await self._bounce.delivered(message, reported)
        except Exception:
            # Whatever went wrong there must not keep a delivery from being settled.
            self._log.failure("{id}: the notice could not be written", id=message.queue_id)
            return
        if notice is not None:
            ending.told.append(notice)


def _words(outcome: Outcome) -> str:
    if isinstance(outcome, TransientFailure | PermanentFailure):
        return " - ".join(part for part in (str(outcome.reply), outcome.detail) if part)
    return ""
