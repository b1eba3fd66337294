"""A POP3 listener in memory: a store, users bonnie and clyde, a foreign cred checker, a clock, and connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.mail import pop3
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.accounts.login import Login
from mailbridge.accounts.throttle import Throttle
from mailbridge.content import Content
from mailbridge.edge.mailbox import MaildropMailbox
from mailbridge.edge.pop3 import POP3Server, POP3ServerFactory
from mailbridge.edge.session import Sessions
from mailbridge.limits import Limits
from mailbridge.pop3.settings import Settings
from mailbridge.store.changes import AddUser, Credentials
from mailbridge.store.memory import MemoryStore
from mailbridge.target.maildrop import Maildrop
from tests.target.test_maildrop import deposit

PASSWORDS = {b"bonnie": b"right", b"clyde": b"gun"}
MESSAGE = b"Subject: hello\r\n\r\nfirst\r\n.second\r\n"


class Wire(StringTransport):
    """A transport with a buffer that a deaf client never empties; `take` is the client reading all there is."""

    def __init__(self, host: str = "127.0.0.1", deaf: bool = False) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 12345))
        self.deaf = deaf
        self.largest = self._buffered = self.writes = 0
        self._stopped = self.aborted = False

    def abortConnection(self) -> None:
        """Noted."""
        self.aborted = True

    def write(self, data: bytes) -> None:
        """Keep it, and stop the producer when 64 KiB wait."""
        assert not self.disconnected
        super().write(data)
        self.writes += 1
        if self.deaf:
            self._buffered += len(data)
            self.largest = max(self.largest, self._buffered)
            if self._buffered > 65_536 and self.producer is not None:
                self._stopped = True
                self.producer.pauseProducing()

    def loseConnection(self) -> None:
        """Only when there is no producer, as the real ones do."""
        if self.producer is None:
            self.disconnecting = True

    def take(self) -> bytes:
        """What was written since."""
        octets = self.value()
        self.clear()
        self._buffered = 0
        if self._stopped and self.producer is not None:
            self._stopped = False
            self.producer.resumeProducing()
        return octets


class Connection:
    """One client of a factory."""

    def __init__(self, session: Any, wire: Wire, clock: Clock) -> None:
        self.session = session
        self.wire = wire
        self._clock = clock
        session.makeConnection(wire)
        self.greeting = wire.take()

    def say(self, octets: bytes) -> bytes:
        """The answer to `octets`, with all the turns it takes."""
        self.session.dataReceived(octets)
        self._clock.advance(0)
        return self.wire.take()

    def log_in(self, user: bytes = b"bonnie") -> bytes:
        """The answer to the login."""
        return self.say(b"USER %b\r\nPASS %b\r\n" % (user, PASSWORDS[user])).partition(b"\r\n")[2]

    def hang_up(self) -> None:
        """The connection is gone."""
        self.session.connectionLost(Failure(ConnectionError("gone")))


@implementer(IRealm)
class MailboxRealm:
    """Gives each user what `mailbox(name)` makes, with a logout that counts."""

    def __init__(self, mailbox: Callable[[bytes], Any]) -> None:
        self.mailbox = mailbox
        self.logouts = 0

    def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: object) -> Any:
        """As in Twisted's documentation."""
        assert pop3.IMailbox in interfaces
        return pop3.IMailbox, self.mailbox(avatarId), self._log_out

    def _log_out(self) -> None:
        self.logouts += 1


class World:
    """Everything behind one listener."""

    def __init__(self, settings: Settings | None = None, limits: Limits | None = None, tls: Any = None,
                 mailbox: Callable[[bytes], Any] | None = None, store: Callable[[Clock], MemoryStore] = MemoryStore,
                 random: Callable[[int], bytes] = lambda size: b"r" * size) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.store = store(self.clock)
        self.users: dict[bytes, Any] = {}
        for name in PASSWORDS:
            self.store.commit(AddUser(name.decode(), Credentials("", ""))).addCallback(
                lambda receipts, name=name: self.users.update({name: receipts[0]}))
        self._owners = iter(range(1 << 30))
        checker = InMemoryUsernamePasswordDatabaseDontUse(**{name.decode(): word for name, word in PASSWORDS.items()})
        self.realm = MailboxRealm(mailbox or self.mailbox)
        self.portal = Portal(self.realm, [checker])
        self.sessions = Sessions(self.clock, limits or Limits())
        self.login = Login(self.portal, Throttle(self.clock.seconds), "mail.example", lambda size: b"r" * size)
        self.factory = POP3ServerFactory(settings or Settings("mail.example"), self.sessions, self.clock, random,
                                         self.login, tls)

    def mailbox(self, name: bytes) -> MaildropMailbox:
        """A user's own mailbox, in the store."""
        return MaildropMailbox(Maildrop(self.store, self.users[name], self.clock, f"session {next(self._owners)}"))

    def deposit(self, *messages: bytes, user: bytes = b"bonnie") -> None:
        """Put messages into a maildrop."""
        for message in messages:
            deposit(self.store, self.users[user], Content.of(message))

    def connect(self, host: str = "127.0.0.1", deaf: bool = False) -> Connection:
        """A client of our factory."""
        session = self.factory.buildProtocol(None)
        assert isinstance(session, POP3Server)
        return Connection(session, Wire(host, deaf), self.clock)

    def connect_stock(self) -> Connection:
        """A client of the class as Twisted ships it, with the same portal."""
        session = pop3.POP3()
        session.portal = self.portal
        session.factory = StockFactory()
        session.magic = b"<stamp@mail.example>"
        session.schedule = _run_through
        session.callLater = self.clock.callLater
        return Connection(session, Wire(), self.clock)


class StockFactory:
    """What the stock class asks of its factory."""

    noisy = False


def _run_through(iterator: Any) -> Any:
    for _ in iterator:
        pass
    return succeed(None)
