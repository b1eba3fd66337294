"""HTTP of the embedded OCE: what is served, and what hostile clients get. In memory, with a Clock."""

from __future__ import annotations

import time
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.embedded.sender import Request
from mailbridge.oce.embedded.settings import OCESettings
from mailbridge.oce.embedded.site import HEADER_SECONDS, Channel, OCEFactory
from mailbridge.oce.embedded.tribe import understand

SMALL = OCESettings(largest=1000, largest_all=2500, connections=6, connections_per_client=4, idle=60.0, slowest=100)
OK = b"HTTP/1.1 200 OK\r\n"


def post(body: bytes, *headers: bytes, path: bytes = b"/", method: bytes = b"POST") -> bytes:
    """A request with its length."""
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


def chunked(*pieces: bytes) -> bytes:
    """A request in chunks, with its last."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Wire(StringTransport):
    """A transport that knows whether it was broken off."""

    aborting = False

    def abortConnection(self) -> None:
        """Broken off."""
        self.aborting = True


class SiteTests(SynchronousTestCase):
    """`OCEFactory` and its connections."""

    def setUp(self) -> None:
        """A factory that answers each request with its body, or when the test says so."""
        self.clock = Clock()
        self.bodies: list[Request] = []
        self.later: list[Deferred[bytes]] = []
        self.wait_for_answers = False
        self.factory = self.make(SMALL)

    def make(self, settings: OCESettings) -> OCEFactory:
        """A factory with its sweep."""
        factory = OCEFactory(self.answer, settings, self.clock)
        factory.startFactory()
        self.addCleanup(factory.stopFactory)
        return factory

    def answer(self, request: Request) -> Deferred[bytes]:
        """The body, as an answer."""
        self.bodies.append(request)
        if self.wait_for_answers:
            self.later.append(Deferred())
            return self.later[-1]
        return succeed(b"[%b]" % request.body)

    def connect(self, factory: OCEFactory | None = None) -> tuple[Channel, Wire]:
        """A client."""
        channel: Any = (factory or self.factory).buildProtocol(None)  # type: ignore[arg-type]
        transport = Wire()
        transport.protocol = channel
        channel.makeConnection(transport)
        return channel, transport

    def say(self, octets: bytes, step: int = 0) -> tuple[bytes, Wire]:
        """What a client gets for these octets, in pieces of `step` octets."""
        channel, transport = self.connect()
        for start in range(0, len(octets), step or len(octets) or 1):
            channel.dataReceived(octets[start:start + (step or len(octets))])
        return transport.value(), transport

    def lose(self, channel: Channel) -> None:
        """The client goes."""
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        channel.connectionLost(Failure(ConnectionDone()))

    # --- what is served

    def test_served(self) -> None:
        """A POST is answered with JSON and its length, in one piece or octet by octet, by length or in chunks."""
        for step in (0, 1, 7):
            for octets in (post(b'{"a":1}'), chunked(b'{"a"', b":1}")):
                said, transport = self.say(octets, step)
                self.assertTrue(said.startswith(OK), said)
                self.assertTrue(said.endswith(b'\r\n\r\n[{"a":1}]'), said)
                self.assertIn(b"Content-Length: 9\r\n", said)
                self.assertIn(b"Content-Type: application/json; charset=utf-8\r\n", said)
                self.assertFalse(transport.disconnecting)
                self.lose(transport.protocol)
        self.assertEqual(self.factory.reading, 0)

    def test_many_on_one_connection(self) -> None:
        """Requests on one connection are answered in order, also when they come all at once."""
        said, _ = self.say(b"".join(post(b"%d" % number) for number in range(20)))
        self.assertEqual(said.count(OK), 20)
        self.assertEqual([request.body for request in self.bodies], [b"%d" % number for number in range(20)])

    def test_one_at_a_time(self) -> None:
        """The second request of a connection is begun when the first is answered."""
        self.wait_for_answers = True
        channel, transport = self.connect()
        channel.dataReceived(post(b"1") + post(b"2"))
        self.assertEqual(len(self.later), 1)
        self.later[0].callback(b"one")
        self.later[1].callback(b"two")
        self.assertLess(transport.value().index(b"one"), transport.value().index(b"two"))

    def test_what_is_told_of_the_client(self) -> None:
        """Address and signature come along; without TLS there is no certificate."""
        self.say(post(b"x", b"X-OCE-Signature: t=1,v1=2"))
        (request,) = self.bodies
        self.assertEqual((request.peer, request.signature, request.certificate()), ("192.168.1.1", "t=1,v1=2", None))

    def test_continue(self) -> None:
        """A client that waits for 100 gets it, unless it would be refused anyway."""
        channel, transport = self.connect()
        channel.dataReceived(post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
        self.assertEqual(transport.value(), b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- what is not

    def test_refused(self) -> None:
        """Everything else is answered with one HTTP error and closed; nothing of it reaches the OCE."""
        length = b"POST / HTTP/1.1\r\nContent-Length: "
        for words, octets, code in (
            ("GET", post(b"", method=b"GET"), 405), ("PUT", post(b"x", method=b"PUT"), 405),
            ("elsewhere", post(b"x", path=b"/x"), 404), ("far away", post(b"x", path=b"http://x/"), 404),
            ("too long", length + b"1001\r\n\r\n", 413), ("far too long", length + b"9" * 400 + b"\r\n\r\n", 413),
            ("too long in chunks", chunked(*[b"x" * 100] * 11), 413),
            ("compressed", post(b"x", b"Content-Encoding: gzip"), 415),
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400), ("nonsense", b"HELO me\r\n", 400),
            ("length that is none", length + b"-1\r\n\r\n", 400), ("or with a sign", length + b"+5\r\n\r\nabcde", 400),
            ("two lengths", length + b"5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
            ("the same length twice", length + b"5\r\nContent-Length: 5\r\n\r\nabcde", 400),
            ("smuggled", length + b"5\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n0\r\n\r\n" + post(b"evil"), 400),
            ("smuggled the other way", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nX: y"
                                       b"\r\n\r\n0\r\n\r\n" + post(b"evil"), 400),
            ("unknown coding", b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
            ("chunk garbage", chunked(b"abc").replace(b"3\r\n", b"zz\r\n"), 400),
            ("negative chunk", chunked(b"abc").replace(b"3\r\n", b"-3\r\n"), 400),
            ("chunk without an end", chunked(b"abc").replace(b"abc\r\n", b"abcd\r\n") + post(b"evil"), 400),
            ("endless chunk length", chunked()[:-5] + b"0" * 2000, 400),
            ("a header without a name", post(b"x", b": y"), 400), ("with a blank", post(b"x", b"A B: y"), 400),
            ("header line too long", post(b"x", b"A: " + b"y" * 20_000), 400),
            ("too many fields", post(b"x", *[b"A%d: y" % number for number in range(70)]), 400),
        ):
            for step in (0, 13):
                self.bodies.clear()
                said, transport = self.say(octets, step)
                self.assertTrue(said.startswith(b"HTTP/1.1 %d " % code), (words, said))
                self.assertEqual((said.count(b"HTTP/1.1"), self.bodies), (1, []), words)
                self.assertTrue(transport.disconnecting, words)
                self.lose(transport.protocol)
        self.assertEqual((self.factory.reading, len(self.factory.sessions)), (0, 0))

    def test_endless_header(self) -> None:
        """A header that does not end is cut off, whatever its form."""
        for piece in (b"A: b\r\n", b"x" * 4096, b" folded\r\n", b"\r\n"):
            channel, transport = self.connect()
            channel.dataReceived(b"" if piece == b"\r\n" else b"POST / HTTP/1.1\r\n")
            sent = 0
            while not transport.disconnecting and sent < 1_000_000:
                channel.dataReceived(piece)
                sent += len(piece)
            self.assertLess(sent, 50_000, piece[:10])
            self.lose(channel)

    def test_all_bodies_together(self) -> None:
        """Many large bodies at once do not fill the memory: the one that would is sent away, the others go on."""
        channels = [self.connect() for _ in range(4)]
        for channel, _ in channels:
            channel.dataReceived(post(b"x" * 999)[:-200])
        codes = [transport.value()[:12] for _, transport in channels]
        self.assertEqual(codes, [b"", b"", b"", b"HTTP/1.1 503"])
        self.assertEqual(self.factory.reading, 3 * 799)
        for channel, _ in channels[:2]:
            self.lose(channel)
        channels[2][0].dataReceived(b"x" * 200)
        self.assertTrue(channels[2][1].value().startswith(OK))
        self.assertEqual(self.factory.reading, 0)

    def test_refused_bodies_are_forgotten(self) -> None:
        """What was read of a refused body is not kept, even when the client does not go away."""
        channel, _ = self.connect()
        channel.dataReceived(chunked(b"x" * 900)[:-27])
        (request,) = channel.requests
        self.assertEqual(len(request._octets), 880)
        channel.dataReceived(b"x" * 20 + b"\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n" + b"64\r\n" + b"x" * 100)
        self.assertTrue(channel.refused)
        self.assertEqual((len(request._octets), self.factory.reading), (0, 0))

    def test_no_invitation_after_a_refusal(self) -> None:
        """Who asks whether he may send a body that is too large hears no, and nothing else."""
        said, transport = self.say(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 413"), said)
        self.assertNotIn(b"100 Continue", said)
        self.assertTrue(transport.disconnecting)

    def test_length_of_many_digits(self) -> None:
        """A length of thousands of digits is a bad request, and no fault in the log."""
        said, transport = self.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 400"), said)
        self.assertTrue(transport.disconnecting)

    def test_connections(self) -> None:
        """One client has so many connections and no more; one that goes makes room."""
        channels = [self.connect() for _ in range(5)]
        self.assertEqual([transport.disconnecting for _, transport in channels], [False] * 4 + [True])
        self.assertTrue(channels[4][1].value().startswith(b"HTTP/1.1 503 "))
        self.lose(channels[0][0])
        self.assertFalse(self.connect()[1].disconnecting)

    # --- time

    def drip(self, channel: Channel, transport: Wire, octets: bytes, every: float) -> float:
        """Send octet by octet; after how many seconds the client was cut off, or 0."""
        begun = self.clock.seconds()
        for number in range(len(octets)):
            channel.dataReceived(octets[number:number + 1])
            self.clock.pump([1.0] * int(every))
            if transport.aborting:
                return self.clock.seconds() - begun
        return 0.0

    def test_slow(self) -> None:
        """Who sends drop by drop is cut off, in the header and in the body; others are served meanwhile."""
        channel, transport = self.connect()
        taken = self.drip(channel, transport, post(b"x"), 5.0)
        self.assertTrue(HEADER_SECONDS < taken < HEADER_SECONDS + 10)
        channel, transport = self.connect()
        head = post(b"x" * 900)
        channel.dataReceived(head[:-900])
        taken = self.drip(channel, transport, head[-900:], 5.0)
        self.assertTrue(30 < taken < 50, taken)
        self.assertTrue(self.say(post(b"{}"))[0].startswith(OK))

    def test_idle(self) -> None:
        """A connection that says nothing is closed, before the first request and after the last; not while it waits
        for us."""
        self.wait_for_answers = True
        silent, after, waiting = (self.connect() for _ in range(3))
        after[0].dataReceived(post(b"x"))
        self.later[0].callback(b"y")
        waiting[0].dataReceived(post(b"x"))
        self.clock.pump([1.0] * 70)
        self.assertEqual([transport.aborting for _, transport in (silent, after, waiting)], [True, True, False])
        self.later[1].callback(b"y")
        self.assertTrue(waiting[1].value().startswith(OK))

    def test_gone_while_it_waits(self) -> None:
        """A client that goes before its answer hurts nobody."""
        self.wait_for_answers = True
        channel, transport = self.connect()
        channel.dataReceived(post(b"x"))
        self.lose(channel)
        self.later[0].callback(b"y")
        self.assertEqual((transport.value(), self.factory.reading, len(self.factory.sessions)), (b"", 0, 0))

    def test_fault(self) -> None:
        """A request that cannot be answered ends its connection."""
        self.wait_for_answers = True
        channel, transport = self.connect()
        channel.dataReceived(post(b"x"))
        self.later[0].errback(RuntimeError("a bug"))
        self.assertTrue(transport.aborting)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_stop(self) -> None:
        """At a stop idle connections end at once, others after their answer."""
        self.wait_for_answers = True
        idle, busy = self.connect(), self.connect()
        busy[0].dataReceived(post(b"x"))
        stopped = self.factory.stop()
        self.assertEqual([transport.disconnecting for _, transport in (idle, busy)], [True, False])
        self.later[0].callback(b"y")
        self.assertTrue(busy[1].disconnecting)
        self.assertTrue(busy[1].value().endswith(b"y"))
        for channel, _ in (idle, busy):
            self.lose(channel)
        self.successResultOf(stopped)

    # --- much

    def test_octet_chunks(self) -> None:
        """Chunks of one octet, as many as a read brings, do not hang the reactor (20 ms on a quiet machine)."""
        factory = self.make(evolve(SMALL, largest=1_000_000, largest_all=1_000_000))
        channel, transport = self.connect(factory)
        octets = chunked(*[b"x"] * 60_000)
        longest = 0.0
        for start in range(0, len(octets), 65_536):
            begun = time.perf_counter()
            channel.dataReceived(octets[start:start + 65_536])
            longest = max(longest, time.perf_counter() - begun)
        self.assertTrue(transport.value().startswith(OK))
        self.assertLess(longest, 5.0)

    def test_depth(self) -> None:
        """JSON a hundred thousand levels deep is an answer like any other."""
        self.assertEqual(understand(b"[" * 100_000).num, -102)  # type: ignore[union-attr]

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from([
        b"POST / HTTP/1.1\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"abc", b"0\r\n",
        b"3\r\nabc\r\n", b"\x00", b"\xff\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b" x\r\n", b"\n",
    ]) | st.binary(max_size=5), max_size=12))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever octets come, nothing is raised and nothing is counted twice."""
        channel, _ = self.connect()
        for piece in pieces:
            channel.dataReceived(piece)
        self.lose(channel)
        self.assertEqual((self.factory.reading, len(self.factory.sessions)), (0, 0))
