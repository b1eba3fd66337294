"""The store in memory: the same behaviour in plain dictionaries, for tests, and the readable specification of IStore.

Every commit takes effect and fires at once. Nothing outlives the object.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailbridge.content import Content
from mailbridge.errors import StoreConflict, StoreError, StoreFull
from mailbridge.interfaces import IStore
from mailbridge.limits import MIB
from mailbridge.store import changes
from mailbridge.store import memory_queue as queue
from mailbridge.store.changes import Delivery, Lane, Message, People, Snapshot, User
from mailbridge.store.leases import Leases
from mailbridge.store.maildrops import MESSAGES
from mailbridge.store.memory_content import MemoryPin, MemoryWriter
from mailbridge.store.memory_state import State, Waiting
from mailbridge.store.rows import origin_text
from mailbridge.store.watchers import Watchers


@implementer(IStore)
class MemoryStore:
    """IStore without a disk; `clock` gives seconds since 1970. Set `free` below `min_free` to see StoreFull."""

    def __init__(self, clock: IReactorTime, min_free: int = 64 * MIB) -> None:
        self.epoch = secrets.token_hex(8)
        self.free = 1 << 40
        self._min_free = min_free
        self._clock = clock
        self._state = State()
        self._leases = Leases(clock.seconds)
        self._watchers = Watchers()
        self._touched: set[str] = set()
        self._closed = False

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """See IStore."""
        if self._closed:
            return fail(StoreError("the store is closed"))
        before = self._state
        self._state = before.copy()
        self._touched = set()
        try:
            if len(changes) == 1 and isinstance(changes[0], queue.OPERATIONS):
                receipts: tuple[object, ...] = (
                    queue.operate(self._state, self._clock.seconds(), changes[0], self._touched),)
            else:
                receipts = tuple(self._apply(change) for change in changes)
        except StoreError as error:
            self._state = before
            return fail(error)
        self._free()
        self._watchers.tell(self._touched, ())
        return succeed(receipts)

    def _apply(self, change: Any) -> object:
        match change:
            case changes.Accept():
                return self._accept(change)
            case changes.Unlink(user, uids):
                entries = self._state.maildrops.get(user, {})
                for uid in uids:
                    entries.pop(uid, None)
                self._touched.add(f"maildrop:{user}")
                return None
            case changes.Settle() | changes.Move() | changes.Deposit() | changes.SetLane():
                return queue.apply(self._state, change, self._touched)
            case changes.Allocate(counter, count, start):
                if count < 1:
                    raise StoreConflict(f"cannot allocate {count} numbers")
                return self._state.number("=" + counter, count, start)
            case changes.Remember():
                if change.value is None:
                    self._state.remembered.pop(change.key, None)
                else:
                    self._state.remembered[change.key] = change.value
                return None
            case _ if isinstance(change, queue.OPERATIONS):
                raise StoreConflict(f"{type(change).__name__} must be a commit of its own")
        self._touched.add("people")
        return self._change_people(change)

    def _accept(self, change: changes.Accept) -> changes.Accepted:
        state = self._state
        if self.free < self._min_free:
            raise StoreFull("less than min_free is left")
        if change.key is not None and change.key in state.keys:
            return changes.Accepted(state.keys[change.key], repeated=True)
        envelope = change.envelope
        for user in change.deposits:
            if user not in state.users:
                raise StoreConflict(f"user {user} was removed")
        id = state.number("message")
        state.messages[id] = Message(id, envelope.queue_id, envelope.sender.text, origin_text(envelope),
                                     envelope.origin.time, envelope.content)
        for user in change.deposits:
            state.maildrops.setdefault(user, {})[id] = change.maildrop_size or envelope.content.size
            self._touched.add(f"maildrop:{user}")
        for queued in change.deliveries:
            lane = queue.lane_id(state, queued.target, queued.destination)
            number = state.number("delivery")
            state.queue[number] = Waiting(Delivery(number, id, queued.recipient, lane, 0, 0, queued.wishes), queued.due)
            self._touched.add("lanes")
        if change.key is not None:
            state.keys[change.key] = id
        return changes.Accepted(id)

    def _change_people(self, change: Any) -> object:
        state = self._state
        match change:
            case changes.AddUser(name, credentials, send_as, created):
                name = name.lower()
                if any(user.name == name for user in state.users.values()):
                    raise StoreConflict(f"there is a user {name} already")
                id = state.number("user")
                state.users[id] = User(id, name, credentials, send_as, created)
                return id
            case changes.SetAlias(name, targets):
                before = state.aliases.pop(name.lower(), None)
                if targets:
                    state.aliases[name.lower()] = changes.Alias(name.lower(), targets)
                return before is not None
            case changes.ChangeUser(user) | changes.RemoveUser(user) if user not in state.users:
                raise StoreConflict(f"there is no user {user}")
            case changes.ChangeUser(user, credentials, send_as):
                if credentials is not None:
                    state.users[user] = evolve(state.users[user], credentials=credentials)
                if send_as is not None:
                    state.users[user] = evolve(state.users[user], send_as=send_as)
                return None
            case changes.RemoveUser(user):
                del state.users[user]
                self._touched.add(f"maildrop:{user}")
                return len(state.maildrops.pop(user, {}))
        raise StoreError(f"the store could not do it: unknown change {change!r}")

    def _free(self) -> None:
        """Nothing holds a message: it goes. SQLite does this in the background."""
        held = {waiting.delivery.message for waiting in self._state.queue.values()}
        for entries in self._state.maildrops.values():
            held.update(entries)
        self._state.messages = {id: message for id, message in self._state.messages.items() if id in held}

    def content(self) -> MemoryWriter:
        """See IStore."""
        return MemoryWriter()

    def read(self, content: Content, offset: int, length: int) -> bytes:
        """See IStore."""
        assert content.octets is not None
        return content.octets[offset:offset + length]

    def pin(self, content: Content) -> MemoryPin:
        """See IStore."""
        return MemoryPin()

    def messages(self, ids: Sequence[int]) -> dict[int, Message]:
        """See IStore."""
        if len(ids) > MESSAGES:
            raise ValueError(f"at most {MESSAGES} messages at a time")
        return {id: self._state.messages[id] for id in ids if id in self._state.messages}

    def snapshot(self, user: int) -> Deferred[Snapshot]:
        """See IStore."""
        entries = sorted(self._state.maildrops.get(user, {}).items())
        return self._answer(Snapshot(array("q", [uid for uid, _ in entries]),
                                     array("q", [size for _, size in entries])))

    def people(self) -> Deferred[People]:
        """See IStore."""
        return self._answer(People(tuple(self._state.users.values()),
                                   tuple(alias for _, alias in sorted(self._state.aliases.items()))))

    def recall(self, key: str) -> str | None:
        """See IStore."""
        return self._state.remembered.get(key)

    def counter(self, name: str) -> int | None:
        """See IStore."""
        return self._state.counters.get("=" + name)

    def _answer(self, answer: Any) -> Deferred[Any]:
        return fail(StoreError("the store is closed")) if self._closed else succeed(answer)

    def remembered(self, prefix: str, after: str, limit: int) -> Deferred[dict[str, str]]:
        """See IStore."""
        kept = self._state.remembered.items()
        found = sorted((key, value) for key, value in kept if key.startswith(prefix) and key > after)
        return self._answer(dict(found[:limit]))

    def lease(self, name: str, owner: str, ttl: float) -> Deferred[bool]:
        """See IStore."""
        return succeed(self._leases.take(name, owner, ttl))

    def release(self, name: str, owner: str) -> Deferred[None]:
        """See IStore."""
        self._leases.release(name, owner)
        return succeed(None)

    def claim(self, owner: str, lane: int, limit: int, ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """See IStore."""
        claimed = queue.claim(self._state, self._clock.seconds(), owner, lane, limit, ttl)
        if claimed:
            self._watchers.tell(["lanes"], ())
        return self._answer(claimed)

    def renew(self, owner: str, deliveries: Sequence[Delivery], ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """See IStore."""
        return self._answer(queue.renew(self._state, self._clock.seconds(), owner, deliveries, ttl))

    def queue(self, selection: changes.Selection, after: int, limit: int) -> Deferred[tuple[changes.QueueEntry, ...]]:
        """See IStore."""
        return self._answer(queue.page(self._state, self._clock.seconds(), selection, after, limit))

    def lanes(self) -> Deferred[tuple[Lane, ...]]:
        """See IStore."""
        return self._answer(queue.lanes(self._state, self._clock.seconds()))

    def ready(self, limit: int) -> Deferred[tuple[tuple[Lane, ...], float | None]]:
        """See IStore."""
        return self._answer(queue.ready(self._state, self._clock.seconds(), limit))

    def watch(self, topic: str, callback: Callable[[], object]) -> Callable[[], None]:
        """See IStore."""
        return self._watchers.add(topic, callback)

    def free_octets(self) -> int:
        """See IStore."""
        return self.free

    def close(self) -> Deferred[None]:
        """See IStore."""
        self._closed = True
        return succeed(None)
