"""One attempt: where does this mail go by now, and what does the target say of each recipient.

The route is resolved anew each time, so that changed routes and relays apply to what waits; but what an application
took goes to applications only, whatever becomes of that one. Whatever a target does, raise, hang or answer nonsense,
there is an outcome for each delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as OutOfTime
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailbridge.interfaces import IRouter, ITarget
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.ending import Result
from mailbridge.queue.origin import address_of, origin_of
from mailbridge.queue.verdict import Trouble, Way, judge
from mailbridge.received import maildrop_size
from mailbridge.reply import Reply
from mailbridge.routing.route import APPLICATION, MAILDROP, Resolution, Route
from mailbridge.store.changes import Change, Delivery, Deposit, Lane, Message, Move

TIME = 3600.0  # seconds for one attempt; a target has its own, shorter limits
_NO_ANSWER = judge(Trouble.OWN_FAULT, "no answer for this recipient", Way.MX)
_KINDS = (Delivered, TransientFailure, PermanentFailure, RouteFailure)


@define
class Sorted:
    """Deliveries of one message by what their routes say now: still this lane's, or `changes` that take them away.

    `deposited` are those that go into a maildrop.
    """

    staying: list[Delivery] = field(factory=list)
    changes: list[Change] = field(factory=list)
    deposited: list[Delivery] = field(factory=list)


class Attempts:
    """Makes attempts at `targets`, which may change at any time. `cancel` ends those that run."""

    _log = Logger()

    def __init__(self, router: IRouter, targets: Mapping[str, ITarget], clock: IReactorTime,
                 time: float = TIME) -> None:
        self._router = router
        self._targets = targets
        self._clock = clock
        self._time = time
        self._running: set[Deferred[dict[int, Outcome]]] = set()

    def concurrency(self, lane: Lane) -> int:
        """How many attempts may run at once in a lane, at least one."""
        target = self._targets.get(lane.target)
        try:
            return max(1, int(target.concurrency(lane))) if target is not None else 1
        except Exception:
            self._log.failure("{target}: no concurrency", target=lane.target)
            return 1

    def sort(self, message: Message, deliveries: Sequence[Delivery], lane: Lane, now: float) -> Sorted:
        """Follow the routes as they are now."""
        origin, sender = origin_of(message), address_of(message.sender)
        found = Sorted()
        for delivery in deliveries:
            routes: Resolution = ()
            recipient = address_of(delivery.recipient)
            pinned = delivery.pinned and lane.target in self._targets
            if sender is not None and recipient is not None and not pinned:
                try:
                    routes = self._router.route(recipient, sender, origin)
                except Exception:
                    self._log.failure("{id}: no route for {recipient}", id=message.queue_id,
                                      recipient=delivery.recipient)
            self._follow(found, message, delivery, lane, routes, now)
        return found

    def _follow(self, found: Sorted, message: Message, delivery: Delivery, lane: Lane, routes: Resolution,
                now: float) -> None:
        # A refusal now does not take back what was accepted. Of several routes, this lane is one: the others were
        # given deliveries of their own when the message came.
        if isinstance(routes, Reply) or not routes or any(_same(route, lane) for route in routes):
            found.staying.append(delivery)
            return
        # A text for a phone must not leave by the default relay while its application is switched off.
        if _is_application(lane.target) and not any(_is_application(route.target) for route in routes):
            found.staying.append(delivery)
            return
        onward = [route for route in routes if route.target != MAILDROP]
        if onward:
            found.changes.append(Move(delivery.id, delivery.fence, onward[0].target, onward[0].destination, now))
            return
        sender = address_of(message.sender)
        users = [route.user for route in routes if route.user is not None]
        if not users or sender is None:
            found.staying.append(delivery)
            return
        size = maildrop_size(sender, message.content)
        found.changes += [Deposit(delivery.id, delivery.fence, user, size) for user in users]
        found.deposited.append(delivery)

    async def make(self, message: Message, deliveries: Sequence[Delivery], lane: Lane) -> list[Result]:
        """Ask the target; an outcome for each delivery."""
        target = self._targets.get(lane.target)
        if target is None:
            missing = judge(Trouble.NO_TARGET, f"{lane.target} is not in the configuration", Way.SMART_HOST)
            return [(delivery, missing) for delivery in deliveries]
        running: Deferred[dict[int, Outcome]] = maybeDeferred(target.attempt, message, tuple(deliveries), lane)
        running.addTimeout(self._time, self._clock)
        self._running.add(running)
        rest: Outcome = _NO_ANSWER
        outcomes: object = None
        try:
            outcomes = await running
        except OutOfTime:
            rest = judge(Trouble.TIME, f"more than {self._time:g} seconds", Way.MX)
        except CancelledError:
            rest = judge(Trouble.STOPPED, "", Way.MX)
        except Exception as error:
            # Its text could hold a secret; the log has the traceback.
            self._log.failure("{id}: {target} failed", id=message.queue_id, target=lane.target)
            rest = judge(Trouble.OWN_FAULT, type(error).__name__, Way.MX)
        finally:
            self._running.discard(running)
        said = outcomes if isinstance(outcomes, dict) else {}
        found = ((delivery, said.get(delivery.id)) for delivery in deliveries)
        return [(delivery, outcome if isinstance(outcome, _KINDS) else rest) for delivery, outcome in found]

    def cancel(self) -> None:
        """End all that run, now."""
        for running in tuple(self._running):
            running.cancel()


def _is_application(target: str) -> bool:
    return target.startswith(APPLICATION)


def _same(route: Route, lane: Lane) -> bool:
    return (route.target, route.destination) == (lane.target, lane.destination)
