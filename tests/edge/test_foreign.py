"""Code written for twisted.mail in our SMTP sessions: IMessageDelivery, IMessage, a foreign realm and checker.

`ConsoleMessageDelivery`, `ConsoleMessage` and `SimpleRealm` are those of Twisted's documentation (emailserver.tac), but
for what cannot work there on Python 3: it compares octets with text, so no recipient ever matches.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.mail import smtp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailbridge import reply
from mailbridge.accounts.login import Login
from mailbridge.accounts.throttle import Throttle
from mailbridge.edge.foreign import as_intake

from .smtp_world import LOOPBACK, STRANGER, Client, World

CONSOLE: list[list[bytes]] = []


@implementer(smtp.IMessageDelivery)
class ConsoleMessageDelivery:
    """As documented."""

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> Any:
        return "Received: ConsoleMessageDelivery"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        return origin

    def validateTo(self, user: Any) -> Any:
        if user.dest.local == b"console":
            return lambda: ConsoleMessage()
        raise smtp.SMTPBadRcpt(user)


@implementer(smtp.IMessage)
class ConsoleMessage:
    """As documented."""

    def __init__(self) -> None:
        self.lines: Any = []

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line)

    def eomReceived(self) -> Any:
        CONSOLE.append(self.lines)
        self.lines = None
        return defer.succeed(None)

    def connectionLost(self) -> None:
        self.lines = None


@implementer(IRealm)
class SimpleRealm:
    """As documented."""

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        if smtp.IMessageDelivery in interfaces:
            return smtp.IMessageDelivery, ConsoleMessageDelivery(), lambda: None
        raise NotImplementedError()


@implementer(smtp.IMessageDelivery, smtp.IMessage)
class Scripted:
    """A delivery and its one message whose answers a test sets: a value, an exception or a Deferred."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[Any] = []
        self.lines: list[bytes] = []
        self.lost = 0

    def _answer(self, question: str, default: Any) -> Any:
        answer = self.answers.get(question, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> Any:
        self.calls.append((helo, origin, [str(each) for each in recipients]))
        return self._answer("header", b"Received: from x\n\tby y")

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        self.calls.append((helo, origin))
        return self._answer("sender", origin)

    def validateTo(self, user: Any) -> Any:
        self.calls.append(user)
        return self._answer("recipient", self.open)

    def open(self) -> Any:
        return self._answer("open", self)

    def lineReceived(self, line: bytes) -> None:
        self._answer("line", None)
        self.lines.append(line)

    def eomReceived(self) -> Any:
        return self._answer("end", defer.succeed(None))

    def connectionLost(self) -> None:
        self.lost += 1


class DocumentedExampleTests(SynchronousTestCase):
    """The toy server of the documentation, behind our wire."""

    def setUp(self) -> None:
        CONSOLE.clear()
        self.world = World()

    def test_anonymous(self) -> None:
        """A message reaches the console, under the header it asked for; other recipients are refused."""
        client = self.world.connect(STRANGER, self.world.make_factory(ConsoleMessageDelivery()))
        answer = client.deliver(b"Subject: x\r\n\r\n.dot\r\n", recipients=(b"console@here",))
        self.assertTrue(answer.startswith(b"250 "))
        self.assertEqual(CONSOLE, [[b"Received: ConsoleMessageDelivery", b"Subject: x", b"", b".dot"]])
        client.say(b"MAIL FROM:<a@b>\r\n")
        self.assertTrue(client.say(b"RCPT TO:<other@here>\r\n").startswith(b"550 5.0.0 "))

    def test_login(self) -> None:
        """The portal, realm and checker of the example log a client in by PLAIN."""
        portal = Portal(SimpleRealm())
        checker: Any = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(b"guest", b"password")
        portal.registerChecker(checker)
        login = Login(portal, Throttle(self.world.clock.seconds), "bridge", lambda size: b"\1" * size)
        client = self.world.connect(LOOPBACK, self.world.make_factory(None, login))
        client.say(b"EHLO x\r\n")
        self.assertEqual(client.say(b"AUTH PLAIN AGd1ZXN0AHdyb25n\r\n"), reply.WRONG_PASSWORD.wire)
        self.assertEqual(client.say(b"AUTH PLAIN AGd1ZXN0AHBhc3N3b3Jk\r\n"), reply.LOGGED_IN.wire)
        self.assertTrue(client.deliver(recipients=(b"console@here",)).startswith(b"250 "))
        self.assertEqual(len(CONSOLE), 1)


class ForeignTests(SynchronousTestCase):
    """Every answer a stock delivery may give."""

    def session(self, delivery: object) -> Client:
        world = World()
        return world.connect(STRANGER, world.make_factory(delivery))

    def test_arguments(self) -> None:
        """The delivery sees octets: name and address of the client, sender, recipients."""
        delivery = Scripted()
        self.assertTrue(self.session(delivery).deliver(recipients=(b"c@d", b'"e f"@d')).startswith(b"250 "))
        helo, origin = delivery.calls[0]
        self.assertEqual(helo, (b"laptop", b"192.0.2.7"))
        self.assertEqual((origin.local, origin.domain), (b"a", b"elsewhere.example"))
        self.assertEqual([call.dest.local for call in delivery.calls[1:3]], [b"c", b"e f"])
        self.assertEqual(delivery.calls[1].helo, helo)
        self.assertEqual(delivery.lines[:2], [b"Received: from x", b"\tby y"])

    def test_null_sender(self) -> None:
        """`<>` is the empty address."""
        delivery = Scripted()
        self.session(delivery).deliver(sender=b"")
        self.assertEqual(bytes(delivery.calls[0][1]), b"")

    def test_refusals(self) -> None:
        """An SMTPServerError is told with its code; what a delivery did not mean is 451 and logged (twisted #4903)."""
        user: Any = smtp.User("c@d", (b"x", b"y"), None, smtp.Address("a@b"))
        for question, error, answer in [
            ("sender", smtp.SMTPBadSender(smtp.Address("a@b"), 553, "not you"), b"553 5.0.0 not you\r\n"),
            ("recipient", smtp.SMTPBadRcpt(user, 450, "later"), b"450 4.0.0 later\r\n"),
            ("open", smtp.SMTPServerError(452, "full"), b"452 4.0.0 full\r\n"),
            ("end", smtp.SMTPServerError(451, "disk"), b"451 4.0.0 disk\r\n"),
            ("line", smtp.SMTPServerError(554, "no\nreally"), b"554-5.0.0 no\r\n554 5.0.0 really\r\n"),
            ("sender", ZeroDivisionError(), reply.NOT_NOW.wire),
            ("recipient", ZeroDivisionError(), reply.NOT_NOW.wire),
            ("open", ZeroDivisionError(), reply.NOT_NOW.wire),
            ("header", ZeroDivisionError(), reply.NOT_NOW.wire),
            ("line", ZeroDivisionError(), reply.NOT_NOW.wire),
            ("end", ZeroDivisionError(), reply.NOT_NOW.wire),
        ]:
            for later in ("at once", "later"):
                if later == "later" and question not in ("sender", "recipient", "end"):
                    continue
                delivery = Scripted(**{question: error if later == "at once" else defer.fail(error)})
                client = self.session(delivery)
                said = client.say(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n")
                self.assertIn(answer, said, (question, later))
                self.assertNotIn(b"250 2.0.0", said)
                self.flushLoggedErrors(ZeroDivisionError)
                self.assertFalse(client.closed)

    def test_deferred_answers(self) -> None:
        """Each question may be answered later; pipelined commands wait in order (S4)."""
        answers: dict[str, Deferred[Any]] = {name: Deferred() for name in ("sender", "recipient", "end")}
        delivery = Scripted(**answers)
        client = self.session(delivery)
        said = client.say(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n")
        self.assertEqual(said, b"250 bridge.example.org\r\n")
        answers["sender"].callback(smtp.Address("a@b"))
        self.assertEqual(client.read(), reply.SENDER_OK.wire)
        answers["recipient"].callback(delivery.open)
        self.assertEqual(client.read(), reply.RECIPIENT_OK.wire + reply.SEND_DATA.wire)
        self.assertEqual(delivery.lines[-1:], [b"hello"])
        answers["end"].callback(None)
        self.assertEqual(client.read(), reply.OK.wire + reply.BYE.wire)

    def test_one_message_fails(self) -> None:
        """If one recipient's message fails the sender is told, and every message has had its end."""
        good, bad = Scripted(), Scripted(end=smtp.SMTPServerError(452, "full"))

        @implementer(smtp.IMessageDelivery)
        class Two(Scripted):
            def validateTo(self, user: Any) -> Any:
                return good.open if user.dest.local == b"good" else bad.open

        client = self.session(Two())
        self.assertEqual(client.deliver(recipients=(b"good@d", b"bad@d")), b"452 4.0.0 full\r\n")
        self.assertEqual(good.lines, bad.lines)

    def test_lines(self) -> None:
        """Lines arrive whole at any split, a last one without CR LF too, and none is cut at other octets."""
        delivery = Scripted(header=b"")
        client = self.session(delivery)
        client.say(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
        for octet in b"BDAT 16 LAST\r\none\r\n\r\nt\x85w\x0bo\0\r\n.":
            client.server.dataReceived(bytes([octet]))
        self.assertTrue(client.read().endswith(reply.OK.wire))
        self.assertEqual(delivery.lines, [b"one", b"", b"t\x85w\x0bo\0", b"."])

    def test_given_up(self) -> None:
        """RSET after a failed chunk, and a lost connection, tell the message that no end will come."""
        delivery = Scripted()
        client = self.session(delivery)
        client.say(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2\r\nxxRSET\r\n")
        self.assertEqual(delivery.lost, 1)
        client.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n")
        client.lose()
        self.assertEqual(delivery.lost, 2)

    def test_delivery_factory(self) -> None:
        """An IMessageDeliveryFactory is asked for each message; if it fails, the answer is 451."""
        made: list[Scripted] = []

        @implementer(smtp.IMessageDeliveryFactory)
        class Factory:
            def getMessageDelivery(self) -> Any:
                if len(made) == 2:
                    raise ZeroDivisionError
                made.append(Scripted())
                return made[-1]

        client = self.session(Factory())
        self.assertTrue(client.deliver().startswith(b"250 "))
        self.assertTrue(client.deliver().startswith(b"250 "))
        self.assertEqual([len(each.lines) for each in made], [5, 5])
        self.assertIn(reply.NOT_NOW.wire, client.say(b"MAIL FROM:<a@b>\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_of_the_kind(self) -> None:
        """Anything else is refused when the listener is made."""
        self.assertRaises(TypeError, as_intake, object())
