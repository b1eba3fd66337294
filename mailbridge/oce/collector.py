"""Brings what waits in the OCE into the maildrops: pull, store, acknowledge, in this order (DESIGN invariant 1).

One pull serves all members. Duplicates are judged per (sending OCE, MsgKey) by the store. What cannot be read, or is
for nobody here, goes to postmaster with what was wrong: nothing is lost, and nothing is pulled for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.address import NULL, Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.oce import codes
from mailbridge.oce.client import OCEClient, Refused, Stopped
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.tasks import Found
from mailbridge.oce.tribes import Tribes
from mailbridge.queue.origin import address_of
from mailbridge.received import maildrop_size, received_header
from mailbridge.store.changes import Accept, Accepted, User

AT_ONCE = 50
KEYS = "oce:"
LONGEST_WAIT = 3600.0
_QUEUE_ID_OCTETS = 10
_LISTENER = "oce"
_PIECE = 64 * 1024
_TURN = 4 * _PIECE


@frozen
class Recipients:
    """Whose maildrop it is: `member(name)` and `postmaster()` give users, None for nobody.

    The name is as the OCE says it: `harold`, and maybe `harold@oce` or a mail address.
    """

    member: Callable[[str], User | None]
    postmaster: Callable[[], User | None]


@define
class Counts:
    """What was brought in since the start. `strays` were for nobody here, `unreadable` were no USDS."""

    pulled: int = 0
    stored: int = 0
    repeated: int = 0
    strays: int = 0
    unreadable: int = 0
    acknowledged: int = 0


class Collector:
    """Pulls every `interval` seconds, at once again while more waits, and ever more seldom while the OCE fails.

    `fault` is what is wrong just now, in words, and `since` the time when that began, 0 for no alarm: an OCE that can
    never be asked for mail is none. `next` is the time of the next pull, 0 when none is to come. `note` hears the id
    of each message that was stored: see `oce.seen`, for keys that begin with KEYS.
    """

    _log = Logger()

    def __init__(self, client: OCEClient, store: IStore, recipients: Recipients, tribes: Callable[[], Tribes],
                 hostname: str, clock: IReactorTime, random: Callable[[int], bytes], interval: float,
                 note: Callable[[int], object] = lambda message: None) -> None:
        self.counts = Counts()
        self.interval = interval
        self.next = 0.0
        self.fault = ""
        self.since = 0.0
        self._client = client
        self._store = store
        self._recipients = recipients
        self._tribes = tribes
        self._hostname = hostname
        self._clock = clock
        self._random = random
        self._note = note
        self._failures = 0
        self._timer: Any = None
        self._running: Deferred[None] | None = None
        self._woken = False
        self._stopped = True

    def start(self) -> None:
        """Pull now, and from now on."""
        if self._stopped:
            self._stopped = False
            self._later(0.0)

    def stop(self) -> Deferred[None]:
        """Pull no more; fires when a pull that runs has ended."""
        self._end()
        ended: Deferred[None] = Deferred()
        if self._running is None:
            ended.callback(None)
        else:
            self._running.addBoth(lambda _: ended.callback(None))
            self._running.cancel()
        return ended

    def wake(self) -> None:
        """Pull as soon as may be: mail is expected. While a pull runs, another follows it."""
        if self._stopped:
            return
        if self._running is None:
            self._later(0.0)
        else:
            self._woken = True

    def _end(self) -> None:
        self._stopped = True
        self.next = 0.0
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _later(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.next = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._woken = False
        self._running = Deferred.fromCoroutine(self._poll())
        self._running.addBoth(self._ended)

    def _ended(self, _result: object) -> None:
        self._running = None
        if self._stopped:
            return
        self._failures = self._failures + 1 if self.fault else 0
        if self._woken and not self.fault:
            self._later(0.0)
            return
        self._later(min(self.interval * 2 ** min(self._failures, 12), max(LONGEST_WAIT, self.interval)))

    async def _poll(self) -> None:
        """Pull until nothing waits. Raises CancelledError only."""
        try:
            before: tuple[str, ...] = ()
            while keys := await self._bring(before):  # until nothing is left: an OCE may give less than we take
                before = keys
            self.fault = ""
            self.since = 0.0
        except CancelledError:
            raise
        except (ExchangeError, Stopped, Refused) as error:
            self._failed(str(error))
            if isinstance(error, Refused) and error.answer.num == codes.UNKNOWN_FUNCTION:
                self._log.warn("this OCE cannot be asked for mail; sending goes on")
                self.since = 0.0
                self._end()
        except StoreError as error:
            self._failed(f"the mail could not be stored: {error}")
        except Exception as error:
            self._log.failure("pulling from the OCE failed")
            self._failed(f"a fault of mailbridge itself: {type(error).__name__}; see the log")

    def _failed(self, text: str) -> None:
        if text != self.fault:
            self._log.warn("nothing came from the OCE: {text}", text=text)
        self.fault = text
        self.since = self.since or self._clock.seconds()

    async def _bring(self, before: tuple[str, ...]) -> tuple[str, ...]:
        """One pull; the keys of what it brought. `before` are those of the last one: an OCE that forgets
        acknowledgements is not asked for ever.
        """
        found = await self._client.pull(AT_ONCE, self._tribes())
        self.counts.pulled += len(found)
        keys = tuple(each.key for each in found)
        if found and set(keys) <= set(before):
            raise ExchangeError("the OCE gives again what it gave just before")
        storing: list[Deferred[Any]] = [Deferred.fromCoroutine(self._keep(each)) for each in found]
        results: list[tuple[bool, object]] = await DeferredList(storing, consumeErrors=True)
        safe = [each.msg_key for each, (stored, _) in zip(found, results, strict=True) if stored and each.msg_key]
        if safe:
            await self._client.acknowledge(safe)
            self.counts.acknowledged += len(safe)
        for stored, result in results:
            if not stored:
                assert isinstance(result, Failure)
                result.raiseException()
        if found and not safe:
            raise ExchangeError("the OCE gives messages without MsgKey, which cannot be acknowledged")
        return keys

    async def _keep(self, found: Found) -> None:
        """Store one message. Raises StoreError."""
        user = None
        if found.fault:
            self.counts.unreadable += 1
            self._log.warn("the OCE gave a message that cannot be read: {fault}", fault=found.fault)
        else:
            user = self._recipients.member(found.member)
            self.counts.strays += user is None
        owner = user or self._recipients.postmaster()
        if owner is None:
            raise StoreError("there is nobody to give it to: make a user with `mailbridge user add NAME`")
        queue_id = self._random(_QUEUE_ID_OCTETS).hex()
        recipient = Address(owner.name)
        origin = Origin(_LISTENER, "", "oce", None, None, self._clock.seconds(), "USDP")
        sender = address_of(found.sender) or Address("unknown", "oce")
        content = await self._write(received_header(origin, self._hostname, queue_id, recipient), found.mail)
        envelope = Envelope(queue_id, NULL if found.fault else sender, (recipient,), origin, content,
                            content.eight_bit)
        accept = Accept(envelope, (owner.id,), key=KEYS + found.key,
                        maildrop_size=maildrop_size(envelope.sender, content))
        (accepted,) = await self._store.commit(accept)
        assert isinstance(accepted, Accepted)
        if accepted.repeated:
            self.counts.repeated += 1
        else:
            self.counts.stored += 1
            self._note(accepted.message)

    async def _write(self, trace: bytes, octets: bytes) -> Content:
        writer = self._store.content()
        try:
            waiting = writer.write(trace)
            if waiting is not None:
                await waiting
            for at in range(0, len(octets), _PIECE):
                waiting = writer.write(octets[at:at + _PIECE])
                if waiting is not None:
                    await waiting
                elif at and at % _TURN == 0:
                    await deferLater(self._clock, 0)
            content = writer.finish()
            return content if isinstance(content, Content) else await content
        except BaseException:
            writer.abort()
            raise
