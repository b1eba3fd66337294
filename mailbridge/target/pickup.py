"""The pick-up watch: the sender hears, once, that a published job still lies where its reader should have taken it.

What is watched is in the store from the commit that ends the delivery on, so a restart forgets nothing. Once a minute
all of it is looked through, a page at a time; what the reader has taken is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.content import Content
from mailbridge.errors import MailbridgeError
from mailbridge.interfaces import IBounce, IStore
from mailbridge.message.header import end_of_header, fields
from mailbridge.outcome import TransientFailure
from mailbridge.queue.fate import wants_unclaimed
from mailbridge.reply import Reply
from mailbridge.store.changes import Delivery, Message, Remember, Wishes
from mailbridge.target.jobtask import JobTask

EVERY = 60.0
_PAGE = 200
_HEADER = 4096
_READ = 256 * 1024
_SHOWN = (b"from", b"to", b"subject", b"date", b"message-id")
Lying = Callable[[Sequence[str]], "Deferred[list[str]]"]


class PickupWatch:
    """Watches the jobs of one application. `lying(names)` fires with those files that are still there."""

    _log = Logger()

    def __init__(self, application: str, clock: IReactorTime, store: IStore, bounce: IBounce, lying: Lying) -> None:
        self._application = application
        self._prefix = f"pickup:{application}:"
        self._clock = clock
        self._store = store
        self._bounce = bounce
        self._lying = lying
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to look, once a minute."""
        self._stopped = False
        self._timer = self._clock.callLater(EVERY, self._look)

    def stop(self) -> None:
        """Look no more; what a look has begun is not ended by it."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, task: JobTask, number: int, control: str, within: float) -> tuple[Remember, ...]:
        """The change that makes a published job watched: it is late `within` seconds from now."""
        message, wishes = task.message, task.delivery.wishes
        if not message.sender or not wants_unclaimed(wishes):
            return ()
        return (Remember(f"{self._prefix}{number:019d}", json.dumps({
            "control": control, "published": task.now, "late": task.now + within, "queue_id": message.queue_id,
            "sender": message.sender, "origin": message.origin, "received": message.received,
            "recipient": task.delivery.recipient, "notify": wishes.notify, "original": wishes.original,
            "header": _short_header(task.content).decode("latin-1"),
        })),)

    def _look(self) -> None:
        self._timer = None
        looked = Deferred.fromCoroutine(self._look_through())
        looked.addErrback(self._failed)
        looked.addBoth(lambda _: None if self._stopped else self.start())

    def _failed(self, failure: Failure) -> None:
        if failure.check(MailbridgeError):
            self._log.warn("application {name}: whether jobs are picked up cannot be seen: {error}",
                           name=self._application, error=failure.value)
        else:
            self._log.failure("application {name}: whether jobs are picked up", failure, name=self._application)

    async def _look_through(self) -> None:
        after = ""
        while not self._stopped and (page := await self._store.remembered(self._prefix, after, _PAGE)):
            after = max(page)
            said = {key: json.loads(value) for key, value in page.items()}
            there = set(await self._lying([each["control"] for each in said.values()]))
            gone = [key for key, each in said.items() if each["control"] not in there]
            if gone:
                await self._store.commit(*(Remember(key, None) for key in gone))
            now = self._clock.seconds()
            for key, each in said.items():
                if each["control"] in there and each["late"] <= now:
                    await self._tell(key, each, now)

    async def _tell(self, key: str, said: dict[str, object], now: float) -> None:
        """One notice, in the commit that ends the watch."""
        minutes = max(1, round((now - float(str(said["published"]))) / 60))
        self._log.warn("{id}: {file} has not been picked up for {minutes} minutes", id=said["queue_id"],
                       file=said["control"], minutes=minutes)
        content = Content.of(str(said["header"]).encode("latin-1"))
        message = Message(0, str(said["queue_id"]), str(said["sender"]), str(said["origin"]),
                          float(str(said["received"])), content)
        wishes = Wishes(tuple(said["notify"]), said["original"])  # type: ignore[arg-type]
        delivery = Delivery(0, 0, str(said["recipient"]), 0, 0, 0, wishes)
        words = (f"The job was handed to {self._application} and has been waiting there for {minutes} minutes: the "
                 "program that should take it has not done so")
        try:
            notice = await self._bounce.unclaimed(
                message, [(delivery, TransientFailure(Reply(451, "4.4.1", words)))])
            await self._store.commit(Remember(key, None), *([notice] if notice is not None else []))
        except MailbridgeError as error:
            self._log.warn("{id}: the notice could not be stored: {error}", id=said["queue_id"], error=error)


def _short_header(content: Sequence[bytes]) -> bytes:
    """The few fields of a message that its sender knows it by."""
    beginning = b""
    for piece in content:
        if len(beginning) >= _READ:
            break
        beginning += piece
    end = end_of_header(beginning)
    shown: list[bytes] = []
    length = 0
    for name, raw in fields(beginning if end < 0 else beginning[:end]):
        if name.lower() in _SHOWN and length + len(raw) <= _HEADER:
            shown.append(raw if raw.endswith(b"\r\n") else raw + b"\r\n")
            length += len(raw)
    return b"".join(shown) + b"\r\n"
