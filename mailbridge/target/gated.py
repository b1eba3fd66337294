"""A target that works only while there is a connection: what it cannot deliver waits, and no time is lost on trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailbridge.interfaces import ITarget
from mailbridge.outcome import Outcome, TransientFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Delivery, Lane, Message

_WAITS = Reply(451, "4.4.1", "waits for the connection to the provider")


@implementer(ITarget)
class Gated:
    """`target` while `is_open()`; else its lanes wait as those of a server that cannot be reached."""

    def __init__(self, target: ITarget, is_open: Callable[[], bool]) -> None:
        self.name: str = target.name
        self._target = target
        self._is_open = is_open

    def concurrency(self, lane: Lane) -> int:
        """See ITarget."""
        return self._target.concurrency(lane)

    def attempt(
        self, message: Message, deliveries: Sequence[Delivery], lane: Lane
    ) -> Deferred[dict[int, Outcome]]:
        """See ITarget."""
        if self._is_open():
            return self._target.attempt(message, deliveries, lane)
        return succeed({delivery.id: TransientFailure(_WAITS, unreachable=True) for delivery in deliveries})
