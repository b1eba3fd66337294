"""Jobs of deliveries, published in stages so that a crash neither loses one nor repeats one that was consumed.

==================  ==========================================  ====================================================
stage               what there is                               what a crash leaves, and who cleans up
==================  ==========================================  ====================================================
number taken        nothing                                     a number that is never used
written             data files and `.writing`, synced           files without a word in the store: the sweep of the
                                                                next start removes them, the delivery is made anew
staged              the same, and `staged:APP:DELIVERY` in the  the next attempt finds `.writing` and publishes it
                    store
published           the control file, or nothing any more if    the next attempt finds no `.writing`: published,
                    the reader was quick                        nothing is written again
settled             neither delivery nor `staged:` (one commit) nothing to do
==================  ==========================================  ====================================================

A folder that is not the one in which a job was staged (a disk that is not mounted, a new one) cannot say whether the
job was published: it is written there once more, with the same number.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.errors import MailbridgeError, StoreError
from mailbridge.interfaces import IStore
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Delivery, Remember, Selection
from mailbridge.target.jobnumbers import JobNumbers
from mailbridge.target.jobtask import JobTask
from mailbridge.target.jobwork import Answer, Kind, Prepare, Publish, Remove, Sweep
from mailbridge.target.workerlink import Link

_PAGE = 1000
_TRIES = 20
"""Names that may be taken before a job waits: after a restore of the store its numbers begin again below used ones."""


class NotNow(MailbridgeError):
    """A stage failed; `outcome` says how."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(repr(outcome))


def outcome_of(answer: Answer, application: str) -> Outcome:
    """The outcome of a request that was not done."""
    body = answer.body
    if answer.kind is Kind.REFUSED:
        return PermanentFailure(Reply(*body))
    if answer.kind is Kind.FAULT:
        return RouteFailure(str(body))
    if answer.kind is Kind.TAKEN:
        return RouteFailure(f"{body} lies in the folder of {application} and is none of its jobs: move it away")
    if answer.kind is Kind.UNREACHABLE:
        return TransientFailure(Reply(451, "4.3.0", str(body)), unreachable=True)
    return TransientFailure(Reply(451, "4.3.0", "a fault on this side"), str(body))


@frozen
class Staged:
    """A job that was written: its number, its control file, the folder's identity, its line for the accounts."""

    number: int
    control: str
    identity: int
    line: str = ""

    @property
    def text(self) -> str:
        """As the store keeps it."""
        return json.dumps([self.number, self.control, self.identity, self.line])

    @classmethod
    def of(cls, text: str) -> Staged:
        """Read back."""
        return cls(*json.loads(text))


class Publishing:
    """Publishes for one application through the worker `link`.

    `held` are the numbers between writing and staging, shared with the one that this one follows. `published(task,
    number, control)` gives more changes to commit with the end of a delivery.
    """

    _log = Logger()

    def __init__(self, application: str, link: Link, store: IStore, numbers: JobNumbers, held: set[int],
                 published: Callable[[JobTask, int, str], tuple[Remember, ...]]) -> None:
        self._application = application
        self._link = link
        self._store = store
        self._numbers = numbers
        self._held = held
        self._published = published
        self._swept = False
        self._waiting: list[Deferred[None]] = []

    async def deliver(self, task: JobTask) -> Outcome:
        """Publish the job of one delivery. Raises StoreError and WorkerLost."""
        try:
            staged = self._known(task.delivery)
            refused = task.admission.too_old() if staged is None else None
            if refused is not None:
                return refused
            await self._ready()
            staged = staged or await self._stage(task)
            answer = await self._link.ask(Publish(staged.control, staged.identity, staged.line))
            if answer.kind is Kind.ELSEWHERE:
                staged = await self._stage(task, staged.number)
                answer = await self._link.ask(Publish(staged.control, staged.identity, staged.line))
        except NotNow as failed:
            return failed.outcome
        if answer.kind is not Kind.DONE:
            return outcome_of(answer, self._application)
        return Delivered(staged.control, changes=(
            Remember(self._key(task.delivery.id), None), *self._published(task, staged.number, staged.control)))

    def _key(self, delivery: int) -> str:
        return f"staged:{self._application}:{delivery}"

    def _known(self, delivery: Delivery) -> Staged | None:
        """What an earlier attempt has staged. The first claim of a delivery has fence 1: nothing was tried before."""
        text = self._store.recall(self._key(delivery.id)) if delivery.fence > 1 else None
        return Staged.of(text) if text is not None else None

    async def _stage(self, task: JobTask, number: int | None = None) -> Staged:
        """Write a job and say so in the store."""
        if number is None:
            refused = task.admission.admit()
            if refused is not None:
                raise NotNow(refused)
        for _ in range(_TRIES):
            number = number or await self._numbers.take()
            self._held.add(number)
            try:
                answer = await self._link.ask(
                    Prepare(number, task.mail, task.message.queue_id, task.now), task.content)
                if answer.kind is Kind.DONE:
                    return await self._staged(task, number, answer.body)
            finally:
                self._held.discard(number)
            if answer.kind is not Kind.TAKEN:
                raise NotNow(outcome_of(answer, self._application))
            self._log.warn("application {name}: {file} is there already, though job {number} is new: was the store "
                           "restored?", name=self._application, file=answer.body, number=number)
            number = None
        raise NotNow(TransientFailure(Reply(451, "4.3.0", "names of jobs are taken"), str(answer.body)))

    async def _staged(self, task: JobTask, number: int, body: dict[str, object]) -> Staged:
        for warning in body["warnings"]:  # type: ignore[attr-defined]
            self._log.warn("{id}: {file}: {words}", id=task.message.queue_id, file=body["control"], words=warning)
        staged = Staged(number, str(body["control"]), int(str(body["identity"])), str(body["line"]))
        key = self._key(task.delivery.id)
        try:
            await self._store.commit(Remember(key, staged.text), *task.admission.counted())
        except StoreError:
            # Its fate is unknown: what the store says now decides whether the files are a job.
            if self._store.recall(key) != staged.text:
                await self._link.ask(Remove(tuple(body["names"])))  # type: ignore[arg-type]
                raise
        return staged

    # --- after a start ------------------------------------------------------------------------------------------------

    async def _ready(self) -> None:
        """Remove what a crash left, once. Raises NotNow, StoreError and WorkerLost."""
        if self._swept:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._sweep()).addBoth(self._ended)
        await waiting

    def _ended(self, result: Failure | None) -> None:
        waiting, self._waiting = self._waiting, []
        self._swept = result is None
        for each in waiting:
            if not each.called:
                each.callback(result)

    async def _sweep(self) -> None:
        below = await self._numbers.following()
        kept = set(self._held)  # before the store is read: what is staged meanwhile is in one of the two
        prefix = self._key(0)[:-1]
        after = ""
        while page := await self._store.remembered(prefix, after, _PAGE):
            after = max(page)
            for key, text in page.items():
                delivery = int(key.removeprefix(prefix))
                waiting = await self._store.queue(Selection(), delivery - 1, 1)
                if waiting and waiting[0].delivery == delivery:
                    kept.add(Staged.of(text).number)
                else:  # an operator has taken it out of the queue
                    await self._store.commit(Remember(key, None))
        answer = await self._link.ask(Sweep(below, frozenset(kept | self._held)))
        if answer.kind is not Kind.DONE:
            raise NotNow(outcome_of(answer, self._application))
        if answer.body:
            self._log.info("application {name}: {count} files of jobs that were not finished are removed",
                           name=self._application, count=len(answer.body))
