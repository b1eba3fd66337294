"""The maildrop: one user's mail in the store, for the length of one POP3 session.

Promises: while it is open nobody else has it (a lease, renewed); it shows the messages that were there when it was
opened; `delete` fires after the commit. Rows are read 16 ahead of a client that reads in order; large content is pinned
and read in chunks. Never holds more than those rows and one chunk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.errors import MaildropInUse, StoreError
from mailbridge.interfaces import IMaildrop, IStore
from mailbridge.received import return_path
from mailbridge.store.changes import Message, Unlink

LEASE_TIME = 120.0  # seconds; what a crash can lock a user out for at most
RENEW_EVERY = 40.0
READ_AHEAD = 16
CHUNK = 65_536
UNLINK_AT_ONCE = 2_000  # one slice of the store: no transaction over 50 ms (DESIGN 4)


@implementer(IMaildrop)
class Maildrop:
    """The maildrop of the user with id `user`. `owner` is random text that no other session has."""

    _log = Logger()

    def __init__(self, store: IStore, user: int, clock: IReactorTime, owner: str) -> None:
        self._store = store
        self._user = user
        self._clock = clock
        self._owner = owner
        self._prefix = store.epoch.encode("ascii") + b"."
        self._uids: array[int] = array("q")
        self._ahead: dict[int, Message] = {}
        self._last: Message | None = None
        self._next = 0
        self._renewal: IDelayedCall | None = None
        self._fetching: IDelayedCall | None = None
        self._held = self._stolen = self._closed = False

    # --- the lock -----------------------------------------------------------------------------------------------------

    @property
    def _lease(self) -> str:
        return f"maildrop:{self._user}"

    def open(self) -> Deferred[Sequence[int]]:
        """Take the lease and the snapshot."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Sequence[int]:
        if not await self._store.lease(self._lease, self._owner, LEASE_TIME):
            raise MaildropInUse(f"another session has the maildrop of user {self._user}")
        self._held = True
        self._renewal = self._clock.callLater(RENEW_EVERY, self._renew)
        if self._closed:
            await self.close()
            raise StoreError("the session ended while its maildrop was opened")
        try:
            snapshot = await self._store.snapshot(self._user)
        except StoreError:
            await self.close()
            raise
        self._uids = snapshot.uids
        return snapshot.sizes

    def _renew(self) -> None:
        self._renewal = self._clock.callLater(RENEW_EVERY, self._renew)
        self._store.lease(self._lease, self._owner, LEASE_TIME).addCallbacks(self._renewed, self._not_renewed)

    def _renewed(self, held: bool) -> None:
        self._stolen = not held

    def _not_renewed(self, failure: Failure) -> None:
        self._log.warn("the lease of maildrop {user} was not renewed: {error}", user=self._user, error=failure.value)

    def close(self) -> Deferred[None]:
        """Give the lease back."""
        self._closed = True
        self._ahead, self._last = {}, None
        for call in (self._renewal, self._fetching):
            if call is not None:
                call.cancel()
        self._renewal = self._fetching = None
        if not self._held:
            return succeed(None)
        self._held = False
        return self._store.release(self._lease, self._owner).addErrback(self._not_released)

    def _not_released(self, failure: Failure) -> None:
        self._log.warn("the lease of maildrop {user} runs out by itself: {error}", user=self._user, error=failure.value)

    # --- messages -----------------------------------------------------------------------------------------------------

    def uid(self, index: int) -> bytes:
        """`EPOCH.ID`: a new store has a new epoch, and a store never uses an id twice."""
        return b"%b%d" % (self._prefix, self._uids[index])

    def retrieve(self, index: int) -> bytes | Iterator[bytes]:
        """The message with its Return-Path line on top, whole up to 64 KiB. KeyError when it is gone from the store."""
        uid = self._uids[index]
        message = self._ahead.pop(uid, None) or self._read(index, uid)
        self._last = message
        in_order = index == self._next
        self._next = index + 1
        if in_order and not self._ahead and self._next < len(self._uids) and self._fetching is None:
            # Read on while the client is busy with this one: it waits for no read but the first.
            self._fetching = self._clock.callLater(0, self._fetch)
        content = message.content
        head = return_path(message.sender)
        if content.octets is not None:
            return head + content.octets
        if content.size <= CHUNK:
            return head + self._store.read(content, 0, content.size)
        return self._chunks(head, message)

    def _fetch(self) -> None:
        self._fetching = None
        if not self._ahead:
            with suppress(StoreError):  # whoever asks for one of them will hear of it
                self._ahead = self._store.messages(self._uids[self._next:self._next + READ_AHEAD])

    def _read(self, index: int, uid: int) -> Message:
        last = self._last
        if last is not None and last.id == uid:  # TOP, then RETR
            return last
        count = READ_AHEAD if index == self._next else 1
        self._ahead = self._store.messages(self._uids[index:index + count])
        return self._ahead.pop(uid)

    def _chunks(self, head: bytes, message: Message) -> Iterator[bytes]:
        store, content = self._store, message.content
        pin = store.pin(content)
        try:
            offset = 0
            while offset < content.size:
                chunk = store.read(content, offset, CHUNK)
                if not chunk:
                    raise StoreError(f"message {message.id} is cut short at octet {offset}")
                offset += len(chunk)
                yield head + chunk if head else chunk
                head = b""
        finally:
            pin.release()  # type: ignore[attr-defined]

    def delete(self, indices: Iterator[int]) -> Deferred[None]:
        """Unlink messages, some thousands in a commit."""
        return Deferred.fromCoroutine(self._delete(indices))

    async def _delete(self, indices: Iterator[int]) -> None:
        while uids := tuple(self._uids[index] for index in islice(indices, UNLINK_AT_ONCE)):
            if self._stolen:
                raise StoreError(f"the lease of maildrop {self._user} was lost")
            await self._store.commit(Unlink(self._user, uids))
