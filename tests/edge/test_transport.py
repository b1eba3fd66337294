"""Eager transports on loopback: nothing lost, nothing out of order, in clear and under TLS."""

from __future__ import annotations

from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet import _newtls, abstract, protocol, reactor, ssl, tcp
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString, wrapClientTLS
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.edge.transport import (
    CurrentTLS,
    EagerServer,
    GatheringTLS,
    implicit_tls,
    listen,
    set_no_delay,
    start_tls,
    tls_facts,
    unsent,
)

AUTHORITY = trustme.CA()
MUCH = bytes(range(256)) * (4 * 1024 * 4)  # 4 MiB


def certificate(name: str = "bridge.example.org") -> ssl.CertificateOptions:
    """A server's certificate for that name."""
    made = AUTHORITY.issue_cert(name)
    pem = made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)
    return ssl.PrivateCertificate.loadPEM(pem).options()


def trust(name: str = "bridge.example.org") -> Any:
    """A client's options that check the name."""
    return ssl.optionsForClientTLS(
        name, trustRoot=ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(AUTHORITY.cert_pem.bytes())])
    )


class Echo(protocol.Protocol):
    """Sends everything back; a line `TLS` begins TLS."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        set_no_delay(self.transport)
        self.factory.sessions.append(self)
        self.facts: list[str | None] = [tls_facts(self.transport)]

    def dataReceived(self, data: bytes) -> None:
        if self.facts[-1] is None:
            self.facts.append(tls_facts(self.transport))
        if data == b"TLS\r\n":
            self.transport.write(b"go\r\n")
            start_tls(self.transport, self.factory.tls)
        else:
            half = len(data) // 2
            self.transport.write(data[:half])
            self.transport.write(data[half:])


class Collector(protocol.Protocol):
    """Gathers octets until there are as many as wanted."""

    transport: Any

    def __init__(self) -> None:
        self.got = bytearray()
        self._wanted = 0
        self._done: Deferred[bytes] = Deferred()

    def wait(self, size: int) -> Deferred[bytes]:
        """Fires with the next `size` octets."""
        self._wanted, self._done = size, Deferred()
        self.dataReceived(b"")
        return self._done

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if self._wanted and len(self.got) >= self._wanted:
            got, self._wanted = bytes(self.got), 0
            self.got.clear()
            self._done.callback(got)


class PrivateNamesTests(SynchronousTestCase):
    """Names of Twisted that are not public and that eager transports need: a new Twisted shows here first."""

    def test_names(self) -> None:
        """Each is where it was."""
        for owner, names in [
            (abstract.FileDescriptor(Clock()), ["_tempDataLen", "dataBuffer", "producer", "_writeDisconnected",
                                                "connected", "disconnecting", "write"]),
            (tcp.Connection, ["writeSomeData"]),
            (tcp.Server, ["TLS", "startTLS", "_tlsClientDefault"]),
            (_newtls, ["startTLS", "_BypassTLS"]),
            (TLSMemoryBIOProtocol, ["_flushReceiveBIO", "_flushSendBIO", "_aborted", "_lostTLSConnection"]),
            (tcp.Port, ["transport", "addressFamily"]),
        ]:
            for name in names:
                self.assertTrue(hasattr(owner, name), f"{owner} has no {name}")
        self.assertIs(tcp.Port.transport, tcp.Server)
        self.assertTrue(issubclass(EagerServer, tcp.Server))


class FactsTests(SynchronousTestCase):
    """Transports that are no sockets."""

    def test_without_tls(self) -> None:
        """No facts, nothing unsent, no option to set."""
        self.assertIsNone(tls_facts(object()))
        self.assertIsNone(tls_facts(StringTransport()))
        self.assertEqual(unsent(StringTransport()), 0)
        set_no_delay(object())


class LoopbackTests(TestCase):
    """Real sockets."""

    timeout = 20

    def setUp(self) -> None:
        self.factory: Any = protocol.Factory.forProtocol(Echo)
        self.factory.noisy = False
        self.factory.sessions = []
        self.factory.tls = self.tls = CurrentTLS(certificate())

    @inlineCallbacks
    def connect(self, implicit: bool = False) -> Any:
        served = implicit_tls(self.tls, self.factory) if implicit else self.factory
        port: Any = yield listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), served)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return (yield self.client(implicit))

    @inlineCallbacks
    def client(self, implicit: bool = False, name: str = "bridge.example.org") -> Any:
        end: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)  # type: ignore[arg-type]
        if implicit:
            end = wrapClientTLS(trust(name), end)
        collector: Any = yield connectProtocol(end, Collector())
        self.addCleanup(collector.transport.abortConnection)
        return collector

    @inlineCallbacks
    def echo(self, client: Any) -> Any:
        client.transport.write(MUCH)
        back = yield client.wait(len(MUCH))
        self.assertTrue(back == MUCH, "not the same octets")

    @inlineCallbacks
    def test_in_clear(self) -> Any:
        """4 MiB come back whole over a full socket."""
        client = yield self.connect()
        yield self.echo(client)
        self.assertIs(type(self.factory.sessions[0].transport), EagerServer)
        self.assertEqual(self.factory.sessions[0].facts[-1], None)

    @inlineCallbacks
    def test_implicit_tls(self) -> Any:
        """4 MiB come back whole under implicit TLS, whose facts are known once it stands."""
        client = yield self.connect(implicit=True)
        yield self.echo(client)
        session = self.factory.sessions[0]
        self.assertIs(type(session.transport), GatheringTLS)
        self.assertEqual(session.facts[0], None)
        self.assertRegex(session.facts[-1], r"\ATLSv1\.[23] [A-Z0-9_-]+\Z")

    @inlineCallbacks
    def test_starttls(self) -> Any:
        """4 MiB come back whole after STARTTLS on the same connection."""
        client = yield self.connect()
        client.transport.write(b"TLS\r\n")
        self.assertEqual((yield client.wait(4)), b"go\r\n")
        client.transport.startTLS(trust())
        yield self.echo(client)
        self.assertRegex(self.factory.sessions[0].facts[-1], r"\ATLSv1\.[23] ")

    @inlineCallbacks
    def test_tiny_records(self) -> Any:
        """A thousand TLS records of one octet each reach the session in few pieces: no turn is spent on each."""
        for implicit in (True, False):
            self.factory.sessions.clear()
            client = yield self.connect(implicit)
            if not implicit:
                client.transport.write(b"TLS\r\n")
                yield client.wait(4)
                client.transport.startTLS(trust())
            client.transport.write(b"x")
            yield client.wait(1)
            session = self.factory.sessions[0]
            pieces: list[int] = []
            stock = session.dataReceived
            session.dataReceived = lambda data, pieces=pieces, stock=stock: (pieces.append(len(data)), stock(data))
            secure: Any = client.transport if implicit else client.transport.protocol
            for _ in range(1000):
                secure._tlsConnection.send(b"y")
            secure._flushSendBIO()
            self.assertEqual((yield client.wait(1000)), b"y" * 1000)
            self.assertEqual(sum(pieces), 1000)
            self.assertLess(len(pieces), 20)

    @inlineCallbacks
    def test_order_behind_a_full_socket(self) -> Any:
        """While octets wait for the client, later ones wait behind them; unsent tells how many."""
        client = yield self.connect()
        client.transport.write(b"x")
        yield client.wait(1)
        client.transport.pauseProducing()
        transport = self.factory.sessions[0].transport
        pieces = [bytes([65 + n % 26]) * 100_000 for n in range(60)]
        for piece in pieces:
            transport.write(piece)
        self.assertGreater(unsent(transport), 0)
        client.transport.resumeProducing()
        whole = yield client.wait(6_000_000)
        self.assertTrue(whole == b"".join(pieces))
        self.assertEqual(unsent(transport), 0)

    @inlineCallbacks
    def test_order_with_a_producer(self) -> Any:
        """While a producer is registered writes go through the reactor, in order."""
        client = yield self.connect()
        client.transport.write(b"x")
        yield client.wait(1)
        transport = self.factory.sessions[0].transport

        class Pulled:
            left = 3

            def resumeProducing(self) -> None:
                self.left -= 1
                transport.write(b"piece %d\r\n" % self.left)
                if not self.left:
                    transport.unregisterProducer()
                    transport.write(b"after\r\n")

            def stopProducing(self) -> None:
                pass

        transport.write(b"before\r\n")
        transport.registerProducer(Pulled(), False)
        said = yield client.wait(42)
        self.assertEqual(said, b"before\r\npiece 2\r\npiece 1\r\npiece 0\r\nafter\r\n")

    @inlineCallbacks
    def test_last_words(self) -> Any:
        """What is written before loseConnection arrives, even after the client has filled the socket."""
        client = yield self.connect()
        client.transport.write(b"x")
        yield client.wait(1)
        transport = self.factory.sessions[0].transport
        transport.write(b"y" * 3_000_000)
        transport.write(b"bye\r\n")
        transport.loseConnection()
        said = yield client.wait(3_000_005)
        self.assertTrue(said.endswith(b"ybye\r\n"))

    @inlineCallbacks
    def test_reload(self) -> Any:
        """After a reload the next handshake, and only that, has the new certificate."""
        old = yield self.connect(implicit=True)
        self.tls.options = certificate("new.example.org")
        yield self.echo(old)
        new = yield self.client(True, "new.example.org")
        yield self.echo(new)
        for client, name in [(old, b"bridge.example.org"), (new, b"new.example.org")]:
            handle: SSL.Connection = client.transport.getHandle()
            extension = handle.get_peer_certificate().to_cryptography()  # type: ignore[union-attr]
            self.assertIn(name.decode(), str(list(extension.extensions)))
