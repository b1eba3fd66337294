"""The SQLite store: IStore over a writer, a reader, an appender and a purge.

It owns the state folder's data base, lock, segments and ballast, and their threads. The reactor's thread only puts
values into queues and reads single messages; everything that can wait for a disk happens in the threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.content import Content
from mailbridge.errors import StartError, StoreError
from mailbridge.interfaces import IStore
from mailbridge.limits import MIB
from mailbridge.store import database, lanes, maildrops, operating, people, queue, schema, selecting
from mailbridge.store.appender import Appender
from mailbridge.store.changes import Delivery, Lane, Message, People, Selection, Snapshot, Unlink
from mailbridge.store.leases import Leases
from mailbridge.store.purge import Purge
from mailbridge.store.reader import Reader
from mailbridge.store.room import RESERVE, Room, statvfs_free
from mailbridge.store.segments import ContentWriter, Pin, Segments
from mailbridge.store.sync import sync_folder
from mailbridge.store.watchers import Watchers
from mailbridge.store.writer import Done, Writer

log = Logger()

PAGE = 1000
Found = TypeVar("Found")
SEGMENTS_OF_A_START = 1 << 24


def open_store(state: Path, reactor: Any, *, database: str = "mail.db", min_free: int = 64 * MIB,
               on_death: Callable[[Failure], object], **seams: Any) -> SQLiteStore:
    """The store in the folder `state`, made if it is not there. See SQLiteStore for the arguments.

    Raises StartError with one line that names the thing and the remedy.
    """
    return SQLiteStore(state, database, reactor, min_free, on_death, **seams)


@implementer(IStore)
class SQLiteStore:
    """The store of one daemon.

    `reactor` needs `seconds`, `callLater` and `callFromThread`; below `min_free` octets new mail fails with StoreFull;
    `on_death(Failure)` is called when the writer's thread died: the process must exit. `reserve` are octets kept back
    so that deleting works on a full disk. `connect` and `free` are seams for tests.
    """

    def __init__(self, state: Path, database_name: str, reactor: Any, min_free: int,
                 on_death: Callable[[Failure], object], *, reserve: int = RESERVE,
                 connect: database.Connect = database.connect, free: Callable[[Path], int] = statvfs_free,
                 appender: Callable[..., Appender] = Appender) -> None:
        self._reactor = reactor
        self._on_death = on_death
        self._closed: Deferred[None] | None = None
        self._path = state / database_name
        self._connect = connect
        segments_folder = state / "segments"
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            state.chmod(0o700)
            self._lock = database.Lock(state / "lock")
        except OSError as error:
            raise StartError(f"{state}: cannot be used for state: {error.strerror}: make it a folder that this user "
                             "may write, or set state to another") from None
        try:
            with database.opening(self._path):
                segments_folder.mkdir(mode=0o700, exist_ok=True)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                sync_folder(state)
                sync_folder(state.absolute().parent)
                room = Room(state, min_free, reserve, reactor.seconds, free)
                first = self._prepare_in(room)
                self._appender = appender(segments_folder, first, room, self._deliver_appended)
                self._writer = Writer(self._open_writer, room, reactor.seconds, self._deliver, self._died)
                self._reading = database.open_reader(self._path, connect)
        except StartError:
            self._lock.release()
            raise
        self._room = room
        self._put: Callable[[Any], None] = self._writer.put
        self._segments = Segments(segments_folder, self._appender)
        self._reader = Reader(lambda: database.open_reader(self._path, connect), self._deliver_read)
        self._leases = Leases(reactor.seconds)
        self._watchers = Watchers()
        self._purge = Purge(self.commit, self._segments, reactor)
        for thread in (self._writer.thread, self._reader.thread, self._appender.thread):
            thread.start()
        self._purge.wake()

    def _open_writer(self) -> apsw.Connection:
        return database.open_writer(self._path, self._connect)

    def _prepare_in(self, room: Room) -> int:
        """Prepare, on a full disk with the help of the reserve: a restart there must not take the mail away."""
        try:
            return self._prepare()
        except apsw.FullError:
            if not room.drop_ballast():
                raise
            return self._prepare()

    def _prepare(self) -> int:
        """Bring the tables up to date and recover; the first segment of this start."""
        connection = self._open_writer()
        try:
            schema.prepare(connection)
            with connection:
                queue.recover(connection)
                start: Any = connection.execute("UPDATE counter SET next = next + 1 WHERE name = 'start' "
                                                "RETURNING next").fetchall()
            epoch: Any = connection.execute("SELECT value FROM about WHERE name = 'epoch'").get
            self.epoch = str(epoch)
        finally:
            connection.close(True)
        return int(start[0][0]) * SEGMENTS_OF_A_START

    # --- what the threads tell, in their own thread ------------------------------------------------------------------

    def _deliver(self, done: Done) -> None:
        self._reactor.callFromThread(self._done, done)

    def _deliver_read(self, deferred: Deferred[Any], result: Any) -> None:
        self._reactor.callFromThread(_fire, deferred, result)

    def _deliver_appended(self, results: list[tuple[Callable[[Any], None], Any]]) -> None:
        self._reactor.callFromThread(_call_all, results)

    def _died(self, failure: Failure) -> None:
        self._reactor.callFromThread(self._dead, failure)

    def _done(self, done: Done) -> None:
        if done.broken is not None:
            log.critical("{path}: the disk is failing, a commit was given up and the data base is opened anew: {error}",
                         path=str(self._path), error=done.broken)
        for extents in done.extents:
            self._segments.committed(extents)
        for deferred, result in done.results:
            _fire(deferred, result)
        if done.touched or done.maildrops:
            self._watchers.tell(done.touched, done.maildrops)
        if done.made_garbage:
            self._purge.wake()

    def _dead(self, failure: Failure) -> None:
        self._put = _refuse
        self._purge.stop()
        self._on_death(failure)

    # --- writing -----------------------------------------------------------------------------------------------------

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """See IStore. A commit that is one long Unlink or one operator's change is made in slices, which a crash can
        part."""
        if len(changes) == 1:
            change = changes[0]
            if type(change) is Unlink and len(change.uids) > maildrops.SLICE:
                return self._unlink(change)
            if isinstance(change, operating.OPERATIONS):
                return self._operate(change)
        deferred: Deferred[tuple[object, ...]] = Deferred()
        self._put((changes, deferred))
        return deferred

    @inlineCallbacks
    def _unlink(self, change: Unlink) -> Generator[Deferred[Any], Any, tuple[object, ...]]:
        """Slice after slice, so that others commit between them."""
        for start in range(0, len(change.uids), maildrops.SLICE):
            yield self.commit(Unlink(change.user, change.uids[start:start + maildrops.SLICE]))
        return (None,)

    @inlineCallbacks
    def _operate(self, change: operating.Operation) -> Generator[Deferred[Any], Any, tuple[object, ...]]:
        """The deliveries that are there now, slice after slice."""
        until = yield self._read_later(lambda connection: connection.execute("SELECT max(id) FROM delivery").get)
        count = after = 0
        while ids := (yield self._search(selecting.Search(change.selection, after, operating.SLICE, until or 0))):
            count += (yield self._one(operating.Operate(change, tuple(ids))))
            after = ids[-1]
        return (count,)

    @inlineCallbacks
    def _search(self, search: selecting.Search) -> Generator[Deferred[Any], Any, list[int]]:
        """Step by step, so that other reads come between them."""
        while not (yield self._read_later(search.step)):
            pass
        return search.found

    def content(self) -> ContentWriter:
        """See IStore."""
        return self._segments.writer()

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, content: Content, offset: int, length: int) -> bytes:
        """See IStore."""
        return self._segments.read(content, offset, length)

    def pin(self, content: Content) -> Pin:
        """See IStore. Raises StoreError when a segment has gone: read the message again."""
        return self._segments.pin(content)

    def messages(self, ids: Sequence[int]) -> dict[int, Message]:
        """See IStore. Raises StoreError."""
        return self._read_now(maildrops.messages, ids)

    def recall(self, key: str) -> str | None:
        """See IStore. Raises StoreError."""
        return self._read_now(people.recall, key)

    def counter(self, name: str) -> int | None:
        """See IStore. Raises StoreError."""
        return self._read_now(people.counter, name)

    def remembered(self, prefix: str, after: str, limit: int) -> Deferred[dict[str, str]]:
        """See IStore."""
        if limit > PAGE:
            raise ValueError(f"at most {PAGE} values at a time")
        return self._read_later(lambda connection: people.remembered(connection, prefix, after, limit))

    def _read_now(self, read: Callable[[apsw.Connection, Any], Found], what: Any) -> Found:
        try:
            return read(self._reading, what)
        except apsw.Error as error:
            raise StoreError(f"the store could not be read: {error!r}") from None

    def snapshot(self, user: int) -> Deferred[Snapshot]:
        """See IStore."""
        return self._read_later(lambda connection: maildrops.snapshot(connection, user))

    def people(self) -> Deferred[People]:
        """See IStore."""
        return self._read_later(people.people)

    def people_now(self) -> People:
        """As `people`, in the calling thread: for the start, before the reactor runs."""
        return people.people(self._reading)

    def _read_later(self, read: Callable[[apsw.Connection], Any]) -> Deferred[Any]:
        if self._closed is not None:
            return fail(StoreError("the store is closed"))
        return self._reader.read(read)

    # --- leases, the queue --------------------------------------------------------------------------------------------

    def lease(self, name: str, owner: str, ttl: float) -> Deferred[bool]:
        """See IStore."""
        return succeed(self._leases.take(name, owner, ttl))

    def release(self, name: str, owner: str) -> Deferred[None]:
        """See IStore."""
        self._leases.release(name, owner)
        return succeed(None)

    def claim(self, owner: str, lane: int, limit: int, ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """See IStore."""
        return self._one(queue.Claim(owner, lane, limit, ttl))

    def renew(self, owner: str, deliveries: Sequence[Delivery], ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """See IStore."""
        return self._one(queue.Renew(owner, tuple(deliveries), ttl))

    def lanes(self) -> Deferred[tuple[Lane, ...]]:
        """See IStore."""
        return self._one(lanes.ListLanes())

    def ready(self, limit: int) -> Deferred[tuple[tuple[Lane, ...], float | None]]:
        """See IStore."""
        return self._one(lanes.ListReady(limit))

    @inlineCallbacks
    def queue(self, selection: Selection, after: int, limit: int) -> Any:
        """See IStore."""
        if limit > PAGE:
            raise ValueError(f"at most {PAGE} deliveries at a time")
        ids = yield self._search(selecting.Search(selection, after, limit))
        now = self._reactor.seconds()
        page = yield self._read_later(lambda connection: selecting.entries(connection, ids, now))
        return tuple(page)

    def _one(self, change: object) -> Deferred[Any]:
        return self.commit(change).addCallback(lambda receipts: receipts[0])

    def watch(self, topic: str, callback: Callable[[], object]) -> Callable[[], None]:
        """See IStore."""
        return self._watchers.add(topic, callback)

    def free_octets(self) -> int:
        """See IStore."""
        return self._room.free()

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> Deferred[None]:
        """See IStore. What is asked afterwards fails with StoreError."""
        if self._closed is None:
            self._closed = Deferred()
            self._purge.stop()
            put, self._put = self._put, _refuse
            self._reader.stop()
            self._segments.stop()
            if put is not _refuse:
                put(None)
            threading.Thread(target=self._join, name="store-close", daemon=True).start()
        return self._closed

    def _join(self) -> None:
        for thread in (self._writer.thread, self._reader.thread, self._appender.thread):
            thread.join()
        self._reactor.callFromThread(self._give_back)

    def _give_back(self) -> None:
        self._reading.close(True)
        self._segments.close()
        self._lock.release()
        assert self._closed is not None
        self._closed.callback(None)


def _fire(deferred: Deferred[Any], result: Any) -> None:
    if isinstance(result, Exception):
        deferred.errback(result)
    else:
        deferred.callback(result)


def _call_all(results: list[tuple[Callable[[Any], None], Any]]) -> None:
    for done, result in results:
        done(result)


def _refuse(work: Any) -> None:
    _, deferred = work
    deferred.errback(StoreError("the store is closed"))
