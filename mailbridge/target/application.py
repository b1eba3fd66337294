"""An application as a target: mail becomes jobs for another program, in a folder that it polls or by running it.

Promises: a job is published once, also over a crash (`target.publishing`), and an outcome is given for each recipient.
What is hard work or may block happens in the worker process of the application (`target.jobworker`); at most
`OCTETS_AT_ONCE` of content are on their way there. Never decides when to try again: that is the queue's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from mailbridge.application.claim import Claim
from mailbridge.application.job import Mail
from mailbridge.errors import StoreError
from mailbridge.interfaces import IBounce, IStore, ITarget
from mailbridge.limits import MIB
from mailbridge.outcome import Outcome, TransientFailure
from mailbridge.queue.origin import address_of
from mailbridge.queue.verdict import Trouble, Way, judge
from mailbridge.reply import Reply
from mailbridge.routing.route import APPLICATION
from mailbridge.store.changes import Delivery, Lane, Message, Remember
from mailbridge.target.daily import DailyCount
from mailbridge.target.jobnumbers import JobNumbers
from mailbridge.target.jobtask import Admission, JobTask
from mailbridge.target.jobwork import Assignment, Converts, Kind, Lying
from mailbridge.target.octets import OctetsAtOnce, whole
from mailbridge.target.outlet import CommandOutlet, Outlet
from mailbridge.target.pickup import PickupWatch
from mailbridge.target.publishing import Publishing
from mailbridge.target.running import Running
from mailbridge.target.workerlink import PATIENCE, Launch, Link, WorkerLink, WorkerLost

ATTEMPTS = 200
"""Messages in work at once: as many share a sync and a commit."""
OCTETS_AT_ONCE = 64 * MIB
LARGE = 64 * 1024
"""From this size on the recipients of a message are served one after the other."""


@frozen
class ApplicationPlan:
    """How one application works. `expiry`, `pickup` in seconds, `daily_limit` in jobs; None: no limit, no watch.

    `accounting` is a file of JSON lines; `nice`, 0 to 19, lowers the priority of the worker.
    """

    name: str
    claim: Claim
    recipe: Converts
    outlet: Outlet
    expiry: float | None = None
    daily_limit: int | None = None
    pickup: float | None = None
    accounting: Path | None = None
    nice: int = 0

    @property
    def assignment(self) -> Assignment:
        """What the worker is told."""
        return Assignment(self.name, self.recipe, self.outlet, self.accounting, self.nice)


@define(eq=False)
class _Crew:
    """A worker and what works through it; `users` are the attempts that do."""

    assignment: Assignment
    link: Link
    outlet: Publishing | Running
    users: int = 0
    retired: bool = False


@implementer(ITarget)
class ApplicationTarget:
    """One `[application.NAME]`. `numbers` are shared by all; `launch` starts a worker."""

    _log = Logger()

    def __init__(self, plan: ApplicationPlan, reactor: Any, store: IStore, numbers: JobNumbers, bounce: IBounce,
                 launch: Launch | None = None) -> None:
        self.name = APPLICATION + plan.name
        self.plan = plan
        self._reactor = reactor
        self._store = store
        self._numbers = numbers
        self._launch = launch or self._launch_process
        self._daily = DailyCount(plan.name, store)
        self._octets = OctetsAtOnce(OCTETS_AT_ONCE)
        self._pickup = PickupWatch(plan.name, reactor, store, bounce, self._lying)
        self._held: set[int] = set()
        self._crew: _Crew | None = None
        self._ending: list[Deferred[None]] = []
        self._attempts: set[Deferred[dict[int, Outcome]]] = set()

    def start(self) -> None:
        """Begin to watch whether published jobs are picked up."""
        self._pickup.start()

    def concurrency(self, lane: Lane) -> int:
        """See ITarget."""
        outlet = self.plan.outlet
        return outlet.concurrency if isinstance(outlet, CommandOutlet) else ATTEMPTS

    def follow(self, plan: ApplicationPlan) -> None:
        """Work by another plan of the same name: attempts that run go on to their end by the old one."""
        self.plan = plan
        if self._crew is not None and self._crew.assignment != plan.assignment:
            self._retire()

    def retire(self) -> Deferred[Any]:
        """The application is gone: attempts go on to their end. Fires when the worker has ended."""
        self._pickup.stop()
        self._retire()
        return DeferredList(self._ending)

    def close(self) -> Deferred[Any]:
        """End all attempts; fires when the worker has ended."""
        for attempt in list(self._attempts):
            attempt.cancel()
        return self.retire()

    # --- the worker ---------------------------------------------------------------------------------------------------

    def _launch_process(self, assignment: Assignment) -> Link:
        patience = PATIENCE
        if isinstance(assignment.outlet, CommandOutlet):
            patience += assignment.outlet.timeout
        return WorkerLink(self._reactor, assignment, patience)

    def _working(self) -> _Crew:
        """The worker that is there, or another."""
        if self._crew is not None and self._crew.link.lost:
            self._retire()
        if self._crew is None:
            assignment = self.plan.assignment
            link = self._launch(assignment)
            outlet: Publishing | Running
            if isinstance(assignment.outlet, CommandOutlet):
                outlet = Running(self.plan.name, link, self._store, self._numbers)
            else:
                outlet = Publishing(self.plan.name, link, self._store, self._numbers, self._held, self._published)
            self._crew = _Crew(assignment, link, outlet)
        return self._crew

    def _retire(self) -> None:
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.retired = True
            if not crew.users:
                self._dismiss(crew)

    def _dismiss(self, crew: _Crew) -> None:
        ended = crew.link.close()
        if not ended.called:
            self._ending.append(ended)
            ended.addBoth(lambda _: self._ending.remove(ended))

    def _leave(self, crew: _Crew) -> None:
        crew.users -= 1
        if crew.retired and not crew.users:
            self._dismiss(crew)

    async def _lying_there(self, names: Sequence[str]) -> list[str]:
        crew = self._working()
        crew.users += 1
        try:
            answer = await crew.link.ask(Lying(tuple(names)))
        finally:
            self._leave(crew)
        if answer.kind is not Kind.DONE:
            raise StoreError(str(answer.body))
        return list(answer.body)

    def _lying(self, names: Sequence[str]) -> Deferred[list[str]]:
        return Deferred.fromCoroutine(self._lying_there(names))

    def _published(self, task: JobTask, number: int, control: str) -> tuple[Remember, ...]:
        within = self.plan.pickup
        return self._pickup.watch(task, number, control, within) if within is not None else ()

    # --- attempts -----------------------------------------------------------------------------------------------------

    def attempt(
        self, message: Message, deliveries: Sequence[Delivery], lane: Lane
    ) -> Deferred[dict[int, Outcome]]:
        """See ITarget. Cancelling leaves what is staged for the next attempt."""
        attempt = Deferred.fromCoroutine(self._attempt(message, deliveries))
        if not attempt.called:
            self._attempts.add(attempt)
            attempt.addBoth(self._ended, attempt)
        return attempt

    def _ended(self, result: Any, attempt: Deferred[dict[int, Outcome]]) -> Any:
        self._attempts.discard(attempt)
        return result

    async def _attempt(self, message: Message, deliveries: Sequence[Delivery]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        rest: Outcome = judge(Trouble.OWN_FAULT, "", Way.SMART_HOST)
        size = message.content.size
        crew: _Crew | None = None
        entered = False
        try:
            waiting = self._octets.enter(size)
            if waiting is not None:
                await waiting
            entered = True
            content = await whole(self._store, message.content, self._reactor)
            crew = self._working()
            crew.users += 1
            if len(deliveries) == 1 or size >= LARGE:
                for delivery in deliveries:
                    await self._deliver(crew, message, delivery, content, outcomes)
            else:
                await gatherResults([
                    Deferred.fromCoroutine(self._deliver(crew, message, delivery, content, outcomes))
                    for delivery in deliveries
                ], consumeErrors=True)
        except CancelledError:
            rest = judge(Trouble.STOPPED, "", Way.SMART_HOST)
        except StoreError as error:
            rest = judge(Trouble.STORE, str(error), Way.SMART_HOST)
        except Exception:
            self._log.failure("{name}: a fault with {id}", name=self.name, id=message.queue_id)
        finally:
            if entered:
                self._octets.leave(size)
            if crew is not None:
                self._leave(crew)
        for delivery in deliveries:
            outcomes.setdefault(delivery.id, rest)
        return outcomes

    async def _deliver(self, crew: _Crew, message: Message, delivery: Delivery, content: tuple[bytes, ...],
                       outcomes: dict[int, Outcome]) -> None:
        """One recipient."""
        plan, now = self.plan, self._reactor.seconds()
        sender, recipient = address_of(message.sender), address_of(delivery.recipient)
        groups = plan.claim.groups(recipient) if recipient is not None else None
        if sender is None or recipient is None or groups is None:
            outcomes[delivery.id] = TransientFailure(
                Reply(451, "4.3.5", f"{plan.name} no longer knows what to do with this recipient"))
            return
        mail = Mail(sender, recipient, groups, b"", message.received)
        admission = Admission(plan.name, message, now, self._daily, plan.expiry, plan.daily_limit)
        task = JobTask(message, delivery, mail, content, now, admission)
        try:
            outcomes[delivery.id] = await crew.outlet.deliver(task)
        except WorkerLost as error:
            outcomes[delivery.id] = TransientFailure(Reply(451, "4.3.0", "a fault on this side"), str(error))
        except StoreError as error:
            outcomes[delivery.id] = judge(Trouble.STORE, str(error), Way.SMART_HOST)
        except CancelledError:
            outcomes[delivery.id] = judge(Trouble.STOPPED, "", Way.SMART_HOST)
        except Exception:
            self._log.failure("{name}: a fault with {id}", name=self.name, id=message.queue_id)
        finally:
            admission.end()
