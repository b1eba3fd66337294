"""The writer: one thread, the one read-write connection; values in, receipts out.

Group commit: while one transaction is being synced, commits gather, and the next transaction takes what waits. A batch
is not an error domain: after any error the transaction is rolled back and each commit tried alone, so only the bad one
fails. After an I/O error the whole batch fails and the connection is opened anew, which recovers. A bug in the thread
itself fails all who wait and is told to `died`: a store without its writer must not go on.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import apsw
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailbridge.errors import StoreError, StoreFull
from mailbridge.limits import KIB
from mailbridge.store.accept import look_up_keys
from mailbridge.store.apply import APPLY
from mailbridge.store.batch import Batch, Known
from mailbridge.store.changes import Accept
from mailbridge.store.room import Room
from mailbridge.store.settling import settle_all

COMMITS = 256  # of one transaction
ROWS = 4000
TRANSACTION = 32 * KIB  # octets that the log grows by at the least: pages of the tables and their indexes
ROW = 4 * KIB  # octets that a message takes beside its content
LINGER = 0.001
"""Seconds a busy writer lets commits gather: fewer transactions, syncs and wake-ups for the same mail."""

Work = tuple[tuple[object, ...], "Deferred[tuple[object, ...]]"]
_BROKEN = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ProtocolError)


@define
class Done:
    """What one turn of the writer tells the reactor: results to hand out, and what was changed."""

    results: list[tuple[Any, Any]] = field(factory=list)
    touched: set[str] = field(factory=set)
    maildrops: set[int] = field(factory=set)
    extents: list[Any] = field(factory=list)
    made_garbage: bool = False
    broken: str | None = None


class Writer:
    """Owns the connection that `connect` opens. `deliver(Done)` and `died(Failure)` are called in the thread."""

    def __init__(self, connect: Callable[[], apsw.Connection], room: Room, now: Callable[[], float],
                 deliver: Callable[[Done], None], died: Callable[[Failure], None]) -> None:
        self._connect = connect
        self._room = room
        self._now = now
        self._deliver = deliver
        self._died = died
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: deque[Work] = deque()
        self._closing = False
        self._connection: apsw.Connection | None = connect()
        self._known = Known(self._connection)
        self._ids_before = self._known.ids
        self.put = self._queue.put
        """Give it work: (changes, Deferred); None ends the thread after what was given before."""
        self.thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def _run(self) -> None:
        working: list[Work] = []
        try:
            while working := self._take():
                done = Done()
                self._write(working, done)
                working = []
                self._deliver(done)
            if self._connection is not None:
                self._connection.close()
        except BaseException:
            failure = Failure()
            lost = working + list(self._waiting)
            while True:
                try:
                    work = self._queue.get_nowait()
                except Empty:
                    break
                if work is not None:
                    lost.append(work)
            error = StoreError("the store's writer died")
            self._deliver(Done([(deferred, error) for _, deferred in lost]))
            self._died(failure)

    def _take(self) -> list[Work]:
        """Wait for work, then take all that waits, up to a batch. Empty at the end."""
        waiting = self._waiting
        if not waiting and not self._closing:
            busy = not self._queue.empty()
            self._add(self._queue.get())
            if busy:  # work came while the last batch was synced, so more is on its way: a lone client never waits
                time.sleep(LINGER)
        try:
            while len(waiting) < COMMITS and not self._closing:
                self._add(self._queue.get_nowait())
        except Empty:
            pass
        taken: list[Work] = []
        rows = 0
        while waiting and len(taken) < COMMITS and rows < ROWS:
            work = waiting.popleft()
            taken.append(work)
            for change in work[0]:
                if type(change) is Accept:
                    rows += 1 + len(change.deposits) + len(change.deliveries)
                else:
                    rows += len(getattr(change, "uids", ()) or getattr(change, "ids", ())) or 10
        return taken

    def _add(self, work: Work | None) -> None:
        if work is None:
            self._closing = True
        else:
            self._waiting.append(work)

    def _write(self, working: list[Work], done: Done) -> None:
        """Do the work and note every result in `done`."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._known = Known(self._connection)
            missing = self._room.short(_growth(working))
            if missing and self._reusable(self._connection) < missing:
                working = self._refuse(working, done)
            if working:
                self._transact(self._connection, working, done)
        except _BROKEN as error:
            self._break(working, done, error)
        except Exception as error:
            if not self._roll_back():
                self._break(working, done, error)
            elif len(working) > 1:
                for work in working:
                    self._write([work], done)
            elif isinstance(error, apsw.FullError) and not _has_accept(working[0]) and self._room.drop_ballast():
                self._empty_log()
                self._write(working, done)
            else:
                done.results.append((working[0][1], _known_error(error)))

    def _refuse(self, working: list[Work], done: Done) -> list[Work]:
        """Fail the Accepts; deleting, settling and the rest go on."""
        error = StoreFull("less than min_free is left on the disk of the store")
        rest = []
        for work in working:
            if _has_accept(work):
                done.results.append((work[1], error))
            else:
                rest.append(work)
        return rest

    def _empty_log(self) -> None:
        """Bring the log into the data base and cut it: on a small disk it is most of what is used.

        Not when the data base would have to grow by more than is free, which would only take the room away.
        """
        connection = self._connection
        if connection is not None:
            with suppress(apsw.Error, OSError):
                size = int(connection.pragma("page_count")) * int(connection.pragma("page_size"))
                if size - os.path.getsize(connection.filename) < self._room.free():
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @staticmethod
    def _reusable(connection: apsw.Connection) -> int:
        """Octets of free pages inside the data base: the next rows use them before the file grows."""
        return int(connection.pragma("freelist_count")) * int(connection.pragma("page_size"))

    def _transact(self, connection: apsw.Connection, working: list[Work], done: Done) -> None:
        batch = Batch(connection, self._known, self._now())
        results = []
        self._ids_before = dict(self._known.ids)
        connection.execute("BEGIN IMMEDIATE")
        look_up_keys(batch, (change for changes, _ in working for change in changes))
        for changes, deferred in working:
            receipts: list[object] = []
            for change in changes:
                APPLY[type(change)](batch, change, receipts)
            results.append((deferred, receipts))
        settle_all(batch)
        batch.flush()
        connection.execute("COMMIT")
        done.results += [(deferred, tuple(receipts)) for deferred, receipts in results]
        done.touched |= batch.touched
        done.maildrops |= batch.maildrops
        done.extents += batch.settled_extents
        done.made_garbage |= batch.made_garbage

    def _roll_back(self) -> bool:
        """False when the connection can no longer be used."""
        connection = self._connection
        if connection is None:
            return False
        try:
            if not connection.get_autocommit():
                connection.execute("ROLLBACK")
            self._known = Known(connection, self._ids_before)
        except apsw.Error:
            return False
        return True

    def _break(self, working: list[Work], done: Done, error: Exception) -> None:
        """The batch fails; the next one opens a new connection, and SQLite recovers what the log holds."""
        done.broken = str(error)
        failed = StoreError(f"the store's disk is failing: {error}")
        done.results += [(deferred, failed) for _, deferred in working]
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)


def _growth(working: list[Work]) -> int:
    """About what the files grow by: the pages of the log and, for new mail, its rows there and in the data base."""
    return TRANSACTION + sum(
        2 * (change.envelope.content.size if change.envelope.content.octets is not None else 0) + ROW
        for changes, _ in working for change in changes if type(change) is Accept
    )


def _has_accept(work: Work) -> bool:
    return any(type(change) is Accept for change in work[0])


def _known_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if isinstance(error, apsw.FullError):
        return StoreFull("the disk of the store is full")
    return StoreError(f"the store could not do it: {error!r}")
