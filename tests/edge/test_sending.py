"""Sessions that are kept: several transactions, RSET where one was left open, and ways to end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import Address
from mailbridge.edge.connection import Interrupted, TooSlow
from mailbridge.edge.deadline import Deadline
from mailbridge.edge.sending import Conversation, Login, Manner, Server, open_session
from mailbridge.sasl.client import Plain
from mailbridge.smtp import client
from mailbridge.smtp.outgoing import Outgoing, Recipient
from mailbridge.smtp.steps import LIMITS, Phase
from mailbridge.testing.hostile import HostileFactory, Script
from mailbridge.testing.network import Network
from tests.edge.test_connection import Pieces

A, B, NO = Address("a", "x.example"), Address("b", "x.example"), Address("no", "x.example")
SERVER = Server("mx.example", tls="off")
REFUSE: Script = {"RCPT TO:<no@": (b"550 5.1.1 who\r\n",)}


class NoNames(Network):
    """A network without a name server."""

    def resolveHostName(self, *arguments: Any, **more: Any) -> Any:
        """Never asked."""
        raise AssertionError(arguments)


class AddressTests(SynchronousTestCase):
    """Servers without a name."""

    def test_address(self) -> None:
        """A server that is named by its address is connected to without asking for it."""
        for host in ("192.0.2.7", "2001:db8::7"):
            network = NoNames()
            network.servers[host, 25] = HostileFactory(network, {})
            opening = open_session(network, Server(host, tls="off"), Manner("us.example"))
            network.settle()
            self.assertTrue(self.successResultOf(opening).usable)


class SessionTests(SynchronousTestCase):
    """One server in memory."""

    def open(self, script: Script | None = None, server: Server = SERVER, **manner: Any) -> Deferred[Conversation]:
        """A session being opened."""
        self.network = Network()
        self.server = HostileFactory(self.network, script or {})
        self.network.servers[("mx.example", 25)] = self.server
        opening = open_session(self.network, server, Manner("us.example", **manner))
        self.network.settle()
        return opening

    def send(self, session: Conversation, *recipients: Address) -> Deferred[Any]:
        """One transaction."""
        sending = session.send(Outgoing(A, tuple(map(Recipient, recipients)), 3), Pieces(b"x\r\n"))
        self.network.settle()
        return sending

    def test_several_messages(self) -> None:
        """A session takes message after message; RSET comes only after a transaction that was left open."""
        session = self.successResultOf(self.open(REFUSE))
        for recipients in ((B,), (B, NO), (NO,), (B,)):
            self.successResultOf(self.send(session, *recipients))
            self.assertTrue(session.usable)
        self.assertEqual(len(self.server.messages), 3 + 1)  # the third ended with the lone dot of RFC 2920
        self.assertEqual(session.transactions, 4)
        self.assertEqual([line for line in self.server.commands if line == b"RSET"], [b"RSET"])
        quitting = Deferred.fromCoroutine(session.quit())
        self.network.settle()
        self.successResultOf(quitting)
        self.assertEqual(self.server.commands[-1], b"QUIT")
        self.assertFalse(session.usable)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_refused_mail(self) -> None:
        """A refused MAIL leaves the session whole; a 421 does not."""
        for reply, usable in ((b"550 no\r\n", True), (b"421 bye\r\n", False)):
            session = self.successResultOf(self.open({"MAIL": (reply,)}))
            self.failureResultOf(self.send(session, B), client.Refused)
            self.assertIs(session.usable, usable, reply)

    def test_too_big(self) -> None:
        """A message that the server cannot take costs nothing, and the session goes on."""
        session = self.successResultOf(self.open())
        huge = session.send(Outgoing(A, (Recipient(B),), 10**9), Pieces(b"x"))
        self.failureResultOf(huge, client.Unable)
        self.assertTrue(self.successResultOf(self.send(session, B)).final)

    def test_not_opened(self) -> None:
        """Refused, silent and unreachable servers: what went wrong comes out, and the connection is closed."""
        self.failureResultOf(self.open({"connect": (b"554 no\r\n",)}), client.Refused)
        self.assertTrue(self.network.ends[0][0].aborted)
        opening = self.open(server=Server("other.example", tls="off"))
        self.network.advance(1)
        self.failureResultOf(opening, ConnectionRefusedError)
        network = Network({("mx.example", 25): None})
        opening = open_session(network, SERVER, Manner("us.example", limits={Phase.CONNECT: 3.0}))
        network.advance(3.0)
        self.assertIs(self.failureResultOf(opening, TooSlow).value.phase, Phase.CONNECT)
        self.assertEqual(network.getDelayedCalls(), [])
        login = Login(lambda server, encrypted: [Plain("u", "hidden")])
        failure = self.failureResultOf(self.open({"AUTH": (b"535 5.7.8 no\r\n",)}, login=login), client.LoginFailed)
        self.assertNotIn("hidden", failure.getTraceback())

    def test_cancelled(self) -> None:
        """Cancelled while it connects and while it sends."""
        opening = open_session(Network({("mx.example", 25): None}), SERVER, Manner("us.example"))
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        session = self.successResultOf(self.open({"end": ()}))
        sending = self.send(session, B)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.assertTrue(session.after_content)
        self.assertFalse(session.usable)
        self.assertTrue(self.network.ends[0][0].aborted)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.failureResultOf(self.send(session, B), Interrupted)

    def test_goodbye_never_fails(self) -> None:
        """QUIT that is not answered, or answered with nonsense, is the end all the same."""
        for script in ({"QUIT": ()}, {"QUIT": (b"what\r\n",)}, {"QUIT": (b"500 no\r\n",)}):
            session = self.successResultOf(self.open(script))
            quitting = Deferred.fromCoroutine(session.quit())
            self.network.settle()
            self.network.advance(LIMITS[Phase.QUIT])
            self.assertIsNone(self.successResultOf(quitting))
            self.assertTrue(self.network.ends[0][0].aborted)


class DeadlineTests(SynchronousTestCase):
    """One delayed call for many deadlines."""

    def test_moved(self) -> None:
        """A deadline may move out and in; one call is in the reactor, none after `stop`."""
        network, passed = Network(), []
        deadline = Deadline(network, lambda: passed.append(network.seconds()))
        deadline.set(10)
        network.advance(9)
        deadline.set(10)
        network.advance(9)
        self.assertEqual((passed, len(network.getDelayedCalls())), ([], 1))
        deadline.set(0.5)
        network.advance(0.5)
        self.assertEqual(passed, [18.5])
        deadline.set(5)
        deadline.stop()
        network.advance(10)
        self.assertEqual((passed, network.getDelayedCalls()), ([18.5], []))
