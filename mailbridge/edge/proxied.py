"""Listeners behind a PROXY (HAProxy) hop: the session begins when the header has named the client.

Twisted's own wrapper begins it at once, and then `getPeer` still is the proxy: every limit, client list and rule for
loopback would see the proxy instead of the client (an open relay, with the proxy on this host).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory
from twisted.python.failure import Failure

HEADER_TIME = 10.0  # seconds the proxy has to send its header


class _Behind(Protocol):
    """Stands where the session will be, and keeps what comes behind the header in the same segment."""

    octets = b""

    def dataReceived(self, data: bytes) -> None:
        """The first octets of the client."""
        self.octets += data


class ProxiedConnection(HAProxyProtocolWrapper):
    """One connection of the proxy. A header that is wrong or late closes it; the session never hears of it then."""

    factory: ProxiedFactory
    wrappedProtocol: Any
    _session: Any = None
    _late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for the header."""
        self._session, self.wrappedProtocol = self.wrappedProtocol, _Behind()
        self._late = self.factory.clock.callLater(HEADER_TIME, self.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        """The header, then the client's octets."""
        super().dataReceived(data)
        if self._session is None or self._proxyInfo is None:
            return
        self._in_time()
        behind, self.wrappedProtocol, self._session = self.wrappedProtocol, self._session, None
        self.wrappedProtocol.makeConnection(self)
        if behind.octets:
            self.wrappedProtocol.dataReceived(behind.octets)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy has closed."""
        self._in_time()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's own

    def _in_time(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()


class ProxiedFactory(HAProxyWrappingFactory):
    """`factory` behind a proxy."""

    protocol = ProxiedConnection  # type: ignore[assignment]  # theirs is declared too narrowly
    noisy = False

    def __init__(self, factory: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's own
        self.clock = clock
