"""Brings what waits in the OCE into the maildrops: pull, store, acknowledge, in this order (DESIGN invariant 1).

One pull serves all members. Duplicates are judged per (sending OCE, MsgKey) by the store. What cannot be read, or is
for nobody here, goes to postmaster with what was wrong: nothing is lost, and nothing is pulled for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailbridge.address import NULL, Address
from mailbridge.clock import rfc5322_date
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.message import writing
from mailbridge.oce import codes, strictjson
from mailbridge.oce.client import LARGE, Aside, OCEClient, Refused, Stopped, Unreadable
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.mail import Arrival, sender_of, to_mail
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import USDS
from mailbridge.received import maildrop_size, received_header
from mailbridge.store.changes import Accept, Accepted, User

AT_ONCE = 50
LONGEST_WAIT = 3600.0
_QUEUE_ID_OCTETS = 10
_LISTENER = "oce"


@frozen
class Recipients:
    """Whose maildrop it is: `member(name)` and `postmaster()` give users, None for nobody."""

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
    """Pulls every `interval` seconds, at once again while more waits, and ever more seldom while the OCE fails."""

    _log = Logger()

    def __init__(self, client: OCEClient, store: IStore, recipients: Recipients, tribes: Callable[[], Tribes],
                 hostname: str, clock: IReactorTime, random: Callable[[int], bytes], aside: Aside,
                 interval: float) -> None:
        self.counts = Counts()
        self.interval = interval
        self.next = 0.0
        self.fault = ""
        self._client = client
        self._store = store
        self._recipients = recipients
        self._tribes = tribes
        self._hostname = hostname
        self._clock = clock
        self._random = random
        self._aside = aside
        self._failures = 0
        self._timer: Any = None
        self._running: Deferred[None] | None = None
        self._stopped = True

    def start(self) -> None:
        """Pull now, and from now on."""
        self._stopped = False
        self._later(0.0)

    def stop(self) -> Deferred[None]:
        """Pull no more; fires when a pull that runs has ended."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        ended: Deferred[None] = Deferred()
        if self._running is None:
            ended.callback(None)
        else:
            self._running.addBoth(lambda _: ended.callback(None))
            self._running.cancel()
        return ended

    def wake(self) -> None:
        """Pull now, if none runs: mail is expected."""
        if not self._stopped and self._running is None:
            self._later(0.0)

    def _later(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.next = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._running = Deferred.fromCoroutine(self._poll())
        self._running.addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        self._running = None
        if self._stopped:
            return
        self._failures = self._failures + 1 if self.fault else 0
        wait = min(self.interval * 2 ** min(self._failures, 12), max(LONGEST_WAIT, self.interval))
        self._later(wait)

    async def _poll(self) -> None:
        """Pull until nothing waits. Never raises but for cancellation."""
        try:
            while await self._bring():
                pass
            self.fault = ""
        except (ExchangeError, Stopped, Refused) as error:
            self._failed(str(error))
            if isinstance(error, Refused) and error.answer.num == codes.UNKNOWN_FUNCTION:
                self._log.warn("this OCE cannot be asked for mail; sending goes on")
                self._stopped = True
        except StoreError as error:
            self._failed(f"the mail could not be stored: {error}")
        except Exception as error:
            self._log.failure("pulling from the OCE failed")
            self._failed(f"a fault of mailbridge itself: {type(error).__name__}; see the log")

    def _failed(self, text: str) -> None:
        if text != self.fault:
            self._log.warn("nothing came from the OCE: {text}", text=text)
        self.fault = text

    async def _bring(self) -> bool:
        """One pull; whether more may wait."""
        found = await self._client.pull(AT_ONCE)
        self.counts.pulled += len(found)
        if not found:
            return False
        keys: list[str] = []
        fault: StoreError | None = None
        for storing in [Deferred.fromCoroutine(self._keep(each)) for each in found]:  # so they share a commit
            try:
                keys.append(await storing)
            except StoreError as error:
                fault = error
        keys = [key for key in keys if key]
        if keys:
            await self._client.acknowledge(keys)
            self.counts.acknowledged += len(keys)
        if fault is not None:
            raise fault
        return len(found) >= AT_ONCE and bool(keys)

    async def _keep(self, found: USDS | Unreadable) -> str:
        """Store one message; its key, to be acknowledged; empty when it has none. Raises StoreError."""
        if isinstance(found, Unreadable):
            self.counts.unreadable += 1
            self._log.warn("the OCE gave a message that cannot be read: {fault}", fault=found.fault)
            octets, sender, key = _report(found.fault, found.values), NULL, found.msg_key
            await self._store_for(self._recipients.postmaster(), octets, sender, key, "", found.values)
            return key
        tribes = self._tribes()
        name = found.dest.member if found.dest is not None else ""
        user = self._recipients.member(name)
        if user is None:
            self.counts.strays += 1
        arrival = Arrival(f"{name or 'unknown'}@oce", rfc5322_date(self._clock.seconds()))
        large = sum(len(each.octets) for each in found.objects) + len(found.detail) > LARGE
        octets = await self._aside(lambda: to_mail(found, arrival, tribes)) if large else b""
        octets = octets or to_mail(found, arrival, tribes)
        owner = user or self._recipients.postmaster()
        await self._store_for(owner, octets, sender_of(found, tribes), found.msg_key, found.source.oce, None)
        return found.msg_key

    async def _store_for(self, user: User | None, octets: bytes, sender: Address, msg_key: str, oce: str,
                         values: Any) -> None:
        if user is None:
            raise StoreError("there is nobody to give it to: make a user with `mailbridge user add NAME`")
        now = self._clock.seconds()
        queue_id = self._random(_QUEUE_ID_OCTETS).hex()
        recipient = Address(user.name)
        origin = Origin(_LISTENER, "", "oce", None, None, now, "USDP")
        key = msg_key or hashlib.sha256(octets if values is None else strictjson.write(values)).hexdigest()
        content = await self._write(received_header(origin, self._hostname, queue_id, recipient) + octets)
        envelope = Envelope(queue_id, sender, (recipient,), origin, content, content.eight_bit)
        accept = Accept(envelope, (user.id,), key=f"oce:{oce.casefold()}:{key}",
                        maildrop_size=maildrop_size(sender, content))
        (accepted,) = await self._store.commit(accept)
        if isinstance(accepted, Accepted) and accepted.repeated:
            self.counts.repeated += 1
        else:
            self.counts.stored += 1

    async def _write(self, octets: bytes) -> Content:
        writer = self._store.content()
        try:
            for at in range(0, len(octets), 64 * 1024):
                waiting = writer.write(octets[at:at + 64 * 1024])
                if waiting is not None:
                    await waiting
            content = writer.finish()
            return content if isinstance(content, Content) else await content
        except BaseException:
            writer.abort()
            raise


def _report(fault: str, values: Any) -> bytes:
    """The mail to postmaster about a message that is none."""
    text = ("The OCE gave this bridge a message that cannot be read as USDS:\n\n"
            f"    {fault}\n\nIt is attached as it came, and was acknowledged.\n")
    part = writing.attachment(strictjson.write(values), "application/json", "message.json")
    return writing.message([("From", "MAILER-DAEMON"), ("Subject", "A message from the OCE that cannot be read")],
                           writing.multipart("mixed", [writing.text_part(text), part]))
