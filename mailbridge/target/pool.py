"""Open sessions, kept for the next message to the same destination.

Promises: at most `connections` in use at a time for a destination, at most `messages` transactions over one, none kept
idle for longer than `idle` seconds, at most `MOST_KEPT` kept in all; one sweep a second, only while there is something
to sweep. A session that the server closed meanwhile is never handed out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall

MOST_KEPT = 500
SWEEP_SECONDS = 1.0


class Session(Protocol):
    """What the pool knows of an `edge.sending.Conversation`."""

    transactions: int

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried here."""

    async def quit(self) -> None:
        """Say goodbye and close. Never fails."""

    def close(self) -> None:
        """Close at once."""


@frozen
class PoolLimits:
    """For each destination: connections at a time, transactions over one, seconds that one is kept without work."""

    connections: int = 10
    messages: int = 100
    idle: float = 30.0


@frozen(eq=False)
class _Kept:
    session: Any
    since: float


class Pool:
    """`clock` is the reactor. `on_sweep()` is called once a second while somebody holds a place."""

    def __init__(self, clock: Any, limits: PoolLimits, on_sweep: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._limits = limits
        self._on_sweep = on_sweep
        self._busy: dict[str, int] = {}
        self._waiting: dict[str, deque[Deferred[None]]] = {}
        self._kept: dict[str, list[_Kept]] = {}
        self._count = 0
        self._leaving: set[Deferred[None]] = set()
        self._timer: IDelayedCall | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many sessions are kept without work."""
        return self._count

    # --- places -------------------------------------------------------------------------------------------------------

    def enter(self, destination: str) -> Deferred[None] | None:
        """Take a place for a destination; a Deferred asks to wait for it."""
        busy = self._busy.get(destination, 0)
        if busy < self._limits.connections:
            self._busy[destination] = busy + 1
            self._wind_up()
            return None
        queue = self._waiting.setdefault(destination, deque())
        waiting: Deferred[None] = Deferred(queue.remove)
        queue.append(waiting)
        return waiting

    def leave(self, destination: str) -> None:
        """Give the place back, to whoever waits longest."""
        queue = self._waiting.get(destination)
        if queue:
            queue.popleft().callback(None)
            return
        self._waiting.pop(destination, None)
        busy = self._busy[destination] - 1
        if busy:
            self._busy[destination] = busy
        else:
            del self._busy[destination]

    # --- sessions -----------------------------------------------------------------------------------------------------

    def take(self, destination: str) -> Any | None:
        """The session for a destination that was in use last, None when there is none."""
        kept = self._kept.get(destination)
        while kept:
            session = kept.pop().session
            self._count -= 1
            if not kept:
                del self._kept[destination]
            if session.usable:
                return session
            session.close()
        return None

    def keep(self, destination: str, session: Session) -> None:
        """Take a session back after use. One that is worn out or no more needed says goodbye."""
        if not session.usable:
            session.close()
        elif self._closed or session.transactions >= self._limits.messages or self._count >= MOST_KEPT or (
            self._limits.idle <= 0
        ):
            self._dismiss(session)
        else:
            self._kept.setdefault(destination, []).append(_Kept(session, self._clock.seconds()))
            self._count += 1
            self._wind_up()

    def close(self) -> Deferred[Any]:
        """Let all that are kept go; fires when they have gone. Those in use go when they come back."""
        self._closed = True
        kept, self._kept, self._count = self._kept, {}, 0
        for sessions in kept.values():
            for each in sessions:
                self._dismiss(each.session)
        if self._timer is not None and not self._busy:
            self._timer.cancel()
            self._timer = None
        return DeferredList(list(self._leaving))

    def _dismiss(self, session: Session) -> None:
        leaving: Deferred[None] = Deferred.fromCoroutine(session.quit())
        if not leaving.called:
            self._leaving.add(leaving)
            leaving.addBoth(lambda _: self._leaving.discard(leaving))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        oldest = self._clock.seconds() - self._limits.idle
        for destination, sessions in list(self._kept.items()):
            old = [each for each in sessions if each.since <= oldest or not each.session.usable]
            if not old:
                continue
            self._count -= len(old)
            staying = [each for each in sessions if each not in old]
            if staying:
                self._kept[destination] = staying
            else:
                del self._kept[destination]
            for each in old:
                self._dismiss(each.session)
        self._on_sweep()
        if self._kept or self._busy:
            self._wind_up()
