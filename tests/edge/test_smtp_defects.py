"""Rows S1 to S14 of the defects of stock twisted.mail: each is shown on the stock class and is absent from ours.

The assertions about the stock class are plain facts of today: when one fails, Twisted has mended that row, and its
mention in the documentation can go.
"""

from __future__ import annotations

import inspect
from typing import Any

import trustme
from twisted.cred.credentials import IUsernamePassword
from twisted.internet import protocol, reactor, ssl
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.mail import smtp
from twisted.mail.imap4 import PLAINCredentials
from twisted.protocols import basic, policies
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from mailbridge import reply
from mailbridge.edge.smtp import SMTPServer
from mailbridge.edge.transport import CurrentTLS, listen
from mailbridge.errors import StoreError
from mailbridge.limits import Limits

from .smtp_world import LOOPBACK, PLAIN, World

OPENING = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bonnie@example.org>\r\n"


@implementer(smtp.IMessageDelivery, smtp.IMessage)
class Anybody:
    """Takes mail for everybody; keeps the lines of each message it opened."""

    def __init__(self) -> None:
        self.opened: list[list[bytes]] = []
        self.senders: list[str] = []
        self.sender: Any = None
        self.end: Any = None

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b""

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        self.senders.append(str(origin))
        return origin if self.sender is None else self.sender

    def validateTo(self, user: Any) -> Any:
        def opened() -> Anybody:
            self.opened.append([])
            return self

        return opened

    def lineReceived(self, line: bytes) -> None:
        self.opened[-1].append(line)

    def eomReceived(self) -> Any:
        return Deferred() if self.end is None else self.end

    def connectionLost(self) -> None:
        pass


class Stock:
    """A stock smtp.ESMTP over a transport of strings."""

    def __init__(self, delivery: Anybody | None = None, **challengers: Any) -> None:
        self.delivery = delivery or Anybody()
        self.clock = Clock()
        self.server: Any = smtp.ESMTP({name.encode(): made for name, made in challengers.items()})
        self.server.noisy = False
        self.server.delivery = self.delivery
        self.server.callLater = self.clock.callLater
        self.server.portal = object()
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 4711))
        self.server.makeConnection(self.transport)
        self.read()

    def read(self) -> bytes:
        said: bytes = self.transport.value()
        self.transport.clear()
        return said

    def say(self, octets: bytes) -> bytes:
        self.server.dataReceived(octets)
        return self.read()


class DefectTests(SynchronousTestCase):
    """The rows that need no socket."""

    def test_s01_extensions(self) -> None:
        """S1: EHLO lists what there is, and NOOP, VRFY, HELP and BDAT are known."""
        stock, ours = Stock(), World().connect()
        self.assertNotRegex(stock.say(b"EHLO x\r\n"), rb"SIZE|PIPELINING|8BITMIME")
        listed = ours.say(b"EHLO x\r\n")
        for name in (b"PIPELINING", b"SIZE 52428800", b"8BITMIME", b"SMTPUTF8", b"CHUNKING", b"ENHANCEDSTATUSCODES"):
            self.assertIn(b"250-" + name + b"\r\n", listed)
        for command, code in [(b"NOOP", b"250"), (b"VRFY x", b"252"), (b"HELP", b"214"), (b"BDAT 0", b"503")]:
            self.assertTrue(stock.say(command + b"\r\n").startswith(b"500"))
            self.assertTrue(ours.say(command + b"\r\n").startswith(code))

    def test_s02_parameters(self) -> None:
        """S2: parameters of MAIL are understood, not dropped."""
        self.assertTrue(Stock().say(b"MAIL FROM:<a@b> SIZE=99999999999 FOO=bar\r\n").startswith(b"250"))
        ours = World().connect()
        ours.say(b"EHLO x\r\n")
        self.assertEqual(ours.say(b"MAIL FROM:<a@b> SIZE=99999999999\r\n"), reply.TOO_LARGE.wire)
        self.assertEqual(ours.say(b"MAIL FROM:<a@b> FOO=bar\r\n"), reply.UNKNOWN_PARAMETER.wire)

    def test_s03_other_letters(self) -> None:
        """S3: addresses with other letters and IPv6 literals; a verb of odd octets gets an answer."""
        for command in ("MAIL FROM:<jürgen@b.example> SMTPUTF8\r\n", "MAIL FROM:<a@[IPv6:2001:db8::1]>\r\n"):
            self.assertTrue(Stock().say(command.encode()).startswith(b"501"), command)
            ours = World().connect()
            ours.say(b"EHLO x\r\n")
            self.assertTrue(ours.say(command.encode()).startswith(b"250"), command)
        self.assertRaises(UnicodeError, Stock().say, b"\xff\r\n")
        self.assertEqual(World().connect().say(b"\xff\r\n"), reply.UNKNOWN_COMMAND.wire)

    def test_s04_pipelining(self) -> None:
        """S4: an answer that comes later holds the following commands back, in order (twisted #8126, #8128)."""
        commands = OPENING + b"DATA\r\n"
        delivery = Anybody()
        delivery.sender = Deferred()
        stock = Stock(delivery)
        self.assertEqual([line[:4] for line in stock.say(commands).splitlines()][-2:], [b"503 ", b"503 "])
        delivery = Anybody()
        delivery.sender = Deferred()
        world = World()
        ours = world.connect(factory=world.make_factory(delivery))
        self.assertNotIn(b"503", ours.say(commands))
        delivery.sender.callback(smtp.Address("a@b"))
        self.assertEqual([line[:4] for line in ours.read().splitlines()], [b"250 ", b"250 ", b"354 "])

    def test_s05_message_injection(self) -> None:
        """S5: a long line in DATA does not turn the rest of the message into commands."""
        line = b"x" * 20_000 + b"\r\n"
        rest = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bonnie@example.org>\r\n.\r\n"
        content = line + rest
        stock = Stock()
        stock.say(OPENING + b"DATA\r\n")
        self.assertEqual(stock.say(line), b"500 Line too long\r\n")
        stock.say(b"RSET\r\n" + rest)
        self.assertIn("evil@b.example", stock.delivery.senders)
        world = World()
        ours = world.connect()
        ours.say(OPENING + b"DATA\r\n")
        self.assertRegex(ours.say(content), rb"\A250 2\.0\.0 Stored as \w+\r\n\Z")
        self.assertTrue(world.mail("bonnie")[0].endswith(content[:-3]))
        too_long = World(Limits(message_size=10_000)).connect()
        too_long.say(OPENING + b"DATA\r\n")
        self.assertEqual(too_long.say(content), reply.TOO_LARGE.wire)

    def test_s06_endless_line(self) -> None:
        """S6: an endless line is cut off instead of being kept."""
        stock = Stock()
        for _ in range(10):
            stock.server.dataReceived(b"x" * 16_000)
        self.assertEqual(len(stock.server._buffer), 160_000)
        self.assertFalse(stock.transport.disconnecting)
        ours = World().connect()
        self.assertEqual(ours.say(b"x" * 2000), reply.LINE_TOO_LONG.wire)
        self.assertTrue(ours.closed)

    def test_s08_verdict_at_the_end(self) -> None:
        """S8: a temporary failure at the end of data stays temporary (twisted #4903)."""
        for failing in (smtp.SMTPServerError(451, "later"), StoreError("disk")):
            delivery = Anybody()
            delivery.end = Deferred()
            delivery.end.errback(failing)
            stock = Stock(delivery)
            stock.say(OPENING + b"DATA\r\n")
            self.assertTrue(stock.say(b".\r\n").startswith(b"550 "))
            self.flushLoggedErrors(smtp.SMTPServerError, StoreError)
        world = World()
        world.store.commit_error = StoreError("disk")
        self.assertEqual(world.connect().deliver(), reply.NOT_NOW.wire)
        self.flushLoggedErrors(StoreError)

    def test_s09_timer_while_we_work(self) -> None:
        """S9: while the end of data is being worked on, the client does not time out."""
        stock = Stock()
        stock.say(OPENING + b"DATA\r\n.\r\n")
        stock.clock.advance(601)
        self.assertIn(b"421 ", stock.read())
        world = World()
        world.sessions.start()
        self.addCleanup(world.sessions.stop)
        world.store.hold = True
        ours = world.connect()
        ours.deliver()
        world.clock.pump([1] * 601)
        self.assertEqual(ours.read(), b"")
        world.store.let_go()
        self.assertTrue(ours.read().startswith(b"250 "))

    def test_s10_limits(self) -> None:
        """S10: errors, recipients and guesses have limits; AUTH in clear is not offered; AUTH alone is answered."""
        stock = Stock(PLAIN=PLAINCredentials)
        stock.say(b"EHLO x\r\n" + b"NONSENSE\r\n" * 1000)
        self.assertFalse(stock.transport.disconnecting)
        self.assertIn(b"AUTH PLAIN", stock.say(b"EHLO x\r\n"))
        self.assertTrue(IUsernamePassword.implementedBy(PLAINCredentials))
        self.assertRaises(IndexError, stock.say, b"AUTH\r\n")
        many = Stock()
        many.say(OPENING)
        self.assertEqual(many.say(b"RCPT TO:<c@d>\r\n" * 2000).count(b"250 "), 2000)
        ours = World().connect()
        self.assertNotIn(b"PLAIN", ours.say(b"EHLO x\r\n"))
        self.assertEqual(ours.say(b"AUTH\r\n"), reply.SYNTAX.wire)
        self.assertTrue(ours.say(b"NONSENSE\r\n" * 1000).endswith(reply.TOO_MANY_ERRORS.wire))
        self.assertTrue(ours.closed)
        ours = World().connect()
        self.assertEqual(ours.codes(OPENING + b"RCPT TO:<bonnie@example.org>\r\n" * 1000)[-2:], [250, 452])
        ours = World().connect(LOOPBACK)
        ours.say(b"EHLO x\r\n")
        for _ in range(6):
            ours.say(b"AUTH PLAIN AGJvbm5pZQB3cm9uZw==\r\n")
        self.assertEqual(ours.say(PLAIN), reply.LOGIN_LATER.wire)

    def test_s11_one_content(self) -> None:
        """S11: one message for two recipients is one content."""
        stock = Stock()
        stock.say(OPENING + b"RCPT TO:<clyde@example.org>\r\nDATA\r\nhello\r\n.\r\n")
        self.assertEqual(len(stock.delivery.opened), 2)
        world = World()
        made: list[object] = []
        content = world.store.content
        world.store.content = lambda: made.append(1) or content()  # type: ignore
        world.connect().deliver(recipients=(b"bonnie@example.org", b"clyde@example.org"))
        self.assertEqual(len(made), 1)

    def test_s12_in_bulk(self) -> None:
        """S12: content goes on in bulk, not line by line."""
        stock = Stock()
        stock.say(OPENING + b"DATA\r\n")
        stock.say(b"a: b\r\n" + b"line\r\n" * 1000)
        self.assertEqual(len(stock.delivery.opened[0]), 1001)
        world = World()
        ours = world.connect()
        ours.say(OPENING + b"DATA\r\n")
        written: list[int] = []
        write = ours.server._transaction.write
        ours.server._transaction = type("Seen", (), {
            "write": lambda self, octets: written.append(len(octets)) or write(octets), "abort": lambda self: None,
        })()
        ours.say(b"a: b\r\n\r\n" + b"line\r\n" * 1000)
        self.assertEqual(len(written), 1)

    def test_s13_bare_newline(self) -> None:
        """S13: a bare LF is refused, not handed on inside a line, where the next server may take it for an end."""
        content = b"Subject: x\r\n\r\none\n.\nMAIL FROM:<evil@b.example>\r\n.\r\n"
        stock = Stock()
        stock.say(OPENING + b"DATA\r\n")
        stock.say(content)
        self.assertIn(b"one\n.\nMAIL FROM:<evil@b.example>", stock.delivery.opened[0])
        world = World()
        ours = world.connect()
        ours.say(OPENING + b"DATA\r\n")
        self.assertEqual(ours.say(content), reply.BARE_NEWLINE.wire)
        self.assertEqual(world.mail("bonnie"), [])

    def test_s14_python_3(self) -> None:
        """S14: quoted local parts, the trace line and a message for nobody do not raise."""
        stock = Stock().server
        stock.delivery = None
        self.assertRaises(TypeError, smtp.Address("a@b").dequote, b'"a"')
        self.assertRaises(TypeError, stock.receivedHeader, (b"x", b"192.0.2.7"), None, [])
        self.assertRaises((TypeError, ValueError), stock._messageHandled, "thrown away")
        world = World()
        ours = world.connect()
        self.assertTrue(ours.deliver(sender=b'"a\\ b"@c.example').startswith(b"250 "))
        self.assertTrue(world.mail("bonnie")[0].startswith(b"Received: "))

    def test_the_inherited_parser_is_never_reached(self) -> None:
        """Not one method of the stock protocol runs while a session is held with ours, whatever it is sent."""
        world = World()
        client = world.connect(LOOPBACK)
        called: list[str] = []
        inherited = set()
        for base in (smtp.ESMTP, smtp.SMTP, basic.LineOnlyReceiver, policies.TimeoutMixin):
            inherited |= {name for name, value in vars(base).items() if inspect.isfunction(value)}
        inherited -= {name for name in vars(SMTPServer) if callable(getattr(SMTPServer, name))}
        self.assertLessEqual({"lineReceived", "lineLengthExceeded", "do_MAIL", "state_COMMAND", "ext_STARTTLS",
                              "sendCode", "setTimeout", "extensions", "validateFrom"}, inherited)
        for name in inherited:
            setattr(client.server, name, lambda *arguments, name=name, **named: called.append(name))
        client.say(b"EHLO x\r\n" + PLAIN)
        client.deliver(sender=b"bonnie@example.org")
        client.say(b"NOOP\r\nHELP\r\nVRFY x\r\nRSET\r\nSTARTTLS\r\nTURN\r\nAUTH\r\nBDAT 3\r\nabcDATA\r\n\xff\n")
        client.say(b"MAIL FROM:<bonnie@example.org>\r\nRCPT TO:<clyde@example.org>\r\nDATA\r\n")
        client.say(b"x" * 40_000 + b"\r\n.\r\nQUIT\r\n")
        client.lose()
        self.assertTrue(client.closed)
        self.assertEqual(called, [])


class _Lines(protocol.Protocol):
    """Waits for an answer that ends with given octets."""

    transport: Any

    def __init__(self) -> None:
        self.got = b""
        self._end = b""
        self._done: Deferred[bytes] | None = None
        self.lost: Deferred[None] = Deferred()

    def until(self, end: bytes) -> Deferred[bytes]:
        """Everything up to and with `end`."""
        self._end, self._done = end, Deferred()
        done = self._done
        self.dataReceived(b"")
        return done

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if self._done is not None and self.got.endswith(self._end):
            got, self.got, done, self._done = self.got, b"", self._done, None
            done.callback(got)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


class StarttlsTests(TestCase):
    """S7 needs real TLS (CVE-2011-0411)."""

    timeout = 20

    def setUp(self) -> None:
        authority = trustme.CA()
        made = authority.issue_cert("bridge.example.org")
        pem = made.private_key_pem.bytes() + made.cert_chain_pems[0].bytes()
        self.options = ssl.PrivateCertificate.loadPEM(pem).options()
        self.trust = ssl.optionsForClientTLS(
            "bridge.example.org",
            trustRoot=ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())]))

    @inlineCallbacks
    def connect(self, factory: Any) -> Any:
        port: Any = yield listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), factory)
        self.addCleanup(port.stopListening)
        end = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)  # type: ignore[arg-type]
        client: Any = yield connectProtocol(end, _Lines())
        self.addCleanup(lambda: client.transport.abortConnection())
        yield client.until(b"\r\n")
        return client

    @inlineCallbacks
    def test_s07_stock(self) -> Any:
        """Stock: a command sent in clear behind STARTTLS runs, and a sender given before the handshake survives it."""
        delivery = Anybody()
        context = self.options

        class Server(smtp.ESMTP):
            noisy = False

            def __init__(self) -> None:
                smtp.ESMTP.__init__(self, contextFactory=context)
                self.delivery = delivery

        factory: Any = protocol.Factory.forProtocol(Server)
        factory.noisy = False
        client = yield self.connect(factory)
        client.transport.write(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@b.example>\r\n")
        yield client.until(b"220 Begin TLS negotiation now\r\n")
        client.transport.startTLS(self.trust)
        client.transport.write(b"RCPT TO:<c@d.example>\r\n")
        said = yield client.until(b"Recipient address accepted\r\n")
        self.assertIn(b"250 Sender address accepted\r\n", said)
        self.assertEqual(delivery.senders, ["evil@b.example"])

    @inlineCallbacks
    def test_s07_injected(self) -> Any:
        """Ours: octets behind STARTTLS close the session, and never run."""
        world = World(starttls="offer", tls=CurrentTLS(self.options))
        client = yield self.connect(world.factory)
        client.transport.write(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@b.example>\r\n")
        said = yield client.until(b"goodbye\r\n")
        self.assertTrue(said.endswith(reply.INJECTED.wire))
        self.assertNotIn(b"220 ", said)
        yield client.lost

    @inlineCallbacks
    def test_s07_state(self) -> Any:
        """Ours: after the handshake nothing said before counts; the trace line names the cipher."""
        world = World(starttls="offer", tls=CurrentTLS(self.options))
        client = yield self.connect(world.factory)
        client.transport.write(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
        yield client.until(reply.SENDER_OK.wire)
        client.transport.write(b"STARTTLS\r\n")
        yield client.until(reply.READY_FOR_TLS.wire)
        client.transport.startTLS(self.trust)
        client.transport.write(b"RCPT TO:<bonnie@example.org>\r\n")
        self.assertEqual((yield client.until(b"\r\n")), reply.NEED_MAIL.wire)
        client.transport.write(b"EHLO y\r\n")
        listed = yield client.until(b"CRAM-MD5\r\n")
        self.assertNotIn(b"STARTTLS", listed)
        client.transport.write(OPENING + b"BDAT 4 LAST\r\n\r\n\r\n")
        yield client.until(b"Recipient OK\r\n250 2.0.0 Stored as 00000000000000000002\r\n")
        self.assertRegex(world.mail("bonnie")[0], rb"\r\n\t\(using TLSv1\.3 TLS_\w+\)\r\n\tby \S+ with ESMTPS id ")
        client.transport.loseConnection()
        yield client.lost

    @inlineCallbacks
    def test_s07_login(self) -> Any:
        """Ours: a login before the handshake does not outlive it, nor what it allowed."""
        world = World(starttls="offer", tls=CurrentTLS(self.options), normalise=True)
        world.pool.run = lambda work, client, name: succeed(work())  # type: ignore
        client = yield self.connect(world.factory)
        client.transport.write(b"EHLO x\r\n" + PLAIN)
        yield client.until(reply.LOGGED_IN.wire)
        client.transport.write(b"STARTTLS\r\n")
        yield client.until(reply.READY_FOR_TLS.wire)
        self.assertEqual(world.left, ["bonnie"])
        client.transport.startTLS(self.trust)
        client.transport.write(OPENING + b"BDAT 4 LAST\r\n\r\n\r\n")
        yield client.until(b"Recipient OK\r\n250 2.0.0 Stored as 00000000000000000001\r\n")
        self.assertIn(b" with ESMTPS id ", world.mail("bonnie")[0])
        client.transport.write(OPENING + b"BDAT 4 LAST\r\n\r\na\n")
        yield client.until(reply.BARE_NEWLINE.wire)
        client.transport.loseConnection()
        yield client.lost
