"""One exchange over HTTP, with peers on loopback that do all that a peer can do wrong."""

from __future__ import annotations

import gzip
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.edge.clienttls import Trust
from mailbridge.oce.exchange import Exchange, ExchangeError, NotTrusted, Place, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ASKED = b'{"msgType":"qMsg"}'
LARGEST = 256 * 1024


class Peer(Protocol):
    """Does `script(peer, number)` when the `number`-th request is whole, once each."""

    factory: PeerFactory

    def connectionMade(self) -> None:
        """A connection."""
        self.factory.connections.append(self)
        self.got = b""
        self.gone = False
        self.timer: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Octets of a request."""
        self.got += data
        self.factory.received += data
        if self.got.endswith(ASKED):
            self.got = b""
            self.factory.requests += 1
            self.factory.script(self, self.factory.requests)

    def connectionLost(self, reason: object = None) -> None:
        """The end."""
        self.gone = True
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.factory.connections.remove(self)
        if not self.factory.connections and self.factory.empty is not None:
            self.factory.empty.callback(None)

    def say(self, *pieces: bytes, close: bool = False) -> None:
        """Write, and hang up."""
        for piece in pieces:
            self.transport.write(piece)
        if close:
            self.transport.loseConnection()

    def flood(self, piece: bytes) -> None:
        """Write for ever."""
        if not self.gone:
            self.transport.write(piece)
            self.timer = reactor.callLater(0, self.flood, piece)


class PeerFactory(Factory):
    """Makes peers."""

    protocol = Peer
    noisy = False

    def __init__(self, script: Callable[[Peer, int], object]) -> None:
        self.script = script
        self.connections: list[Peer] = []
        self.received = b""
        self.requests = 0
        self.empty: Deferred[None] | None = None


class LoopbackCase(TestCase):
    """A peer, and exchanges with it."""

    def listen(self, script: Callable[[Peer, int], object], context: Any = None) -> PeerFactory:
        """Start a peer."""
        factory = PeerFactory(script)
        if context is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
        self.number = port.getHost().port
        self.addCleanup(port.stopListening)
        return factory

    def exchange(self, **more: Any) -> Exchange:
        """One with the peer."""
        place = more.pop("place", None) or Place(f"http://127.0.0.1:{self.number}/")
        found = Exchange(reactor, place, **{"largest": LARGEST, "seconds": 5, **more})
        self.addCleanup(found.close)
        return found

    @inlineCallbacks
    def fault(self, exchange: Exchange, factory: PeerFactory) -> Any:
        """The error of an exchange; the connection is gone then."""
        try:
            answer = yield exchange.exchange(ASKED)
        except ExchangeError as error:
            yield exchange.close()
            if factory.connections:
                factory.empty = Deferred()
                yield factory.empty
                factory.empty = None
            return error
        self.fail(f"it answered {answer!r}")


class HTTPTests(LoopbackCase):
    """Good and bad answers."""

    @inlineCallbacks
    def test_good(self) -> Any:
        """A POST with the text as its body; the connection is used again; no compression and no cookie is asked for."""
        factory = self.listen(lambda peer, number: peer.say(
            OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n")))
        exchange = self.exchange()
        for _ in range(3):
            self.assertEqual((yield exchange.exchange(ASKED, {"X-Signature": "t=1"})), b"{}")
        self.assertEqual((factory.requests, len(factory.connections)), (3, 1))
        received = factory.received.lower()
        self.assertTrue(received.startswith(b"post / http/1.1\r\n"))
        self.assertIn(b"\r\ncontent-type: application/json; charset=utf-8\r\n", received)
        self.assertIn(b"\r\nx-signature: t=1\r\n", received)
        self.assertNotIn(b"cookie", received)
        self.assertNotIn(b"accept-encoding", received)

    @inlineCallbacks
    def test_forms(self) -> Any:
        """Chunks, an answer in pieces of one octet, other names of JSON: all are fine."""
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
        for octets in (OK, chunked, OK.replace(b"application/json", b"text/plain;charset=utf-8"),
                       b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK.replace(b"application/json", b"application/x+json")):
            self.listen(lambda peer, _, octets=octets: [peer.say(octets[at:at + 1]) for at in range(len(octets))])
            self.assertEqual((yield self.exchange().exchange(ASKED)), b"{}")

    @inlineCallbacks
    def test_bad_answers(self) -> Any:
        """Whatever is wrong with an answer is told in words, and its connection is not used again."""
        packed = gzip.compress(b" " * 50_000_000)
        length = b"Content-Length: %d\r\n\r\n"
        table: dict[str, list[tuple[bytes, bool]]] = {
            "HTTP 500": [(b"HTTP/1.1 500 no\r\n" + length % 2 + b"{}", False)],
            "HTTP 204": [(b"HTTP/1.1 204 no\r\n\r\n", False)],
            "HTTP 301": [(b"HTTP/1.1 301 no\r\nLocation: http://127.0.0.1:1/\r\n" + length % 0, False)],
            "HTTP 503": [(b"HTTP/1.1 503 no\r\n" + length % 0, False)],
            "compressed": [(HEAD + b"Content-Encoding: gzip\r\n" + length % len(packed) + packed, False)],
            "else than JSON": [(OK.replace(b"application/json", b"text/html"), False)],
            "within its answer": [(HEAD + length % 20 + b"{}", True), (HEAD + b"\r\n{}", True),
                                  (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", True)],
            "no HTTP": [(b"\0\1 garbage\r\n\r\n", False), (b"220 smtp.example.org ESMTP\r\n\r\n", False),
                        (HEAD + b"Content-Length: 3\r\nContent-Length: 2\r\n\r\n{}", False),
                        (HEAD + b"Content-Length: -3\r\n\r\n{}", False),
                        (HEAD + "Content-Length: \u0663\r\n\r\n{}".encode(), False),
                        (HEAD + b"no field\r\n\r\n{}", False)],
            "closed the connection without an answer": [(b"", True)],
            "more than": [(HEAD + length % (LARGEST + 1) + b" " * (LARGEST + 1), False),
                          (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b" " * 65535 + b"\r\n", None)],
        }
        for words, answers in table.items():
            for octets, close in answers:
                def script(peer: Peer, _: int, octets: bytes = octets, close: bool | None = close) -> None:
                    peer.say(octets, close=bool(close))
                    if close is None:  # on and on
                        peer.flood(b"ffff\r\n" + b" " * 65535 + b"\r\n")

                factory = self.listen(script)
                error = yield self.fault(self.exchange(), factory)
                self.assertIn(words, str(error), octets[:100])
                self.assertEqual(isinstance(error, Unreachable), words == "HTTP 503")

    @inlineCallbacks
    def test_chunk_garbage(self) -> Any:
        """Chunks that are none end the exchange."""
        for chunks in (b"zz\r\n{}\r\n", b"-2\r\n{}\r\n", b"2\r\n{}xx\r\n", b"2" * 5000,
                       b"0\r\n" + b"X: y\r\n" * 20_000):
            head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
            factory = self.listen(lambda peer, _, octets=head + chunks: peer.say(octets))
            error = yield self.fault(self.exchange(seconds=0.5), factory)
            self.assertIsInstance(error, ExchangeError)

    @inlineCallbacks
    def test_dropped_at_each_octet(self) -> Any:
        """A connection that is lost after any octet of the answer is a failure, never half an answer."""
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        for octets in (OK, chunked):
            lengths = iter(range(len(octets)))
            factory = self.listen(lambda peer, _, octets=octets, lengths=lengths: peer.say(
                octets[:next(lengths)], close=True))
            exchange = self.exchange()
            for length in range(len(octets)):
                error = yield self.fault(exchange, factory)
                self.assertIn("the OCE", str(error), str(length))

    @inlineCallbacks
    def test_endless(self) -> Any:
        """A header, a body, or provisional answers without end are cut off at their limits, long before the time."""
        for start, piece, words in (
            (HEAD, b"X-A: " + b"b" * 1000 + b"\r\n", "header without end"),
            (HEAD + b"X: ", b"b" * 8000, "no HTTP"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "header without end"),
            (HEAD + b"\r\n", b"b" * 65536, "more than"),
        ):
            def script(peer: Peer, _: int, start: bytes = start, piece: bytes = piece) -> None:
                peer.say(start)
                peer.flood(piece)

            factory = self.listen(script)
            error = yield self.fault(self.exchange(seconds=60), factory)
            self.assertIn(words, str(error))

    @inlineCallbacks
    def test_too_slow(self) -> Any:
        """Silence, a header or a body that drips: one time is for the whole exchange."""
        def drip(peer: Peer, octets: bytes) -> None:
            if not peer.gone:
                peer.say(octets[:1])
                peer.timer = reactor.callLater(0.02, drip, peer, octets[1:])

        long = HEAD + b"Content-Length: 1000\r\n\r\n" + b" " * 1000
        for script in (lambda peer, _: None, lambda peer, _: drip(peer, long),
                       lambda peer, _: [peer.say(long[:-999]), drip(peer, b" " * 999)]):
            factory = self.listen(script)
            error = yield self.fault(self.exchange(seconds=0.2), factory)
            self.assertEqual(str(error), "the OCE did not answer within 0.2 seconds")

    @inlineCallbacks
    def test_given_up(self) -> Any:
        """Who gives up an exchange ends its connection, and it is no fault of the OCE."""
        for answer in (b"", HEAD + b"Content-Length: 9\r\n\r\n{"):
            asked: Deferred[None] = Deferred()
            factory = self.listen(lambda peer, _, answer=answer, asked=asked: [
                peer.say(answer), reactor.callLater(0.02, asked.callback, None)])
            running = self.exchange().exchange(ASKED)
            yield asked
            factory.empty = Deferred()
            running.cancel()
            yield self.assertFailure(running, CancelledError)
            yield factory.empty

    @inlineCallbacks
    def test_nobody_there(self) -> Any:
        """A port where nobody listens: the whole OCE cannot be used just now."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.number = port.getHost().port
        yield port.stopListening()
        error = yield self.assertFailure(self.exchange().exchange(ASKED), Unreachable)
        self.assertIn("no connection", str(error))

    @inlineCallbacks
    def test_unknown_host(self) -> Any:
        """A host that nobody knows, too."""
        place = Place("https://no-such-host.invalid/")
        yield self.assertFailure(self.exchange(place=place).exchange(ASKED), Unreachable)


class PlaceTests(SynchronousTestCase):
    """`Place.fault`."""

    def test_cleartext(self) -> None:
        """Clear text goes to this host only, unless that is allowed."""
        for host in ("127.0.0.1", "127.8.9.1", "localhost", "[::1]"):
            self.assertIsNone(Place(f"http://{host}:1895/").fault(), host)
        for host in ("192.168.1.5", "oce.example.org", "127.0.0.1.example.org", "localhost.example.org", "[::2]"):
            self.assertIn("clear text", str(Place(f"http://{host}/").fault()), host)
            self.assertIsNone(Place(f"http://{host}/", cleartext=True).fault())
            self.assertIsNone(Place(f"https://{host}/").fault())

    def test_no_place(self) -> None:
        """What is no URL of an OCE is found before anything is sent."""
        for url in ("", "oce", "ftp://127.0.0.1/", "http://", "http://[::1/", "http://127.0.0.1:99999/",
                    "http://harold:secret@127.0.0.1/", "http://127.0.0.1/?a", "http://127.0.0.1/#a",
                    "http://127.0.0.1/ x\r\nA: b", "https://o\u0441e.example.org/"):
            fault = Place(url).fault()
            self.assertIsNotNone(fault, url)
            self.assertNotIn("secret", str(fault))
            self.assertRaises(ValueError, Exchange, reactor, Place(url))


class TLSTests(LoopbackCase):
    """Whom it believes."""

    def setUp(self) -> None:
        """An authority, and the certificate of the server."""
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("127.0.0.1")
        self.pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.server.cert_chain_pems[0].bytes().decode())).hexdigest()
        self.root = self.authority.cert_pem.bytes().decode()

    def certificate(self, made: trustme.LeafCert) -> PrivateCertificate:
        """For Twisted."""
        return PrivateCertificate.loadPEM(made.private_key_and_cert_chain_pem.bytes())

    def place(self, **trust: Any) -> Place:
        """The server, with that trust."""
        return Place(f"https://127.0.0.1:{self.number}/", Trust(**trust))

    def serve(self, made: trustme.LeafCert | None = None, **more: Any) -> PeerFactory:
        """A server that answers well."""
        own = self.certificate(made or self.server)
        options = CertificateOptions(privateKey=own.privateKey.original, certificate=own.original, **more)
        return self.listen(lambda peer, _: peer.say(OK), options)

    @inlineCallbacks
    def test_verified(self) -> Any:
        """A certificate of the authority for this host is believed."""
        self.serve()
        exchange = self.exchange(place=self.place(authorities=self.root))
        self.assertEqual((yield exchange.exchange(ASKED)), b"{}")
        yield exchange.close()

    @inlineCallbacks
    def test_not_verified(self) -> Any:
        """Another authority, another host, a date gone by: nothing is sent, and it is told as a fault of trust."""
        other = trustme.CA()
        for made in (other.issue_cert("127.0.0.1"), self.authority.issue_cert("elsewhere.example"), None):
            if made is None:
                trust: dict[str, Any] = {}  # the authorities of the system do not know ours
            else:
                trust = {"authorities": self.root}
            factory = self.serve(made)
            error = yield self.fault(self.exchange(place=self.place(**trust)), factory)
            self.assertIsInstance(error, NotTrusted)
            self.assertIn("TLS", str(error))
            self.assertNotIn("[(", str(error))
            self.assertEqual(factory.received, b"")

    @inlineCallbacks
    def test_pinned(self) -> Any:
        """A pin takes the place of authority and name; colons and capitals do not matter."""
        self.serve()
        colons = ":".join(self.pin[at:at + 2] for at in range(0, 64, 2)).upper()
        for pin in (self.pin, colons):
            exchange = self.exchange(place=self.place(pin=pin))
            self.assertEqual((yield exchange.exchange(ASKED)), b"{}")
            yield exchange.close()

    @inlineCallbacks
    def test_wrong_pin(self) -> Any:
        """With another certificate nothing is sent, also when a good authority vouches for it."""
        other = self.authority.issue_cert("127.0.0.1")
        factory = self.serve(other)
        for trust in ({"pin": self.pin}, {"pin": self.pin, "authorities": self.root}):
            error = yield self.fault(self.exchange(place=self.place(**trust)), factory)
            self.assertIsInstance(error, NotTrusted)
            self.assertEqual(factory.received, b"")

    @inlineCallbacks
    def test_identity(self) -> Any:
        """A server that wants to see our certificate is shown it; without one there is no exchange."""
        ours = self.authority.issue_cert("bridge.example.org")
        root = trustRootFromCertificates([PrivateCertificate.loadPEM(
            self.authority.private_key_pem.bytes() + self.authority.cert_pem.bytes())])
        factory = self.serve(trustRoot=root)
        identity = ours.private_key_and_cert_chain_pem.bytes().decode()
        exchange = self.exchange(place=self.place(authorities=self.root, identity=identity))
        self.assertEqual((yield exchange.exchange(ASKED)), b"{}")
        yield exchange.close()
        factory.received = b""
        error = yield self.fault(self.exchange(place=self.place(authorities=self.root)), factory)
        self.assertIn("the OCE", str(error))
        self.assertEqual(factory.requests, 1)

    @inlineCallbacks
    def test_no_tls_there(self) -> Any:
        """A server that speaks plain HTTP where TLS is due gets no request."""
        factory = self.listen(lambda peer, _: peer.say(OK))
        exchange = self.exchange(place=self.place(authorities=self.root), seconds=1)
        running = exchange.exchange(ASKED)
        while not factory.received:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.01, pause.callback, None)
            yield pause
        for peer in list(factory.connections):
            peer.say(b"HTTP/1.1 400 plain HTTP\r\n\r\n", close=True)
        yield self.assertFailure(running, ExchangeError)
        self.assertNotIn(b"qMsg", factory.received)
