"""Sessions with POP3 servers in memory: order, back-pressure, limits, time, and what a failure leaves behind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.upstream import Upstream, open_upstream
from mailbridge.edge.upstreamsession import UpstreamSession
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin
from mailbridge.testing.acting import Endless, Slowly
from mailbridge.testing.hostile_pop3 import MESSAGES, OK, HostilePOP3Factory, dotted, listed
from mailbridge.testing.network import End, Network

SERVER = ("pop.example", 110)
LOGIN = UpstreamLogin("bonnie", "tanstaaf", in_clear=True)
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000


class UpstreamCase(SynchronousTestCase):
    """A network with one server."""

    def setUp(self) -> None:
        self.network = Network()
        self.server = HostilePOP3Factory(self.network)
        self.network.servers[SERVER] = self.server
        self.lines: list[str] = []

    def opening(self, login: UpstreamLogin = LOGIN, tls: str = "off", **limits: Any) -> Deferred[UpstreamSession]:
        """A session that is being opened."""
        return open_upstream(
            self.network, Upstream(*SERVER, tls), login, lambda octets: b"r" * octets, UpstreamLimits(**limits),
            self.lines.append,
        )

    def open(self, script: Any = None, **limits: Any) -> UpstreamSession:
        """An open session."""
        self.server.script = script or {}
        opening = self.opening(**limits)
        self.network.settle()
        session: UpstreamSession = self.successResultOf(opening)
        self.server.commands.clear()
        return session

    @property
    def end(self) -> End:
        """The client's end of the last connection."""
        return self.network.ends[-1][0]

    def kind(self, deferred: Deferred[Any]) -> Kind:
        """The kind of error it failed with."""
        error = self.failureResultOf(deferred).value
        self.assertIsInstance(error, UpstreamError, error)
        return error.kind


class SessionTests(UpstreamCase):
    """What a session does."""

    def test_several_in_a_row(self) -> None:
        """Retrievals that are asked for at once leave at once, and fire in order, each with its octets."""
        session = self.open()
        order: list[int] = []
        got: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
        waiting = [session.retrieve(number, got[number].append) for number in got]
        for number, each in enumerate(waiting, 1):
            each.addCallback(lambda octets, number=number: (order.append(number), octets)[1])
        self.network.flush()
        self.assertEqual(order, [1, 2, 3])
        for number, each in enumerate(waiting, 1):
            text = MESSAGES[number - 1][1]
            self.assertEqual((b"".join(got[number]), self.successResultOf(each)), (text, len(text)))

    def test_pipelining_only_where_it_is_offered(self) -> None:
        """A server that does not offer it gets a command when it has answered the one before."""
        session = self.open({"CAPA": (listed("UIDL", "SASL PLAIN"),), "RETR 1": (Slowly(dotted(b"x\r\n"), 1.0),)})
        waiting = [session.retrieve(number, lambda _: None) for number in (1, 2)]
        self.network.flush()
        self.assertEqual(self.server.commands, [b"RETR 1"])
        other = self.open({"RETR 1": (Slowly(dotted(b"x\r\n"), 1.0),)})
        waiting += [other.retrieve(number, lambda _: None) for number in (1, 2)]
        self.network.flush()
        self.assertEqual(self.server.commands, [b"RETR 1", b"RETR 2"])
        for each in (session, other):
            each.abort()
        self.assertEqual([self.kind(each) for each in waiting], [Kind.CLOSED] * 4)

    def test_back_pressure(self) -> None:
        """While the caller's Deferred waits, nothing is read and nothing more is given."""
        self.server.messages[0] = ("uid-1", LARGE)
        session = self.open()
        pieces: list[bytes] = []
        waits: list[Deferred[None]] = []

        def write(octets: bytes) -> Deferred[None]:
            pieces.append(octets)
            waits.append(Deferred())
            return waits[-1]

        retrieving = session.retrieve(1, write)
        self.network.flush()
        while not retrieving.called:
            self.assertEqual(len(waits), len(pieces))
            self.assertFalse(self.end.reading)
            self.network.advance(1000.0)  # our own slowness is not the server's
            self.assertFalse(retrieving.called)
            waits[-1].callback(None)
            self.network.flush()
        self.assertEqual(self.successResultOf(retrieving), len(LARGE))
        self.assertEqual(b"".join(pieces), LARGE)
        self.assertGreater(len(pieces), 10)
        self.assertTrue(self.end.reading)

    def test_a_writer_that_fails(self) -> None:
        """Its failure is told for that message; the rest is dropped, and the session goes on."""
        self.server.messages[0] = ("uid-1", LARGE)
        session = self.open()
        calls: list[bytes] = []

        def raises(octets: bytes) -> None:
            calls.append(octets)
            raise ZeroDivisionError

        def fails(octets: bytes) -> Deferred[None]:
            calls.append(octets)
            failed: Deferred[None] = Deferred()
            self.network.callLater(1.0, failed.errback, Failure(ZeroDivisionError()))
            return failed

        for write in (raises, fails):
            calls.clear()
            first, second = session.retrieve(1, write), session.retrieve(2, lambda _: None)
            self.network.advance(0)
            self.network.advance(1.0)
            self.network.flush()
            self.failureResultOf(first, ZeroDivisionError)
            self.assertEqual(self.successResultOf(second), len(MESSAGES[1][1]))
            self.assertEqual(len(calls), 1)
        self.assertTrue(session.usable)

    def test_what_was_sent_before_the_end_counts(self) -> None:
        """A message that has come whole before the connection ended is given whole, also to a slow caller."""
        session = self.open({"RETR 2": (b"",)})
        slow: Deferred[None] = Deferred()
        first, second = session.retrieve(1, lambda _: slow), session.retrieve(2, lambda _: None)
        self.network.flush()
        self.network.ends[-1][1].loseConnection()
        self.end.reading = True
        self.network.flush()
        self.assertNoResult(first)
        slow.callback(None)
        self.assertEqual(self.successResultOf(first), len(MESSAGES[0][1]))
        self.assertIs(self.kind(second), Kind.LOST)
        self.assertFalse(session.usable)
        self.assertIs(self.kind(session.noop()), Kind.LOST)

    def test_size_limit(self) -> None:
        """A message over its limit ends the session, whoever else waits; one of just the size does not."""
        session = self.open()
        size = len(MESSAGES[2][1])
        self.network.flush()
        fits = session.retrieve(3, lambda _: None, size)
        self.network.flush()
        self.assertEqual(self.successResultOf(fits), size)
        over, behind = session.retrieve(3, lambda _: None, size - 1), session.delete(1)
        self.network.flush()
        self.assertEqual([self.kind(over), self.kind(behind)], [Kind.LARGE, Kind.LARGE])
        self.assertFalse(session.usable)
        self.network.flush()
        self.assertFalse(self.end.connected)
        self.assertEqual(self.server.deleted, [])

    def test_top_and_the_rest(self) -> None:
        """TOP, STAT, LIST, UIDL, NOOP, RSET, DELE and QUIT do what their names say."""
        session = self.open()
        header: list[bytes] = []
        found = [session.top(3, 1, header.append), session.stat(), session.noop(), session.delete(1), session.delete(3)]
        self.network.flush()
        total = sum(len(text) for _, text in MESSAGES)
        top = b"Subject: three\r\n\r\n0123456789abcdef\r\n"
        self.assertEqual([self.successResultOf(each) for each in found], [len(top), (3, total), None, None, None])
        self.assertEqual(b"".join(header), top)
        listing, uids = session.list(), session.uidl()
        self.network.flush()
        self.assertEqual(dict(self.successResultOf(listing)), {2: len(MESSAGES[1][1])})
        self.assertEqual(dict(self.successResultOf(uids) or {}), {2: "uid-2"})
        again = [session.delete(1), session.reset(), session.delete(2), session.quit()]
        self.network.settle()
        self.assertIs(self.kind(again[0]), Kind.REFUSED)
        for each in again[1:]:
            self.assertIsNone(self.successResultOf(each))
        self.assertEqual(self.server.deleted, ["uid-2"])
        self.assertFalse(self.end.connected)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_a_password_of_digits(self) -> None:
        """What hides a password in texts does not change a number."""
        opening = self.opening(UpstreamLogin("bonnie", "3", in_clear=True))
        self.network.settle()
        session: UpstreamSession = self.successResultOf(opening)
        stat, listing = session.stat(), session.list()
        self.network.flush()
        self.assertEqual(self.successResultOf(stat)[0], 3)
        self.assertEqual(list(self.successResultOf(listing)), [1, 2, 3])
        self.assertIn("<- +OK *** ", "".join(self.lines))

    def test_numbers_of_stat(self) -> None:
        """STAT must have its two numbers; what follows them does not matter."""
        for octets, found in ((b"+OK 1 2\r\n", (1, 2)), (b"+OK 0\t0 messages\r\n", (0, 0)), (b"+OK 1\r\n", None),
                              (b"+OK\r\n", None), (b"+OK 1 2x\r\n", None), (b"+OK " + b"1" * 11 + b" 2\r\n", None)):
            stat = self.open({"STAT": (octets,)}).stat()
            self.network.flush()
            if found is None:
                self.assertIs(self.kind(stat), Kind.PROTOCOL)
            else:
                self.assertEqual(self.successResultOf(stat), found)

    def test_uidl_that_is_not_offered(self) -> None:
        """A server without UIDL has none; one that lists it and refuses it is an error, since ids would change."""
        session = self.open({"CAPA": (listed("SASL PLAIN"),), "UIDL": (b"-ERR what?\r\n",)})
        without = session.uidl()
        self.network.flush()
        self.assertIsNone(self.successResultOf(without))
        session = self.open({"UIDL": (b"-ERR what?\r\n",)})
        refused = session.uidl()
        self.network.flush()
        self.assertIs(self.kind(refused), Kind.REFUSED)

    def test_numbers_are_checked(self) -> None:
        """A number that is none never becomes a command."""
        session = self.open()
        for number in (0, -1, 2**31 + 1):
            self.assertRaises(ValueError, session.delete, number)
            self.assertRaises(ValueError, session.retrieve, number, lambda _: None)
        self.assertRaises(ValueError, session.top, 1, -1, lambda _: None)
        self.assertEqual(self.server.commands, [])

    def test_cancelled(self) -> None:
        """Cancelling one wait closes the session; the others hear that it was closed."""
        session = self.open({"RETR 1": ()})
        one, other = session.retrieve(1, lambda _: None), session.stat()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertIs(self.kind(other), Kind.CLOSED)
        self.assertTrue(self.end.aborted)
        self.network.flush()
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_transcript(self) -> None:
        """What was said and heard, without what is secret."""
        self.open()
        self.assertEqual(self.lines, [
            "<- +OK hostile.example ready <1.2@hostile.example>", "-> CAPA", "<- +OK", "-> AUTH PLAIN",
            "<- + (a challenge)", "-> ***", "<- +OK",
        ])


class TimeTests(UpstreamCase):
    """How long a server may take."""

    def after(self, waiting: Deferred[Any]) -> float:
        """The seconds after which it failed for time."""
        start = self.network.seconds()
        while not waiting.called and self.network.seconds() - start < 5000:
            self.network.advance(1.0)
        self.assertIs(self.kind(waiting), Kind.TIME)
        return self.network.seconds() - start

    def test_connecting(self) -> None:
        """A host that never answers is given up after its limit."""
        self.network.servers[SERVER] = None
        opening = self.opening(connect=60.0)
        self.network.advance(59.0)
        self.assertNoResult(opening)
        self.network.advance(1.0)
        self.assertIs(self.kind(opening), Kind.CONNECT)

    def test_refused(self) -> None:
        """Nobody listens there."""
        del self.network.servers[SERVER]
        opening = self.opening()
        self.network.advance(1.0)
        error = self.failureResultOf(opening).value
        self.assertIs(error.kind, Kind.CONNECT)
        self.assertIn("pop.example:110", str(error))

    def test_silence(self) -> None:
        """An answer has its limit; for the next of a pipeline it begins anew."""
        session = self.open({"STAT": ()}, reply=100.0)
        self.assertEqual(self.after(session.stat()), 100.0)
        session = self.open({"NOOP": (Slowly(OK, 30.0),)}, reply=100.0)
        self.assertEqual(self.after(session.noop()), 100.0)

    def test_too_little_in_a_minute(self) -> None:
        """A message must come with so many octets a minute; one that does may take hours."""
        session = self.open({"RETR 1": (OK, Endless(b"x" * 58 + b"\r\n", 1.0))}, least_a_minute=4000)
        self.assertLessEqual(self.after(session.retrieve(1, lambda _: None)), 61.0)
        session = self.open({"RETR 1": (OK, Endless(b"x" * 58 + b"\r\n", 1.0))}, least_a_minute=3000)
        retrieving = session.retrieve(1, lambda _: None)
        for _ in range(7200):
            self.network.advance(1.0)
        self.assertNoResult(retrieving)
        session.abort()
        self.assertIs(self.kind(retrieving), Kind.CLOSED)

    def test_lists(self) -> None:
        """A list must come to an end in its time, however busy it is."""
        session = self.open({"LIST": (OK, Endless(b"1 1\r\n" * 100, 1.0))}, listing=600.0)
        self.assertLessEqual(self.after(session.list()), 601.0)

    def test_quit(self) -> None:
        """QUIT is not waited for long."""
        session = self.open({"QUIT": ()}, quit=10.0)
        self.assertEqual(self.after(session.quit()), 10.0)

    def test_idle_session(self) -> None:
        """A session of which nothing is asked has no deadline; the server's goodbye is told at the next command."""
        session = self.open()
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.network.ends[-1][1].write(b"-ERR Disconnected for inactivity\r\n")
        self.network.ends[-1][1].loseConnection()
        self.network.flush()
        error = self.failureResultOf(session.stat()).value
        self.assertIs(error.kind, Kind.LOST)
        self.assertIn("inactivity", str(error))


class LoopbackTests(UpstreamCase):
    """Who counts as this machine."""

    def test_by_the_address_of_the_peer(self) -> None:
        """Not the name but the address decides whether a password may go in clear."""
        for address, shown in (("127.0.0.1", True), ("10.0.0.7", False), ("127.0.0.1.example", False), ("::1", True),
                               ("::ffff:127.0.0.1", True), ("::ffff:10.0.0.7", False)):
            server = HostilePOP3Factory(self.network)
            self.network.servers[(address, 110)] = server
            login = UpstreamLogin("bonnie", "tanstaaf")
            opening = open_upstream(self.network, Upstream(address, 110, "off"), login, bytes)
            self.network.settle()
            opening.addErrback(lambda failure: failure.trap(UpstreamError))
            self.assertEqual(b"AUTH PLAIN" in server.commands, shown, address)
            self.assertTrue(opening.called)
