"""Fetched mail to an SMTP server, as POPFetch did it: one message at a time, through msg.dat.

The message is on the disk with its state before the server hears of it, and every step is noted there: what was left is
delivered first the next time, and only to those who have no answer. The ledger is told before the message is deleted.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailbridge.clock import rfc5322_date
from mailbridge.errors import StoreError
from mailbridge.fetch import notice, recipient
from mailbridge.fetch.account import Account
from mailbridge.fetch.decision import HEADER_TOO_LARGE
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.notice import Failed, Signature
from mailbridge.fetch.recipient import Choice
from mailbridge.fetch.spool import CARETAKER, DONE, DUD, SEND, Held, Spool, SpooledMessage, SpoolWriter
from mailbridge.fetch.transaction import LocalServer
from mailbridge.fetch.wayin import DIGEST, End, Fate, Known, Stop
from mailbridge.interfaces import IStore
from mailbridge.limits import KIB
from mailbridge.message import header
from mailbridge.store.changes import Remember

MOST_WAKES = 5
"""A recipient who was put off so many times counts as refused."""
LONGEST_HEADER = 256 * KIB
CORRUPT = "msg.dat is empty, damaged or has no header"
SHOWN = 10


@frozen
class Surroundings:
    """What the way in works with. `hostname` signs notices; `seconds()` is the time, `random(n)` gives n octets.

    `caretaker` by account name is asked at each step, so that a new configuration counts for what was left.
    """

    server: LocalServer
    spool: Spool
    duds: Duds
    store: IStore
    hostname: str
    seconds: Callable[[], float]
    random: Callable[[int], bytes]
    caretaker: Callable[[str], str | None]


class ServerWay:
    """The way in. `spool` must be locked before it is used."""

    one_by_one = True
    log = Logger()

    def __init__(self, around: Surroundings) -> None:
        self.around = around

    def take(self, account: Account, known: Known) -> Incoming:
        """A message is coming. Raises Stop."""
        try:
            return Incoming(self, account, known, self.around.spool.begin())
        except OSError as error:
            raise Stop(f"msg.dat cannot be written: {error}") from None

    def resume(self) -> Deferred[Fate | None]:
        """Deliver what is in msg.dat; None when there is nothing."""
        return Deferred.fromCoroutine(self._resume())

    async def _resume(self) -> Fate | None:
        around = self.around
        try:
            held, whole = await around.spool.load()
            if held is None:
                return None
            if held.stage == DONE:
                await self._done(held)
                return None
            self.log.info("{account}: going on with the message of the last time", account=held.account)
            if not whole:
                # The server has it still: it is fetched anew, and what is left of this one is kept for people.
                return await self._to_duds(evolve(held, reason=CORRUPT, value=""), damaged=True)
            return await self.deliver(held)
        except (OSError, StoreError) as error:
            raise Stop(f"the message of the last time: {error}") from None

    def rest(self) -> Deferred[None]:
        """Close the session with the server."""
        return Deferred.fromCoroutine(self.around.server.rest())

    def cut(self) -> None:
        """Close the session; msg.dat and its state stay."""
        self.around.server.cut()

    # --- one message, from wherever it was left -----------------------------------------------------------------------

    async def deliver(self, held: Held) -> Fate:
        """All that is still to be done. Raises Stop, OSError, StoreError; the state says how far it came."""
        if held.stage == SEND:
            held = await self._send(held)
        if held.stage == CARETAKER:
            held = await self._to_caretaker(held)
        if held.stage == DUD:
            return await self._to_duds(held)
        fate = _fate(held)
        await self._done(held)
        return fate

    async def _send(self, held: Held) -> Held:
        """To the recipients who have no answer. Raises Stop when some are put off."""
        if held.waiting:
            source = SpooledMessage.of(self.around.spool.message, held.size)
            verdicts = await self.around.server.deliver(held.sender, held.waiting, source, held.eight_bit)
            put_off = verdicts.put_off
            wakes = held.wakes + 1 if put_off else held.wakes
            refused = dict(held.refused) | verdicts.refused
            if wakes >= MOST_WAKES:
                refused |= put_off
                put_off = {}
            held = evolve(held, waiting=tuple(put_off), done=held.done + verdicts.done, refused=tuple(refused.items()),
                          wakes=wakes)
            if put_off:
                await self.around.spool.note(held)
                address, reply = next(iter(put_off.items()))
                raise Stop(f"{address}: {reply}")
        held = evolve(held, stage=CARETAKER if held.refused or not held.done else DONE)
        await self.around.spool.note(held)
        return held

    async def _to_caretaker(self, held: Held) -> Held:
        """One message for all who were refused, or for want of a recipient. Raises Stop."""
        around = self.around
        caretaker = around.caretaker(held.account)
        if caretaker is None:
            held = evolve(held, stage=DUD, reason=held.reason or "refused, and there is no caretaker")
        else:
            source = self._caretakers_copy(held)
            verdicts = await around.server.deliver("", [caretaker], source, held.eight_bit)
            if verdicts.put_off:
                raise Stop(f"the caretaker: {verdicts.put_off[caretaker]}")
            if verdicts.done:
                held = evolve(held, stage=DONE)
            else:
                held = evolve(held, stage=DUD, reason=f"the caretaker: {verdicts.refused[caretaker]}")
        await around.spool.note(held)
        return held

    def _caretakers_copy(self, held: Held) -> SpooledMessage:
        around = self.around
        path = around.spool.message
        if not held.refused:
            return SpooledMessage.of(path, held.size, 0, notice.reason_line(held.reason))
        with around.spool.open() as file:
            head = file.read(held.body)
            body = file.read(notice.PEEK)
        signature = Signature(around.hostname, rfc5322_date(around.seconds()), around.random(10).hex())
        failed = [Failed(address, reply) for address, reply in held.refused]
        frame = notice.copy(head.removesuffix(b"\r\n"), body, failed, held.done, signature)
        return SpooledMessage.of(path, held.size, held.body, frame.before, frame.after)

    async def _to_duds(self, held: Held, damaged: bool = False) -> Fate:
        spool = self.around.spool
        try:
            file = spool.open()
        except FileNotFoundError:
            if not damaged:
                raise
            await spool.clear()
            return Fate(End.LATER, held.reason)
        with file:
            await self.around.duds.append(file, held.account, held.reason)
        held = evolve(held, stage=DONE)
        await spool.note(held)
        await self._done(held)
        return Fate(End.DUD, held.reason, row=not held.done)

    async def _done(self, held: Held) -> None:
        """Tell the ledger, then forget the message."""
        if held.value:
            await self.around.store.commit(Remember(held.key, held.value))
        await self.around.spool.clear()


class Incoming:
    """One message on its way to msg.dat."""

    def __init__(self, way: ServerWay, account: Account, known: Known, writer: SpoolWriter) -> None:
        self._way = way
        self._account = account
        self._known = known
        self._writer = writer
        self._head = b""
        self._end = -1

    def write(self, octets: bytes) -> None:
        """See Taking."""
        if self._end < 0 and len(self._head) <= LONGEST_HEADER:
            searched = len(self._head)
            self._head += octets
            self._end = header.end_of_header(self._head, searched)
        try:
            self._writer.write(octets)
        except OSError as error:
            self._writer.abort()
            raise Stop(f"msg.dat cannot be written: {error}") from None

    def finish(self) -> Deferred[Fate]:
        """See Taking."""
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> Fate:
        writer = self._writer
        if self._known.already(writer.digest[:DIGEST]):
            writer.abort()
            return Fate(End.KNOWN)
        try:
            held = self._held()
            await writer.keep(held)
            return await self._way.deliver(held)
        except (OSError, StoreError) as error:
            raise Stop(f"a message could not be delivered: {error}") from None
        finally:
            writer.abort()

    def _held(self) -> Held:
        """The message with its recipients, before anything was done."""
        writer, how = self._writer, self._account.addressing
        head = self._head[:self._end] if self._end >= 0 else self._head
        whole = len(head) <= LONGEST_HEADER and (self._end >= 0 or writer.size == len(head))
        if not writer.size or (how.fixed is None and not header.begins_as_header(self._head)):
            choice = Choice((), "", CORRUPT)
        elif not whole:
            choice = Choice((), "", HEADER_TOO_LARGE) if how.caretaker is None else Choice(
                (how.caretaker,), "caretaker", HEADER_TOO_LARGE)
        else:
            choice = recipient.choose(head, how)
        change = self._known.change(writer.digest[:DIGEST])
        held = Held(
            account=self._account.name, key=change.key, value=change.value or "", size=writer.size,
            digest=writer.digest, body=self._end + 2 if self._end >= 0 else writer.size, eight_bit=writer.eight_bit,
            sender=recipient.return_path(head).text, reason=choice.reason,
        )
        if not choice.recipients:
            return evolve(held, stage=DUD)
        if choice.source == "caretaker":
            return evolve(held, stage=CARETAKER)
        return evolve(held, waiting=tuple(address.text for address in choice.recipients))

    def abort(self) -> None:
        """See Taking."""
        self._writer.abort()


def _fate(held: Held) -> Fate:
    """What became of a message that somebody has."""
    refused = "; ".join(f"{address}: {reply}" for address, reply in held.refused[:SHOWN])
    if not held.done:
        return Fate(End.CARETAKER, held.reason or refused)
    text = ", ".join(held.done[:SHOWN])
    return Fate(End.DELIVERED, f"{text}; caretaker: {refused}" if refused else text)
