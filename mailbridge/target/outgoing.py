"""Octets on their way into the pipe of a worker, in the order in which they were written, a little at a time.

A transport that is given all of a large message joins it into one buffer, which takes longer than a reactor turn may
(DESIGN invariant 6). So what is large stays in pieces until the pipe has room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from mailbridge.limits import KIB

AT_ONCE = 128 * KIB


@implementer(IPullProducer)
class Outgoing:
    """Writes to `transport`, one that takes a pull producer. Never raises, also when the other end is gone."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces: deque[bytes] = deque()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write all `pieces`, none much longer than AT_ONCE, after what was written before."""
        if self._pieces:
            self._pieces.extend(pieces)
        elif sum(map(len, pieces)) <= AT_ONCE:
            for piece in pieces:
                self._transport.write(piece)
        else:
            self._pieces.extend(pieces)
            self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """See IPullProducer: the pipe is empty."""
        written = 0
        while self._pieces and written < AT_ONCE:
            written += len(self._pieces[0])
            self._transport.write(self._pieces.popleft())
        if not self._pieces:
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """See IPullProducer: the other end is gone."""
        self._pieces.clear()
