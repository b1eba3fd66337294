"""The content of one message on its way to a server: no faster than the server reads, dotted or as one chunk.

The end mark goes out only when every octet that was promised has been read: a message that could not be read to its
end is never ended, so half of it never becomes a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mailbridge.errors import MailbridgeError
from mailbridge.lines import DotStuffer


class Source(Protocol):
    """The content to send: `size` octets with CR LF line ends, in chunks of at most 64 KiB."""

    @property
    def size(self) -> int:
        """Octets in all."""

    def chunks(self) -> Iterator[bytes]:
        """From the start, each time."""


class ContentChanged(MailbridgeError):
    """The source gave more or fewer octets than it had promised."""


@implementer(IPushProducer)
class ContentFlow:
    """`moved()` is called for each chunk, `done(error)` once: None when the end has been written."""

    def __init__(
        self, transport: Any, source: Source, chunked: bool, moved: Callable[[], object],
        done: Callable[[Exception | None], object],
    ) -> None:
        self._transport = transport
        self._size = source.size
        self._chunks: Iterator[bytes] | None = source.chunks()
        self._dots = None if chunked else DotStuffer()
        self._moved = moved
        self._done = done
        self._sent = 0
        self._paused = False
        self._busy = False

    def start(self) -> None:
        """Begin."""
        if self._dots is None:
            self._transport.write(b"BDAT %d LAST\r\n" % self._size)
        self._transport.registerProducer(self, True)
        self._pump()

    def stop(self) -> None:
        """Give up; `done` is not called any more."""
        if self._chunks is not None:
            self._chunks = None
            self._transport.unregisterProducer()

    def _pump(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._chunks is not None and not self._paused:
                self._next()
        finally:
            self._busy = False

    def _next(self) -> None:
        assert self._chunks is not None
        try:
            chunk = next(self._chunks, None)
            if (self._sent != self._size) if chunk is None else (self._sent + len(chunk) > self._size):
                raise ContentChanged("the message changed while it was being sent")
        except Exception as error:
            self.stop()
            self._done(error)
            return
        if chunk is not None:
            self._sent += len(chunk)
            self._moved()
            self._transport.write(self._dots.feed(chunk) if self._dots is not None else chunk)
            return
        self.stop()
        if self._dots is not None:
            self._transport.write(self._dots.finish())
        self._done(None)

    # --- IPushProducer ------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The server does not read as fast."""
        self._paused = True

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        """The connection is going; it tells the rest itself."""
        self._chunks = None
