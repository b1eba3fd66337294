"""Whole messages in memory, in pieces, and a bounded number of octets at once."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mailbridge.content import Content
from mailbridge.interfaces import IStore
from mailbridge.limits import KIB

_PIECE = 64 * KIB
_PIECES_A_TURN = 8


class OctetsAtOnce:
    """Lets messages in while they have `most` octets together, in the order in which they come; one always."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._waiting: deque[tuple[Deferred[None], int]] = deque()

    def enter(self, octets: int) -> Deferred[None] | None:
        """Come in; a Deferred asks to wait for it, and may be cancelled."""
        if not self._waiting and self._fits(octets):
            self._inside += octets
            return None
        waiting: Deferred[None] = Deferred()
        self._waiting.append((waiting, octets))
        return waiting

    def leave(self, octets: int) -> None:
        """Once for each that came in."""
        self._inside -= octets
        while self._waiting:
            waiting, wanted = self._waiting[0]
            if not waiting.called and not self._fits(wanted):
                return
            self._waiting.popleft()
            if not waiting.called:  # else it was cancelled
                self._inside += wanted
                waiting.callback(None)

    def _fits(self, octets: int) -> bool:
        return not self._inside or self._inside + octets <= self._most


async def whole(store: IStore, content: Content, reactor: Any) -> tuple[bytes, ...]:
    """All of stored content in pieces, read with turns of the reactor in between. Raises StoreError.

    Never joined: for a large message that alone would take longer than a turn may.
    """
    if content.octets is not None:
        return (content.octets,)
    pieces: list[bytes] = []
    pin = store.pin(content)
    try:
        for at in range(0, content.size, _PIECE):
            pieces.append(store.read(content, at, min(_PIECE, content.size - at)))
            if len(pieces) % _PIECES_A_TURN == 0:
                await deferLater(reactor, 0)
    finally:
        pin.release()  # type: ignore[attr-defined]
    return tuple(pieces)
