"""Messages that wait in the store: put in by one commit, handed out until they are acknowledged.

A message is content in the store and a delivery in a lane of its own kind; so claims, fences, purge and the operator's
queue commands are those of mail. What was handed out stays claimed for an hour: pulled again before, it is handed out
again (at least once, oldest first), and a restart makes everything wait again. `put` fires after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mailbridge.address import Address, parse_mailbox
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import AddressError, StoreError
from mailbridge.interfaces import IStore
from mailbridge.limits import KIB, MIB
from mailbridge.oce.embedded.deeds import APPLICATION_LANE, Copy
from mailbridge.oce.embedded.registry import Application
from mailbridge.store.changes import (
    Accept,
    Accepted,
    Delivery,
    Message,
    Move,
    Queued,
    Reroute,
    Selection,
    Settle,
    Verdict,
)

SMALL = 16 * KIB
BLOCK = 64 * KIB
TURN = MIB
"""Octets that are read of the store in one turn of the reactor."""
ANSWER = 8 * MIB
"""An answer holds no more messages when it has so many octets."""
CLAIM_SECONDS = 3600.0
LATER = 60.0
AT_ONCE = 64
_ID_OCTETS = 10


@define
class _Queue:
    """What of an application's queue was handed out and not acknowledged, by MsgKey."""

    lane: int | None = None
    held: dict[str, Delivery] = field(factory=dict)
    lock: DeferredLock = field(factory=DeferredLock)


class Mailboxes:
    """The queues of all applications. `random(n)` gives octets for ids; `owner` is random text of this process.

    `stored(id)` hears of each message that came in.
    """

    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, random: Callable[[int], bytes], owner: str,
                 stored: Callable[[int], object]) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._owner = owner
        self._stored = stored
        self._queues: dict[str, _Queue] = {}

    # --- in -----------------------------------------------------------------------------------------------------------

    async def put(self, copies: Sequence[tuple[Copy, bytes]], peer: str) -> bool:
        """Store messages, each with the octets it travels as; False when they were there. Raises StoreError."""
        accepts = [await self.accept(copy, octets, peer) for copy, octets in copies]
        fresh = False
        for receipt in await self._store.commit(*accepts):
            assert isinstance(receipt, Accepted)
            self._stored(receipt.message)
            fresh = fresh or not receipt.repeated
        return fresh

    async def accept(self, copy: Copy, octets: bytes, peer: str) -> Accept:
        """The change that stores a message."""
        message = copy.message
        content = Content.of(octets) if len(octets) <= SMALL else await self._written(octets)
        source = message.source
        origin = Origin("oce", peer, source.app_id, source.member, None, self._clock.seconds(), "OCE", True)
        sender, recipient = _address(copy.sender), _address(copy.recipient)
        envelope = Envelope(self._random(_ID_OCTETS).hex(), sender, (recipient,), origin, content,
                            envid=message.msg_key)
        queued = Queued(recipient.text, copy.target, copy.destination, origin.time)
        return Accept(envelope, deliveries=(queued,), key=copy.seen)

    async def _written(self, octets: bytes) -> Content:
        writer = self._store.content()
        try:
            for start in range(0, len(octets), BLOCK):
                waiting = writer.write(octets[start:start + BLOCK])
                if waiting is not None:
                    await waiting
            finished: Any = writer.finish()
            return await finished if isinstance(finished, Deferred) else finished  # type: ignore[no-any-return]
        except BaseException:
            writer.abort()
            raise

    # --- out ----------------------------------------------------------------------------------------------------------

    def pull(self, application: Application, most: int) -> Deferred[list[bytes]]:
        """At most so many messages as they came in, oldest first: those handed out before, then others."""
        queue = self._queues.setdefault(application.queue, _Queue())
        running: Deferred[list[bytes]] = queue.lock.run(
            lambda: Deferred.fromCoroutine(self._pull(queue, application.queue, most)))
        return running

    async def _pull(self, queue: _Queue, name: str, most: int) -> list[bytes]:
        if queue.held:
            kept = await self._store.renew(self._owner, tuple(queue.held.values()), CLAIM_SECONDS)
            alive = {delivery.id for delivery in kept}
            queue.held = {key: each for key, each in queue.held.items() if each.id in alive}
        handed: list[bytes] = []
        room = ANSWER
        for delivery in list(queue.held.values())[:most]:
            room = await self._hand_out(delivery, handed, room)
            if room <= 0:
                return handed
        lane = await self._lane(queue, name)
        while lane is not None and len(handed) < most and room > 0:
            claimed = await self._store.claim(self._owner, lane, min(most - len(handed), AT_ONCE), CLAIM_SECONDS)
            found = self._store.messages([each.message for each in claimed])
            moves: list[Move | Settle] = []
            for delivery in claimed:
                message = found.get(delivery.message)
                if message is None:
                    moves.append(Settle(delivery.id, delivery.fence, Verdict.DONE))
                    continue
                key = message.declared.envid or ""
                if room <= 0 or key in queue.held:  # another with its key is not acknowledged yet
                    due = self._clock.seconds() + LATER if key in queue.held else message.received
                    moves.append(Move(delivery.id, delivery.fence, APPLICATION_LANE, name, due))
                    continue
                queue.held[key] = delivery
                room = await self._hand_out(delivery, handed, room, message)
            if moves:
                await self._store.commit(*moves)
            if len(claimed) < AT_ONCE:
                break
        return handed

    async def _lane(self, queue: _Queue, name: str) -> int | None:
        if queue.lane is None:
            for lane in await self._store.lanes():
                if (lane.target, lane.destination) == (APPLICATION_LANE, name):
                    queue.lane = lane.id
        return queue.lane

    async def _hand_out(self, delivery: Delivery, handed: list[bytes], room: int,
                        message: Message | None = None) -> int:
        """Add a message to those handed out; the room that is left."""
        if message is None:
            message = self._store.messages([delivery.message]).get(delivery.message)
            if message is None:
                return room
        try:
            octets = await self.read(message)
        except StoreError as error:  # the others are not to wait for it
            self._log.error("message {id} for {name} cannot be read: {error}", id=message.queue_id,
                            name=delivery.recipient, error=error)
            return room
        handed.append(octets)
        return room - len(octets)

    async def read(self, message: Message) -> bytes:
        """The octets of a message, large ones in turns. Raises StoreError."""
        content = message.content
        if content.octets is not None:
            return content.octets
        pin: Any = self._store.pin(content)
        try:
            pieces = []
            for start in range(0, content.size, BLOCK):
                if start and start % TURN == 0:
                    await deferLater(self._clock, 0)
                pieces.append(self._store.read(content, start, BLOCK))
            return b"".join(pieces)
        finally:
            pin.release()

    async def hand_over(self, queue: str, to: str) -> None:
        """What waits in one queue waits in another from now on. Raises StoreError."""
        await self._store.commit(Reroute(Selection(target=APPLICATION_LANE, destination=queue), APPLICATION_LANE, to))

    def release(self) -> Deferred[int]:
        """Let what was handed out and not acknowledged wait again, for another OCE over the same store: it would have
        to wait for the end of the claims. Fires with how many; fails with StoreError.
        """
        return Deferred.fromCoroutine(self._release())

    async def _release(self) -> int:
        queues, self._queues = self._queues, {}
        held = [(name, each) for name, queue in queues.items() for each in queue.held.values()]
        found = self._store.messages([each.message for _, each in held])
        moves = [Move(each.id, each.fence, APPLICATION_LANE, name, found[each.message].received)
                 for name, each in held if each.message in found]
        if moves:
            await self._store.commit(*moves)
        return len(moves)

    def acknowledge(self, application: Application, keys: Sequence[str]) -> Deferred[int]:
        """These have arrived; fires with how many of them were handed out, after the commit. Fails with StoreError."""
        return Deferred.fromCoroutine(self._acknowledge(application.queue, keys))

    async def _acknowledge(self, name: str, keys: Sequence[str]) -> int:
        queue = self._queues.get(name)
        if queue is None:
            return 0
        ended = {key: queue.held.pop(key) for key in keys if key in queue.held}
        try:
            if ended:
                await self._store.commit(*(Settle(each.id, each.fence, Verdict.DONE) for each in ended.values()))
        except BaseException:  # also when it is cancelled: whether they were settled, their fences tell
            queue.held.update(ended)
            raise
        return len(ended)


def _address(text: str) -> Address:
    """An address for the operator's eyes: of a name that is none, the octets that can be in one."""
    try:
        return evolve(parse_mailbox(text.encode("utf-8")), double_at=False)
    except (AddressError, UnicodeError):
        local, _, domain = text.rpartition("@")
        clean = "".join(each if each.isprintable() else "?" for each in local or domain)
        return Address(clean[:128], "oce")
