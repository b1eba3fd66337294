"""Listening sockets on loopback: bound or refused in one line; behind a proxy the client counts."""

from __future__ import annotations

from typing import Any

from twisted.internet import protocol, reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.edge.listeners import Listeners
from mailbridge.edge.proxied import HEADER_TIME, ProxiedFactory
from mailbridge.edge.transport import EagerServer
from mailbridge.errors import StartError


class Seen(protocol.Protocol):
    """Notes whom it talks to when its connection begins, and what it gets."""

    began: list[str]

    def connectionMade(self) -> None:
        self.began = [self.transport.getPeer().host]  # type: ignore[union-attr]
        self.got = b""
        self.factory.sessions.append(self)  # type: ignore[union-attr]
        self.transport.write(b"hello\r\n")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.got += data


def factory() -> Any:
    """A factory of `Seen`."""
    made: Any = protocol.Factory.forProtocol(Seen)
    made.noisy = False
    made.sessions = []
    return made


class Reader(protocol.Protocol):
    """Fires with the first line."""

    def __init__(self) -> None:
        self.line: Deferred[bytes] = Deferred()
        self._got = b""

    def dataReceived(self, data: bytes) -> None:
        self._got += data
        if self._got.endswith(b"\r\n") and not self.line.called:
            self.line.callback(self._got)


class ListenersTests(TestCase):
    """Sockets on loopback."""

    def setUp(self) -> None:
        self.listeners = Listeners(reactor)
        self.addCleanup(self.listeners.close_all)

    @inlineCallbacks
    def test_bound(self) -> Any:
        """A listener stands on its port, with eager transports, and closes again."""
        listener = self.listeners.open("smtp[0]", "tcp:0:interface=127.0.0.1", factory())
        port: Any = listener.port
        self.assertIs(port.transport, EagerServer)
        self.assertEqual(self.listeners.all, [listener])
        yield self.listeners.close(listener)
        self.assertEqual(self.listeners.all, [])

    def test_in_use(self) -> None:
        """A port in use is told in one line with the place and a remedy."""
        port: Any = self.listeners.open("smtp[0]", "tcp:0:interface=127.0.0.1", factory()).port
        endpoint = f"tcp:{port.getHost().port}:interface=127.0.0.1"
        error = self.assertRaises(StartError, self.listeners.open, "smtp[1]", endpoint, factory())
        self.assertTrue(str(error).startswith(f"smtp[1]: cannot listen on {endpoint}: "), error)
        self.assertIn("another program uses it", str(error))
        self.assertNotIn("\n", str(error))

    def test_no_such_address(self) -> None:
        """An address this machine does not have is told as such."""
        error = self.assertRaises(StartError, self.listeners.open, "pop3[0]", "tcp:0:interface=192.0.2.1", factory())
        self.assertIn("no such address", str(error))

    def test_no_endpoint(self) -> None:
        """What is no endpoint is told, too."""
        for endpoint in ("nonsense:1", "tcp:x", "", "haproxy:tcp:x"):
            error = self.assertRaises(StartError, self.listeners.open, "smtp[0]", endpoint, factory())
            self.assertIn("correct `listen`", str(error))

    @inlineCallbacks
    def test_behind_a_proxy(self) -> Any:
        """Behind a proxy a session begins with the client's address, though the proxy is on this host."""
        made = factory()
        port: Any = self.listeners.open("smtp[0]", "haproxy:tcp:0:interface=127.0.0.1", made).port
        reader = Reader()
        end = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        proxy: Any = yield connectProtocol(end, reader)
        proxy.transport.write(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n")
        yield reader.line
        self.assertEqual(made.sessions[0].began, ["192.0.2.7"])
        proxy.transport.loseConnection()


class ProxiedTests(SynchronousTestCase):
    """The PROXY header, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made = factory()
        self.connection: Any = ProxiedFactory(self.made, self.clock).buildProtocol(None)  # type: ignore[arg-type]
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)

    def test_waits(self) -> None:
        """Nothing is said and nobody is counted before the header has come."""
        self.connection.dataReceived(b"PROXY TCP4 192.0.2.7 ")
        self.assertEqual((self.transport.value(), self.made.sessions), (b"", []))
        self.connection.dataReceived(b"127.0.0.1 4711 25\r\nEHLO x\r\n")
        self.assertEqual(self.transport.value(), b"hello\r\n")
        [session] = self.made.sessions
        self.assertEqual((session.began, session.got), (["192.0.2.7"], b"EHLO x\r\n"))
        self.connection.dataReceived(b"NOOP\r\n")
        self.assertEqual(session.got, b"EHLO x\r\nNOOP\r\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_version_2(self) -> None:
        """The binary header names the client as well."""
        self.connection.dataReceived(
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x67\x00\x19")
        self.assertEqual(self.made.sessions[0].began, ["192.0.2.7"])

    def test_no_header(self) -> None:
        """A client that comes past the proxy is cut off."""
        self.connection.dataReceived(b"EHLO somebody\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.made.sessions, [])

    def test_late_header(self) -> None:
        """A header that does not come in time is not waited for."""
        self.clock.advance(HEADER_TIME - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_lost_before(self) -> None:
        """A proxy that leaves before its header leaves nothing behind."""
        self.connection.connectionLost(None)
        self.assertEqual((self.clock.getDelayedCalls(), self.made.sessions), ([], []))
