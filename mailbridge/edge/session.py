"""What every session has in common: a place in the count, a deadline, and an orderly end.

One sweep a second looks at the deadlines of all sessions: resetting a timer for every line would cost 14 % of a
session's work. Limits count per client address over all listeners (IPv6 by /64, so that one client is one client).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from math import inf

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.limits import Limits


class Session:
    """Mixed in before twisted.mail's protocol class, so that ours wins.

    `peer` is the client's address as text. `deadline` is the clock's second after which the sweep calls `expire`;
    infinity while the bridge itself is at work.
    """

    peer: str = ""
    deadline: float = inf

    def expire(self) -> None:
        """The deadline has passed: tell the client and close."""
        raise NotImplementedError

    def shut_down(self) -> None:
        """The bridge stops: close as soon as nothing is half done."""
        raise NotImplementedError


@lru_cache(maxsize=4096)
def client_key(peer: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Sessions:
    """All open sessions of all listeners."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self.limits = limits
        self._clock = clock
        self._open: dict[Session, str] = {}
        self._per_client: dict[str, int] = {}
        self._tick: IDelayedCall | None = None
        self._empty: list[Deferred[None]] = []
        self._ending = False

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        """Begin to sweep."""
        self._tick = self._clock.callLater(1.0, self._sweep)

    def stop(self) -> None:
        """End the sweep; sessions stay as they are."""
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        self._tick = None

    def admit(self, session: Session) -> bool:
        """Count a new session; False when it would be one too many, and then it is not counted."""
        key = client_key(session.peer)
        count = self._per_client.get(key, 0)
        if len(self._open) >= self.limits.connections or count >= self.limits.connections_per_client or self._ending:
            return False
        self._open[session] = key
        self._per_client[key] = count + 1
        return True

    def leave(self, session: Session) -> None:
        """Forget a session; no error if it was never admitted."""
        key = self._open.pop(session, None)
        if key is None:
            return
        count = self._per_client[key] - 1
        if count:
            self._per_client[key] = count
        else:
            del self._per_client[key]
        if not self._open:
            waiting, self._empty = self._empty, []
            for each in waiting:
                each.callback(None)

    def goodbye(self) -> Deferred[None]:
        """Ask every session to end; fires when the last has gone. New ones are refused from now on."""
        self._ending = True
        if not self._open:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        for session in list(self._open):
            try:
                session.shut_down()
            except Exception:
                self._log.failure("a session could not be asked to end")
        return done

    def _sweep(self) -> None:
        self._tick = self._clock.callLater(1.0, self._sweep)
        now = self._clock.seconds()
        late = [session for session in self._open if session.deadline < now]
        for session in late:
            try:
                session.expire()
            except Exception:
                self._log.failure("a session could not be ended in time")
