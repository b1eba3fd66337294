"""A network in memory with a clock of its own: a reactor for clients of named servers, without sockets or waiting.

Octets and ends of connections arrive in `flush`, in order; `advance` lets time pass and flushes. A write to a peer that
does not read is buffered, and from 64 KiB on its producer is paused. TLS never completes a handshake here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTCP,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

BUFFER = 64 * 1024
PIECE = 16 * 1024


@implementer(ITCPTransport)
class End:
    """One end of a connection: a transport."""

    def __init__(self, protocol: Any, host: str, port: int) -> None:
        self.protocol = protocol
        self.peer: End
        self.inbox: deque[bytes] = deque()
        self.unread = self.most_unread = 0
        self.reading = self.connected = True
        self.aborted = self.secured = False
        self.closing: Failure | None = None
        self._producer: Any = None
        self._held_up = False
        self._address = IPv4Address("TCP", host, port)

    def write(self, data: bytes) -> None:
        """To the other end."""
        if not self.connected or self.closing is not None or not data or self.secured:
            return
        self.peer.inbox.append(data)
        self.peer.unread += len(data)
        self.peer.most_unread = max(self.peer.most_unread, self.peer.unread)
        if self.peer.unread > BUFFER and self._producer is not None and not self._held_up:
            self._held_up = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Any) -> None:
        """The same in pieces."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Whom to pause."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Nobody."""
        self._producer = None
        self._held_up = False

    def relieve(self) -> bool:
        """Let the producer go on when its octets have been read."""
        if self._held_up and self._producer is not None and not self.peer.unread:
            self._held_up = False
            self._producer.resumeProducing()
            return True
        return False

    def pauseProducing(self) -> None:
        """Do not read."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read."""
        self.reading = True

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def startTLS(self, options: object, normal: bool = True) -> None:
        """From here on nothing arrives in either direction."""
        self.secured = True

    def loseConnection(self) -> None:
        """Close once everything has been sent."""
        self.closing = self.closing or Failure(ConnectionDone())

    def abortConnection(self) -> None:
        """Close now."""
        self.aborted = True
        self.closing = Failure(ConnectionAborted())
        self.inbox.clear()

    def loseWriteConnection(self) -> None:
        """The same as closing, here."""
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        """The address that was asked for."""
        return self._address

    getHost = getPeer

    def setTcpNoDelay(self, enabled: object) -> None:
        """There is no delay."""

    def getTcpNoDelay(self) -> bool:
        """There is no delay."""
        return True

    def setTcpKeepAlive(self, enabled: object) -> None:
        """Connections stay."""

    def getTcpKeepAlive(self) -> bool:
        """Connections stay."""
        return True


@implementer(IConnector)
class _Connector:
    def __init__(self, network: Network, factory: Any, host: str, port: int) -> None:
        self._network = network
        self._factory = factory
        self._address = IPv4Address("TCP", host, port)
        self._call: Any = None

    def begin(self, server: Callable[[], Protocol] | None) -> None:
        self._call = self._network.callLater(0, self._refuse if server is None else self._connect, server)

    def _refuse(self, _server: object) -> None:
        self._factory.clientConnectionFailed(self, Failure(ConnectionRefusedError()))

    def _connect(self, server: Callable[[], Protocol]) -> None:
        protocol = self._factory.buildProtocol(self._address)
        if protocol is not None:
            self._network.join(protocol, server(), self._address.host, self._address.port)

    def stopConnecting(self) -> None:
        """Give up."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    disconnect = stopConnecting

    def connect(self) -> None:
        """Nothing: it is under way."""

    def getDestination(self) -> IPv4Address:
        """Where to."""
        return self._address


@implementer(IReactorTCP, IReactorPluggableNameResolver, IHostnameResolver)
class Network(Clock):
    """`servers` maps (host, port) to what makes a server protocol; None there is a host that never answers."""

    def __init__(self, servers: dict[tuple[str, int], Callable[[], Protocol] | None] | None = None) -> None:
        super().__init__()
        self.servers = dict(servers or {})
        self.ends: list[tuple[End, End]] = []
        self.attempts: list[tuple[str, int, Any]] = []
        self._names: dict[str, str] = {}

    # --- reactor ------------------------------------------------------------------------------------------------------

    @property
    def nameResolver(self) -> Network:
        """Names are looked up here too."""
        return self

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Each name has an address of its own."""
        known = {name: address for address, name in self._names.items()}
        address = known.get(hostName, f"10.0.0.{len(known) + 1}")
        self._names[address] = hostName
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()
        return receiver

    def installNameResolver(self, resolver: object) -> Any:
        """Not here."""
        raise NotImplementedError

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> _Connector:
        """Connect to one of `servers`."""
        name = self._names.get(host, host)
        self.attempts.append((name, port, bindAddress))
        connector = _Connector(self, factory, name, port)
        factory.doStart()
        factory.startedConnecting(connector)
        server = self.servers.get((name, port))
        if server is not None or (name, port) not in self.servers:
            connector.begin(server)
        return connector

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Put servers into `servers` instead."""
        raise NotImplementedError

    # --- connections --------------------------------------------------------------------------------------------------

    def join(self, client: Any, server: Any, host: str = "server.example", port: int = 25) -> tuple[End, End]:
        """Connect two protocols; (the client's end, the server's end)."""
        ends = End(client, host, port), End(server, host, port)
        ends[0].peer, ends[1].peer = ends[1], ends[0]
        self.ends.append(ends)
        server.makeConnection(ends[1])
        client.makeConnection(ends[0])
        return ends

    def flush(self) -> None:
        """Deliver what is under way, in at most 100,000 steps."""
        for _ in range(100_000):
            if not any(self._step(end) for pair in list(self.ends) for end in pair):
                return

    def _step(self, end: End) -> bool:
        if not end.connected:
            return False
        if end.inbox and end.reading and end.closing is None:
            data = end.inbox.popleft()
            if len(data) > PIECE:
                end.inbox.appendleft(data[PIECE:])
                data = data[:PIECE]
            end.unread -= len(data)
            end.protocol.dataReceived(data)
            return True
        if end.relieve():
            return True
        if end.closing is not None:
            end.connected = False
            if end.peer.closing is None:
                end.peer.closing = Failure(ConnectionLost() if end.aborted else ConnectionDone())
                if not end.aborted:
                    self._hand_over(end.peer)
            end.protocol.connectionLost(end.closing)
            return True
        return False

    def _hand_over(self, end: End) -> None:
        """What was sent before the close arrives before it."""
        while end.inbox and end.connected and not end.aborted:
            end.protocol.dataReceived(end.inbox.popleft())

    def advance(self, amount: float) -> None:
        """Let time pass, and octets with it."""
        super().advance(amount)
        self.flush()

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(20):
            self.advance(0)
