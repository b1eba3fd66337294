"""The purge: frees in the background what was unlinked, in slices between which others commit.

One slice is in flight at a time, with a pause after it. When no garbage is left it drops dead segments and moves
content out of segments that are less than half alive. All it does is safe to repeat after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.content import Content, Extent
from mailbridge.errors import StoreError, StoreFull
from mailbridge.store.garbage import DropSegments, Free, ListSegments, Relocate, Residents
from mailbridge.store.segments import BLOCK, Segments

log = Logger()

SLICE = 100
PAUSE = 0.002
IDLE = 60.0
AFTER_ERROR = 30.0
MOVED_AT_ONCE = 16

Commit = Callable[..., "Deferred[tuple[Any, ...]]"]


class Purge:
    """Runs by `clock` from `start` to `stop`; `commit` is the store's own."""

    def __init__(self, commit: Commit, segments: Segments, clock: IReactorTime) -> None:
        self._commit = commit
        self._segments = segments
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._turning = False
        self._again = False
        self._stopped = False
        self._unmovable: set[int] = set()

    def wake(self) -> None:
        """There is garbage, or may be."""
        if self._turning:
            self._again = True
        elif self._call is None:
            self._after(PAUSE)
        else:
            self._call.cancel()
            self._after(PAUSE)

    def stop(self) -> None:
        """No more slices; what is in flight ends by itself."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _after(self, seconds: float) -> None:
        if not self._stopped:
            self._call = self._clock.callLater(seconds, self._start)

    def _start(self) -> None:
        self._call = None
        self._turning = True
        self._turn().addBoth(self._turned)

    def _turned(self, result: Any) -> None:
        self._turning = False
        if isinstance(result, bool):
            again, self._again = result or self._again, False
            self._after(PAUSE if again else IDLE)
        else:
            if self._stopped:
                return
            if result.check(StoreError):
                log.warn("the purge waits: {error}", error=result.getErrorMessage())
            else:
                log.failure("the purge failed", failure=result)
            self._after(AFTER_ERROR)

    @inlineCallbacks
    def _turn(self) -> Generator[Deferred[Any], Any, bool]:
        """One slice; True when there is more to do at once."""
        (more,) = yield self._commit(Free(SLICE))
        if more:
            return True
        idle = self._segments.idle()
        (live,) = yield self._commit(ListSegments())
        empty = tuple(segment for segment in idle if not live.get(segment))
        if empty:
            (dead,) = yield self._commit(DropSegments(empty))
            self._segments.drop(dead)
        for segment, size in self._segments.sizes().items():
            if 0 < live.get(segment, 0) < size // 2 and segment not in self._unmovable:
                moved = yield self._move_out(segment)
                return bool(moved)
        return False

    @inlineCallbacks
    def _move_out(self, segment: int) -> Generator[Deferred[Any], Any, bool]:
        """Copy some of what lives in a segment to the current one; False when the store stops."""
        (residents,) = yield self._commit(Residents(segment, MOVED_AT_ONCE))
        for message, extents in residents:
            if self._stopped:
                return False
            try:
                yield self._move(message, extents)
            except StoreFull:
                raise
            except StoreError as error:
                log.error("segment {segment:012x} is left as it is: {error}", segment=segment, error=str(error))
                self._unmovable.add(segment)
                break
        return True

    @inlineCallbacks
    def _move(self, message: int, extents: tuple[Extent, ...]) -> Generator[Deferred[Any], Any, None]:
        old = Content(sum(extent.length for extent in extents), None, extents)
        writer = self._segments.writer()
        pin = self._segments.pin(old)
        try:
            for offset in range(0, old.size, BLOCK):
                pause = writer.write(self._segments.read(old, offset, BLOCK))
                if pause is not None:
                    yield pause
            new = yield maybeDeferred(writer.finish)
            yield self._commit(Relocate(message, extents, new.extents))
        finally:
            pin.release()
            writer.abort()
