"""Jobs of deliveries, given to a program: the number of a job is kept, so that a repeat after a crash has the same."""

from __future__ import annotations

from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, TransientFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Remember
from mailbridge.target.jobnumbers import JobNumbers
from mailbridge.target.jobtask import JobTask
from mailbridge.target.jobwork import Answer, Kind, Run
from mailbridge.target.publishing import outcome_of
from mailbridge.target.workerlink import Link


class Running:
    """Runs the program of one application through the worker `link`."""

    _log = Logger()

    def __init__(self, application: str, link: Link, store: IStore, numbers: JobNumbers) -> None:
        self._application = application
        self._link = link
        self._store = store
        self._numbers = numbers

    async def deliver(self, task: JobTask) -> Outcome:
        """Give the job of one delivery to the program. Raises StoreError and WorkerLost."""
        key = f"staged:{self._application}:{task.delivery.id}"
        late = task.admission.too_old()
        if late is not None:
            return await self._given_up(late, key, task)
        kept = self._store.recall(key) if task.delivery.fence > 1 else None
        if kept is not None:
            number = int(kept)
        else:
            refused = task.admission.admit()
            if refused is not None:
                return refused
            number = await self._numbers.take()
            await self._store.commit(Remember(key, str(number)), *task.admission.counted())
        answer = await self._link.ask(Run(number, task.mail, task.message.queue_id, task.now), task.content)
        outcome = self._outcome(answer, task)
        if isinstance(outcome, Delivered):
            return Delivered(outcome.detail, changes=(Remember(key, None),))
        if isinstance(outcome, PermanentFailure):
            return await self._given_up(outcome, key, task)
        return outcome

    async def _given_up(self, outcome: PermanentFailure, key: str, task: JobTask) -> PermanentFailure:
        """The outcome, when the number is forgotten."""
        try:
            await self._store.commit(Remember(key, None))
        except StoreError as error:
            self._log.warn("{id}: a number of a job stays in the store: {error}", id=task.message.queue_id, error=error)
        return outcome

    def _outcome(self, answer: Answer, task: JobTask) -> Outcome:
        if answer.kind is not Kind.RAN:
            return outcome_of(answer, self._application)
        body = answer.body
        for warning in body["warnings"]:
            self._log.warn("{id}: {name}: {words}", id=task.message.queue_id, name=self._application,
                           words=warning)
        if "reply" not in body:
            return Delivered(body["detail"])
        reply = Reply(*body["reply"])
        return (PermanentFailure if reply.is_permanent else TransientFailure)(reply, body["detail"])
