"""Server transports that send at once, and the listeners that install them.

A reply that fits the socket goes out in the reactor turn that made it: no write buffering, no epoll_ctl, no second turn
(measured: 47-50 to 36-46 us a round trip, TLS 81-89 to 66-70). Order is kept, because octets go straight to the socket
only when nothing is buffered and no producer is registered. TCP_NODELAY is set: without it Nagle's algorithm meets
delayed acknowledgements at 25 answers a second.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet import _newtls, main, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

SMALL_READ = 4096
LARGE_READ = 65_536
TLS_READ = 16 * 1024 + 256  # one record of full size; in 64 KiB a hostile client hides 2,800 records of one octet


def _write(connection: Any, data: bytes) -> None:
    """Send what the socket takes now and leave the rest to the reactor. A broken socket is left to the reactor too."""
    idle = not connection._tempDataLen and not connection.dataBuffer and connection.producer is None
    if idle and data and connection.connected and not connection._writeDisconnected:
        try:
            sent = connection.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    FileDescriptor.write(connection, data)


class _Bypass(FileDescriptor):
    """What the TLS layer writes its records with: the eager write below TLS (the base of `_newtls._BypassTLS`)."""

    write = _write


class EagerServer(tcp.Server):
    """A TCP server transport whose `write` sends at once. Private names it relies on are pinned by a test.

    It reads a little until a client fills that: a command needs no buffer of 64 KiB.
    """

    _read_size = SMALL_READ
    largest_read = LARGE_READ
    """Octets of one read of a client that sends much."""

    def doRead(self) -> Any:
        """Read once and hand it on (`tcp.Connection.doRead` without its detours)."""
        size = self._read_size
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self._read_size = self.largest_read if len(data) == size else SMALL_READ
        self.protocol.dataReceived(data)
        return None

    def write(self, data: bytes) -> None:
        """Send `data`, through TLS once that has begun."""
        if self.TLS and self.connected:
            self.protocol.write(data)  # type: ignore[attr-defined]  # the TLS protocol that startTLS put there
        elif not self.TLS:
            _write(self, data)

    def startTLS(self, ctx: object, normal: bool = True) -> None:
        """Begin TLS; its records are sent at once as well."""
        begin: Any = _newtls.startTLS
        begin(self, ctx, normal, _Bypass)
        self.largest_read = TLS_READ
        layer: Any = self.protocol
        layer.__class__ = GatheringTLS  # the stock function makes a BufferingTLSTransport,
        vars(layer).pop("write", None)  # which would hold every write back for a reactor turn


class GatheringTLS(TLSMemoryBIOProtocol):
    """TLS that hands on all records of one read at once.

    The stock class gives each record to the session by itself: a client that puts one octet into a record made a
    reactor turn of 30 to 140 ms that way.
    """

    def makeConnection(self, transport: Any) -> None:
        """Implicit TLS begins."""
        transport.largest_read = TLS_READ
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted's own

    def _flushReceiveBIO(self) -> None:
        gathered: list[bytes] = []
        connection: Any = self._tlsConnection
        wants_more = False
        try:
            while True:
                gathered.append(connection.recv(TLS_READ))
        except SSL.WantReadError:
            wants_more = True
        except SSL.Error:
            pass  # the end, or a fault: the stock code meets it again and knows what to do
        if gathered and not (self._aborted or self._lostTLSConnection):
            ProtocolWrapper.dataReceived(self, b"".join(gathered))
        stock: Any = super()
        if wants_more:
            stock._flushSendBIO()
        else:
            stock._flushReceiveBIO()


@implementer(IOpenSSLServerConnectionCreator)
class CurrentTLS:
    """The certificate in force: a reload replaces `options` and every later handshake uses the new one."""

    def __init__(self, options: CertificateOptions) -> None:
        self.options = options

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A server connection with today's certificate."""
        return SSL.Connection(self.options.getContext(), None)


class _UnbufferedTLSFactory(TLSMemoryBIOFactory):
    """Implicit TLS without the stock layer that holds writes back for a reactor turn: sessions join theirs already."""

    protocol = GatheringTLS


def implicit_tls(tls: CurrentTLS, factory: IProtocolFactory) -> IProtocolFactory:
    """`factory` behind TLS from the first octet."""
    wrapped: IProtocolFactory = _UnbufferedTLSFactory(tls, False, factory)
    return wrapped


def start_tls(transport: Any, tls: CurrentTLS) -> None:
    """Begin TLS on a plain server transport (STARTTLS, STLS)."""
    transport.startTLS(tls)


def tls_facts(transport: Any) -> str | None:
    """`TLSv1.3 TLS_AES_256_GCM_SHA384` of a transport under TLS, None before the handshake is done or without TLS."""
    handle = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(handle, SSL.Connection) or handle.get_cipher_name() is None:
        return None
    return f"{handle.get_protocol_version_name()} {handle.get_cipher_name()}"


def set_no_delay(transport: Any) -> None:
    """TCP_NODELAY where there is TCP."""
    set_option = getattr(transport, "setTcpNoDelay", None)
    if set_option is not None:
        set_option(True)


def unsent(transport: Any) -> int:
    """Octets written that the client has not taken yet; 0 where the transport does not tell."""
    waiting: int = getattr(transport, "_tempDataLen", 0) + len(getattr(transport, "dataBuffer", b""))
    return waiting


def listen(endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> Deferred[IListeningPort]:
    """Listen with eager transports; fails as the endpoint does (CannotListenError, OSError)."""
    listening: Deferred[IListeningPort] = endpoint.listen(factory)

    def install(port: IListeningPort) -> IListeningPort:
        if isinstance(port, tcp.Port) and port.transport is tcp.Server and port.addressFamily != socket.AF_UNIX:
            port.transport = EagerServer
        return port

    return listening.addCallback(install)
