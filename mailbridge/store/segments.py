"""Content: small in its row, large in segment files; writers, readers and pins. All in the reactor's thread.

Content up to 16 KiB never leaves memory until its row is committed. Larger content goes to the appender in blocks of
64 KiB. A segment file is unlinked only when the data base knows nothing in it, no reader has it pinned, and no content
that could still be committed can be in it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailbridge.content import Content, Extent
from mailbridge.errors import StoreError
from mailbridge.interfaces import IContentWriter
from mailbridge.store.appender import Appender, Stream, Task

SMALL = 16 * 1024
BLOCK = 64 * 1024
IN_FLIGHT = 16  # blocks of one writer: they go on while others are synced
CROWDED = 512  # blocks of all writers (32 MiB); from here on one writer has no more than
IN_FLIGHT_CROWDED = 4
DESCRIPTORS = 64


class Segments:
    """The segment files of a store."""

    def __init__(self, folder: Path, appender: Appender) -> None:
        self._folder = folder
        self._appender = appender
        self.in_flight = 0
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._pins: dict[int, int] = {}
        self._doomed: set[int] = set()
        self._open: dict[ContentWriter, int] = {}
        self._finished: dict[tuple[Extent, ...], ContentWriter] = {}
        self._stopped = False

    def allowance(self) -> int:
        """How many blocks one writer may have under way just now."""
        return IN_FLIGHT if self.in_flight < CROWDED else IN_FLIGHT_CROWDED

    def writer(self) -> ContentWriter:
        """A writer for the content of one message."""
        return ContentWriter(self)

    def read(self, content: Content, offset: int, length: int) -> bytes:
        """At most `length` octets from `offset`. Raises StoreError."""
        if content.octets is not None:
            return content.octets[offset:offset + length]
        pieces = []
        for extent in content.extents:
            if offset < extent.length and length > 0:
                piece = self._read(extent, offset, min(length, extent.length - offset))
                pieces.append(piece)
                length -= len(piece)
                offset = 0
            else:
                offset = max(0, offset - extent.length)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read(self, extent: Extent, offset: int, length: int) -> bytes:
        try:
            octets = os.pread(self._descriptor(extent.segment), length, extent.offset + offset)
        except OSError as error:
            raise StoreError(f"segment {extent.segment:012x} cannot be read: {error}") from None
        if len(octets) != length:
            raise StoreError(f"segment {extent.segment:012x} ends before offset {extent.offset + offset + length}")
        return octets

    def _descriptor(self, segment: int) -> int:
        descriptor = self._descriptors.pop(segment, None)
        if descriptor is None:
            descriptor = os.open(self._appender.path(segment), os.O_RDONLY | os.O_CLOEXEC)
            if len(self._descriptors) >= DESCRIPTORS:
                os.close(self._descriptors.popitem(last=False)[1])
        self._descriptors[segment] = descriptor
        return descriptor

    def pin(self, content: Content) -> Pin:
        """Keep the segments of `content`. Raises StoreError when one has gone (the message was moved or freed)."""
        segments = {extent.segment for extent in content.extents}
        for segment in segments:
            if segment not in self._pins and not self._appender.path(segment).exists():
                raise StoreError(f"segment {segment:012x} is gone: read the message again")
        for segment in segments:
            self._pins[segment] = self._pins.get(segment, 0) + 1
        return Pin(self, segments)

    def unpin(self, segments: Iterable[int]) -> None:
        """One reader less; a segment that only waited for it is unlinked."""
        for segment in segments:
            self._pins[segment] -= 1
            if not self._pins[segment]:
                del self._pins[segment]
                if segment in self._doomed:
                    self._unlink(segment)

    def begun(self, writer: ContentWriter) -> Stream:
        """`writer` is about to give its first block to the appender."""
        stream = Stream(self._appender.current)
        self._open[writer] = stream.since
        return stream

    def append(self, task: Task) -> None:
        """Give a block to the appender."""
        if self._stopped:
            task.done(StoreError("the store is closed"))
        else:
            self._appender.put(task)

    def stop(self) -> None:
        """Write what was given, then end the appender's thread."""
        self._stopped = True
        self._appender.put(None)

    def finished(self, writer: ContentWriter, content: Content) -> None:
        """The content is synced; it is kept until it is committed or aborted."""
        if writer in self._open:
            self._finished[content.extents] = writer

    def forget(self, writer: ContentWriter, extents: tuple[Extent, ...]) -> None:
        """The content was aborted."""
        self._open.pop(writer, None)
        self._finished.pop(extents, None)

    def committed(self, extents: tuple[Extent, ...]) -> None:
        """A row refers to these extents now: the data base keeps the count of their segments."""
        writer = self._finished.pop(extents, None)
        if writer is not None:
            self._open.pop(writer, None)

    def idle(self) -> list[int]:
        """The segments on disk that no content which could still be committed can touch, and no reader has pinned."""
        lowest = min(self._open.values(), default=self._appender.current)
        lowest = min(lowest, self._appender.current)
        return sorted(segment for segment in stored_segments(self._folder)
                      if segment < lowest and segment not in self._pins and segment not in self._doomed)

    def sizes(self) -> dict[int, int]:
        """Size in octets of every segment but the current one, oldest first."""
        return {segment: size for segment, size in sorted(stored_segments(self._folder).items())
                if segment < self._appender.current}

    def drop(self, segments: Iterable[int]) -> None:
        """The data base has forgotten these: unlink each, once nobody reads it."""
        for segment in segments:
            if segment in self._pins:
                self._doomed.add(segment)
            else:
                self._unlink(segment)

    def _unlink(self, segment: int) -> None:
        self._doomed.discard(segment)
        descriptor = self._descriptors.pop(segment, None)
        if descriptor is not None:
            os.close(descriptor)
        self._appender.path(segment).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the descriptors of readers."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def stored_segments(folder: Path) -> dict[int, int]:
    """Size in octets of every segment file in a folder; other files are passed over."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found[int(entry.name, 16)] = entry.stat().st_size
            except (ValueError, FileNotFoundError):
                continue
    return found


class Pin:
    """Holds segments until `release`, which may be called more than once."""

    def __init__(self, segments: Segments, held: set[int]) -> None:
        self._segments = segments
        self._held = held

    def release(self) -> None:
        """Let the segments go."""
        held, self._held = self._held, set()
        self._segments.unpin(held)


@implementer(IContentWriter)
class ContentWriter:
    """Gathers the content of one message; see IContentWriter."""

    def __init__(self, segments: Segments) -> None:
        self.size = 0
        self._segments = segments
        self._parts: list[bytes] = []
        self._held = 0
        self._tail = b""
        self._eight_bit = False
        self._stream: Stream | None = None
        self._failure: StoreError | None = None
        self._in_flight = 0
        self._room: list[Deferred[None]] = []
        self._extents: tuple[Extent, ...] = ()
        self._over = False

    def write(self, octets: bytes) -> Deferred[None] | None:
        """Add octets; a Deferred asks for a pause. Raises StoreError once a block has failed."""
        if self._failure is not None:
            raise self._failure
        if self._over:
            raise StoreError("the content was finished or aborted already")
        self.size += len(octets)
        self._parts.append(octets)
        self._held += len(octets)
        if self._held >= BLOCK:
            self._give(False)
            if self._in_flight > self._segments.allowance():
                deferred: Deferred[None] = Deferred()
                self._room.append(deferred)
                return deferred
        return None

    def _give(self, last: bool) -> Deferred[Content]:
        octets = b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        self._tail = (self._tail + octets[-2:])[-2:]
        self._eight_bit = self._eight_bit or not octets.isascii()
        if self._stream is None:
            self._stream = self._segments.begun(self)
        stream = self._stream
        self._in_flight += 1
        self._segments.in_flight += 1
        deferred: Deferred[Content] = Deferred()

        def done(result: Content | StoreError | None) -> None:
            self._in_flight -= 1
            self._segments.in_flight -= 1
            if isinstance(result, StoreError):
                self._failure = result
                self._segments.forget(self, ())
            if self._in_flight <= self._segments.allowance() // 2:
                room, self._room = self._room, []
                for waiting in room:
                    waiting.callback(None)
            if not last:
                return
            if isinstance(result, Content) and not stream.aborted:
                self._extents = result.extents
                self._segments.finished(self, result)
                deferred.callback(result)
            else:
                deferred.errback(self._failure or StoreError("the content was aborted"))

        self._segments.append(Task(stream, octets, done, self.size, self._tail == b"\r\n", self._eight_bit, last))
        return deferred

    def finish(self) -> Content | Deferred[Content]:
        """Small content at once, large content when it is synced."""
        if self._over or self._failure is not None:
            return fail(self._failure or StoreError("the content was finished or aborted already"))
        self._over = True
        if self._stream is None and self.size <= SMALL:
            octets = b"".join(self._parts)
            self._parts.clear()
            return Content.of(octets)
        return self._give(True)

    def abort(self) -> None:
        """Forget the octets."""
        self._over = True
        self._parts.clear()
        if self._stream is not None:
            self._stream.aborted = True
            self._segments.forget(self, self._extents)
