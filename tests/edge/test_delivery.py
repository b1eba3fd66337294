"""Our UserDelivery in a stock twisted.mail factory: plug-ins fit both ways."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.mail import smtp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.edge.delivery import UserDelivery
from mailbridge.errors import StoreError
from mailbridge.interfaces import IIntake

from .smtp_world import World


class StockFactoryTests(SynchronousTestCase):
    """A stock smtp.ESMTP session of bonnie."""

    def setUp(self) -> None:
        self.world = World()
        self.delivery = UserDelivery(self.world.intake, "bonnie", self.world.clock)
        factory: Any = smtp.SMTPFactory()
        factory.noisy = False
        self.server: Any = factory.buildProtocol(None)
        self.server.noisy = False
        self.server.delivery = self.delivery
        self.server.timeout = None
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 4711))
        self.server.makeConnection(self.transport)
        self.say(b"HELO laptop\r\n")

    def say(self, octets: bytes) -> bytes:
        self.transport.clear()
        self.server.dataReceived(octets)
        said: bytes = self.transport.value()
        return said

    def send(self, recipients: tuple[bytes, ...], content: bytes = b"Subject: x\r\n\r\n..dot\r\n") -> bytes:
        self.say(b"MAIL FROM:<bonnie@example.org>\r\n")
        for recipient in recipients:
            self.say(b"RCPT TO:<%b>\r\n" % recipient)
        self.say(b"DATA\r\n")
        return self.say(content + b".\r\n")

    def test_interfaces(self) -> None:
        """It keeps both promises."""
        verifyObject(IIntake, self.delivery)
        verifyObject(smtp.IMessageDelivery, self.delivery)

    def test_two_recipients(self) -> None:
        """Two recipients get one copy each; the stock server's 250 comes after the commit."""
        self.world.store.hold = True
        self.assertEqual(self.send((b"bonnie@example.org", b"clyde@example.org")), b"")
        self.world.store.let_go()
        self.assertTrue(self.transport.value().startswith(b"250 "))
        for name in ("bonnie", "clyde"):
            [stored] = self.world.mail(name)
            self.assertTrue(stored.endswith(b"\r\nSubject: x\r\n\r\n.dot\r\n"))
            self.assertEqual(stored.count(b"Received:"), 1)

    def test_commit_at_once(self) -> None:
        """A store that commits before the second recipient's end is told answers both."""
        self.assertTrue(self.send((b"bonnie@example.org", b"clyde@example.org")).startswith(b"250 "))
        self.assertEqual(len(self.world.mail("clyde")), 1)

    def test_two_messages(self) -> None:
        """One after the other in one session."""
        for _ in range(2):
            self.assertTrue(self.send((b"clyde@example.org",)).startswith(b"250 "))
        self.assertEqual(len(self.world.mail("clyde")), 2)

    def test_refusals(self) -> None:
        """Our replies reach the stock server's client with their codes."""
        self.assertTrue(self.say(b"MAIL FROM:<clyde@example.org>\r\n").startswith(b"553 "))
        self.say(b"MAIL FROM:<bonnie@example.org>\r\n")
        self.assertTrue(self.say(b"RCPT TO:<nobody@example.org>\r\n").startswith(b"550 "))

    def test_bare_newline(self) -> None:
        """What the stock parser leaves inside a line is not stored (S13)."""
        for content in (b"Subject: x\r\n\r\none\n.\ntwo\r\n", b"Subject: x\r\n\r\none\rtwo\r\n"):
            self.assertTrue(self.send((b"bonnie@example.org", b"clyde@example.org"), content).startswith(b"550 "))
        self.assertEqual(self.world.mail("bonnie"), [])
        self.assertEqual(len(self.flushLoggedErrors(smtp.SMTPServerError)), 4)

    def test_store_fails(self) -> None:
        """Nothing is kept, and every recipient's message fails."""
        self.world.store.commit_error = StoreError("disk")
        self.assertTrue(self.send((b"bonnie@example.org", b"clyde@example.org")).startswith(b"550 "))
        self.assertEqual(len(self.flushLoggedErrors(smtp.SMTPServerError)), 2)
        self.flushLoggedErrors(StoreError)

    def test_lost(self) -> None:
        """A connection lost within DATA leaves nothing."""
        self.say(b"MAIL FROM:<bonnie@example.org>\r\n")
        self.say(b"RCPT TO:<clyde@example.org>\r\n")
        self.say(b"DATA\r\n")
        self.say(b"Subject: x\r\n\r\nhalf")
        self.server.connectionLost(None)
        self.assertEqual(self.world.store.aborted, 1)
        self.assertEqual(self.world.mail("clyde"), [])
