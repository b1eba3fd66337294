"""A target whose attempts are told in a journal: one line for each recipient, with the file or reply it ended with.

Only where a log is set up is a target put into this; without one nothing stands between the queue and its targets.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailbridge.interfaces import ITarget
from mailbridge.logs.journal import Journal
from mailbridge.outcome import Delivered, Outcome, RouteFailure, TransientFailure
from mailbridge.store.changes import Delivery, Lane, Message


@implementer(ITarget)
class Journalled:
    """`target` with its outcomes told: I for what was delivered, W for what was not."""

    def __init__(self, target: ITarget, journal: Journal) -> None:
        self.name: str = target.name
        self._target = target
        self._journal = journal

    def concurrency(self, lane: Lane) -> int:
        """See ITarget."""
        return self._target.concurrency(lane)

    def attempt(
        self, message: Message, deliveries: Sequence[Delivery], lane: Lane
    ) -> Deferred[dict[int, Outcome]]:
        """See ITarget."""
        return self._target.attempt(message, deliveries, lane).addCallback(self._tell, message, deliveries)

    def _tell(
        self, outcomes: dict[int, Outcome], message: Message, deliveries: Sequence[Delivery]
    ) -> dict[int, Outcome]:
        for delivery in deliveries:
            outcome = outcomes.get(delivery.id)
            if outcome is not None:
                letter, text = _line(outcome)
                self._journal.note(letter, f"{message.queue_id}: {self.name} <{delivery.recipient}>: {text}")
        return outcomes


def _line(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Delivered):
        server = f" by {outcome.server}" if outcome.server else ""
        return "I", f"delivered{server}: {outcome.detail}" if outcome.detail else f"delivered{server}"
    if isinstance(outcome, RouteFailure):
        return "W", f"waits: {outcome.reason}"
    what = "not delivered for now" if isinstance(outcome, TransientFailure) else "not delivered"
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return "W", f"{what}: {outcome.reply}{detail}"
