"""The way out of a POP3 session: answers as they come, long ones piece by piece, none faster than the client reads.

Promises: a client that does not read costs no more than WRITE_AHEAD octets, the transport's own 64 KiB and one turn of
answers. A transport tells only a registered producer that its buffer is full, and the eager one is not eager while one
is registered: so we register for a moment once in 64 KiB, and while a long answer is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from mailbridge.pop3.message import close
from mailbridge.pop3.server import Server

WRITE_AHEAD = 64 * 1024  # octets written before we look whether the client reads at all


@implementer(IPushProducer)
class Outflow:
    """Mixed into the session, which has a `transport` and a core to be paused, resumed and told of the end."""

    transport: Any
    peer: str
    _log = Logger()
    _core: Server
    _pieces: Iterator[bytes] | None = None
    _unread = 0
    _producing = False

    def write(self, octets: bytes) -> None:
        """Send answers."""
        self._unread += len(octets)
        if self._unread < WRITE_AHEAD or self._producing:
            self.transport.write(octets)
            return
        self._produce(True)
        self.transport.write(octets)
        if not self._core.paused:
            self._produce(False)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send pieces, one after the other as the transport's buffer empties."""
        self._pieces = pieces
        self._produce(True)
        if not self._core.paused:
            self._pump()

    def _pump(self) -> None:
        core, pieces = self._core, self._pieces
        while pieces is not None and not core.paused:
            try:
                piece = next(pieces, None)
            except Exception:
                self._log.failure("a message could not be sent whole to {peer}", peer=self.peer)
                self.transport.abortConnection()
                return
            if piece is None:
                self._pieces = pieces = None
                self._produce(False)
                core.streamed()
            else:
                self.transport.write(piece)

    def _produce(self, on: bool) -> None:
        if on is not self._producing:
            self._producing = on
            self._unread = 0
            if on:
                self.transport.registerProducer(self, True)
            else:
                self.transport.unregisterProducer()

    def _stop(self) -> None:
        """Send no more pieces."""
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            close(pieces)

    def _settle(self) -> None:
        """After each piece of work."""
        raise NotImplementedError

    def pauseProducing(self) -> None:
        """The transport's buffer is full: the client does not read."""
        self._core.pause()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        core = self._core
        core.paused = False
        if self._pieces is not None:
            self._pump()
        else:
            self._produce(False)
            core.resume()
        self._settle()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""
        self._stop()
