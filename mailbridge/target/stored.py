"""A stored message as the source of a transaction: as it is, or with 7-bit octets only; never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from mailbridge.content import Content
from mailbridge.interfaces import IStore
from mailbridge.message.recode import Plan, recoded, survey

CHUNK = 64 * 1024
_RECODE_CHUNK = 16 * 1024  # grows to three times that at the most
_PIECES_A_TURN = 4


@frozen
class Stored:
    """The content as it lies in the store."""

    store: IStore
    content: Content

    @property
    def size(self) -> int:
        """Octets."""
        return self.content.size

    @property
    def ends_in_newline(self) -> bool:
        """Whether the last line is whole."""
        return self.content.ends_in_newline

    def chunks(self, length: int = CHUNK) -> Iterator[bytes]:
        """From the start. Raises StoreError."""
        content = self.content
        if content.octets is not None and content.size <= length:
            yield content.octets
            return
        for offset in range(0, content.size, length):
            yield self.store.read(content, offset, length)


@frozen
class Recoded:
    """The content without 8-bit octets."""

    source: Stored
    plan: Plan
    size: int
    ends_in_newline: bool

    def chunks(self) -> Iterator[bytes]:
        """From the start."""
        return recoded(self.source.chunks(_RECODE_CHUNK), self.plan)


async def recode(reactor: Any, source: Stored) -> Recoded:
    """Find out how to recode and how long it becomes, a few chunks a reactor turn. Raises CannotRecode, StoreError."""
    surveying = survey(source.chunks(_RECODE_CHUNK))
    plan: Plan | None = None
    while plan is None:
        try:
            for _ in range(_PIECES_A_TURN):
                next(surveying)
        except StopIteration as stop:
            plan = stop.value
        await _turn(reactor)
    size, since, tail = 0, 0, b""
    for piece in recoded(source.chunks(_RECODE_CHUNK), plan):
        size += len(piece)
        since += len(piece)
        tail = (tail + piece)[-2:]
        if since >= CHUNK:
            since = 0
            await _turn(reactor)
    return Recoded(source, plan, size, tail == b"\r\n")


def _turn(reactor: Any) -> Deferred[None]:
    """Let others work."""
    turn: Deferred[None] = Deferred()
    call = reactor.callLater(0, turn.callback, None)
    turn.addErrback(lambda failure: (call.active() and call.cancel(), failure)[1])
    return turn
