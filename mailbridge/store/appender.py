"""The appender: one thread that appends blocks of content to the current segment file and syncs it for many at once.

Crash order: append, sync, COMMIT (the writer), reply. A new segment is begun at every start and when one is full; its
file and folder are synced once. Old segments are never written to or truncated again: what a crash left at their end
belongs to nobody. After a sync that failed the segment is given up: what it holds unsynced cannot be trusted, and its
descriptor is never synced again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from attrs import define, field

from mailbridge.content import Content, Extent
from mailbridge.errors import StoreError, StoreFull
from mailbridge.store.room import Room
from mailbridge.store.sync import sync_data, sync_file, sync_folder

ROLL = 64 * 1024 * 1024
TASKS = 64  # of one sync


@define(eq=False)
class Stream:
    """The content of one message on its way to disk. After the first block only the appender's thread writes to it.

    `since` is the lowest segment it can touch.
    """

    since: int
    extents: list[Extent] = field(factory=list)
    failure: StoreError | None = None
    aborted: bool = False


@define
class Task:
    """Octets to append; `last` asks for the sync, and `content` says what to answer then."""

    stream: Stream
    octets: bytes
    done: Callable[[Any], None]
    size: int = 0
    ends_in_newline: bool = True
    eight_bit: bool = False
    last: bool = False


class Appender:
    """Owns the current segment of `folder`; `deliver(list of (done, result))` is called in the thread, once a turn."""

    def __init__(self, folder: Path, first: int, room: Room, deliver: Callable[[list[tuple[Any, Any]]], None],
                 roll: int = ROLL, sync: Callable[[int], None] = sync_data,
                 write: Callable[[int, Any, int], int] = os.pwrite) -> None:
        self.current = first
        """The segment that is written to, or will be."""
        self._folder = folder
        self._room = room
        self._deliver = deliver
        self._roll = roll
        self._sync = sync
        self._write = write
        self._descriptor: int | None = None
        self._end = 0
        self._dirty = False
        self._given_up: set[int] = set()
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self.put = self._queue.put
        """Give it a Task; None ends the thread after what was given before."""
        self.thread = threading.Thread(target=self._run, name="store-appender", daemon=True)

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return self._folder / f"{segment:012x}"

    def _run(self) -> None:
        open_ = True
        while open_:
            tasks = [self._queue.get()]
            try:
                while len(tasks) < TASKS:
                    tasks.append(self._queue.get_nowait())
            except Empty:
                pass
            if tasks[-1] is None:
                open_ = False
            self._deliver(self._turn([task for task in tasks if task is not None]))
        self._close()

    def _turn(self, tasks: list[Task]) -> list[tuple[Any, Any]]:
        for task in tasks:
            stream = task.stream
            if stream.failure is None and not stream.aborted:
                try:
                    self._append(stream, task.octets)
                except (OSError, StoreError) as error:
                    stream.failure = _store_error(error)
        if self._dirty and any(task.last and not task.stream.failure for task in tasks):
            try:
                self._sync_current()
            except (OSError, StoreError) as error:
                for task in tasks:
                    task.stream.failure = task.stream.failure or _store_error(error)
        results: list[tuple[Any, Any]] = []
        for task in tasks:
            stream = task.stream
            if stream.failure is None and any(extent.segment in self._given_up for extent in stream.extents):
                stream.failure = StoreError("the segment that held the content had to be given up")
            if task.last:
                content = Content(task.size, None, tuple(stream.extents), task.ends_in_newline, task.eight_bit)
                results.append((task.done, stream.failure or content))
            else:
                results.append((task.done, stream.failure))
        return results

    def _append(self, stream: Stream, octets: bytes) -> None:
        if not octets:
            return
        if self._room.short(len(octets)):
            raise StoreFull("less than min_free is left on the disk of the store")
        if self._descriptor is not None and self._end + len(octets) > self._roll and self._end:
            self._begin_next()
        if self._descriptor is None:
            self._descriptor = self._create()
        written = 0
        view = memoryview(octets)
        self._dirty = True
        while written < len(octets):
            written += self._write(self._descriptor, view[written:], self._end + written)
        extents = stream.extents
        if extents and extents[-1].segment == self.current and extents[-1].offset + extents[-1].length == self._end:
            extents[-1] = Extent(self.current, extents[-1].offset, extents[-1].length + len(octets))
        else:
            extents.append(Extent(self.current, self._end, len(octets)))
        self._end += len(octets)

    def _create(self) -> int:
        path = self.path(self.current)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            self._next()
            return self._create()
        try:
            sync_file(descriptor)
            sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            self._next()
            raise
        return descriptor

    def _begin_next(self) -> None:
        """Roll: what the old segment holds is synced before anything goes to the next."""
        if self._dirty:
            self._sync_current()
        self._close()
        self._next()

    def _sync_current(self) -> None:
        assert self._descriptor is not None
        try:
            self._sync(self._descriptor)
        except OSError:
            self._given_up.add(self.current)
            self._close()
            self._next()
            raise
        self._dirty = False

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _next(self) -> None:
        self.current += 1
        self._end = 0
        self._dirty = False


def _store_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("the disk of the store is full")
    return StoreError(f"the content could not be written: {error}")
