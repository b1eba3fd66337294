"""A bridge in memory for tests of the SMTP edge: store, directory, router, intake, logins, and clients for it."""

from __future__ import annotations

import base64
import itertools
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure

from mailbridge.accounts.checkers import Checker, ScramVerifiers
from mailbridge.accounts.login import Avatar, Login
from mailbridge.accounts.passwords import make_credentials
from mailbridge.accounts.realm import Realm
from mailbridge.accounts.throttle import Throttle
from mailbridge.accounts.verified import VerifiedLogins
from mailbridge.edge.delivery import UserDelivery
from mailbridge.edge.session import Sessions
from mailbridge.edge.smtp_listener import SMTPListenerSettings, SMTPServerFactory
from mailbridge.limits import Limits
from mailbridge.routing.access import AccessList
from mailbridge.routing.directory import Directory
from mailbridge.routing.intake import Intake, SubmissionRules
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from mailbridge.smtp.decisions import ServerSettings
from mailbridge.store.changes import AddUser, SetAlias, User
from mailbridge.store.memory import MemoryStore, MemoryWriter
from tests.accounts.people import ManualPool

STRANGER = "192.0.2.7"
TRUSTED = "198.51.100.7"
LOOPBACK = "127.0.0.1"
RIGHT = make_credentials("right")
PLAIN = b"AUTH PLAIN " + base64.b64encode(b"\0bonnie\0right") + b"\r\n"


class SlowWriter(MemoryWriter):
    """Asks its writer to wait after each write, while the store says so."""

    def __init__(self, store: TestStore) -> None:
        super().__init__()
        self._store = store

    def write(self, octets: bytes) -> Deferred[None] | None:  # type: ignore[override]
        if self._store.write_error is not None:
            raise self._store.write_error
        super().write(octets)
        if not self._store.slow:
            return None
        self._store.behind.append(Deferred())
        return self._store.behind[-1]

    def abort(self) -> None:
        self._store.aborted += 1
        super().abort()


class TestStore(MemoryStore):
    """The memory store with its commits held open or failing, as a test likes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.hold = False
        self.slow = False
        self.commit_error: Exception | None = None
        self.write_error: Exception | None = None
        self.behind: list[Deferred[None]] = []
        self.aborted = 0
        self._held: list[tuple[Deferred[Any], tuple[object, ...]]] = []

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        if self.commit_error is not None:
            failed: Deferred[Any] = Deferred()
            failed.errback(self.commit_error)
            return failed
        if not self.hold:
            return super().commit(*changes)
        self._held.append((Deferred(), changes))
        return self._held[-1][0]

    def let_go(self, error: Exception | None = None) -> None:
        """End the commits that are held."""
        held, self._held, self.hold = self._held, [], False
        for waiting, changes in held:
            if error is not None:
                waiting.errback(error)
            else:
                super().commit(*changes).chainDeferred(waiting)

    def content(self) -> MemoryWriter:
        return SlowWriter(self)


class World:
    """Users bonnie and clyde (password `right`) of example.org, sales an alias for both, and one listener `smtp[0]`."""

    def __init__(self, limits: Limits | None = None, rules: SubmissionRules | None = None,
                 routes: tuple[Rule, ...] = (), targets: tuple[str, ...] = (), **listener: Any) -> None:
        self.limits = limits or Limits()
        self.clock = Clock()
        self.clock.rightNow = 1_763_730_000.0
        self.store = TestStore(self.clock)
        for name in ("bonnie", "clyde"):
            self.store.commit(AddUser(name, RIGHT))
        self.store.commit(SetAlias("sales", ("bonnie", "clyde")))
        self.store.commit(SetAlias("office", ("bonnie",)))
        self.directory = Directory(["example.org"])
        self.store.people().addCallback(self.directory.replace)
        numbers = itertools.count(1)
        self.intake = Intake(
            self.store, Table(routes, self.directory, targets), self.directory, "bridge.example.org", self.limits,
            self.clock, lambda size: next(numbers).to_bytes(size, "big"), {"smtp[0]": rules} if rules else {},
        )
        self.pool = ManualPool()
        self.left: list[str] = []
        realm = Realm(self.directory, self._delivery_for, lambda user: ())  # type: ignore[arg-type,return-value]
        checker = Checker(self.directory, self.pool, VerifiedLogins(b"k" * 32, self.clock.seconds))
        self.login = Login(
            Portal(realm, [checker]), Throttle(self.clock.seconds), "bridge.example.org", lambda size: b"\1" * size,
            ScramVerifiers(self.directory, b"s" * 32),
        )
        self.sessions = Sessions(self.clock, self.limits)
        starttls = listener.pop("starttls", "off")
        self.tls = listener.pop("tls", None)
        self.implicit_tls = listener.pop("implicit_tls", False)
        self.settings = SMTPListenerSettings(
            "smtp[0]", ServerSettings("bridge.example.org", self.limits, starttls), AccessList.parse([TRUSTED]),
            **listener,
        )
        self.factory = self.make_factory(self.intake)

    def make_factory(self, anonymous: object | None, login: Login | None = None) -> SMTPServerFactory:
        """A listener with that delivery for strangers."""
        return SMTPServerFactory(self.settings, self.sessions, self.clock, anonymous, login or self.login,
                                 tls=self.tls, implicit_tls=self.implicit_tls)

    def _delivery_for(self, user: User) -> Avatar:
        return IMessageDelivery, UserDelivery(self.intake, user.name, self.clock), lambda: self.left.append(user.name)

    def connect(self, peer: str = STRANGER, factory: SMTPServerFactory | None = None) -> Client:
        """A client with that address; its greeting is read."""
        return Client(self, peer, factory or self.factory)

    def mail(self, user: str) -> list[bytes]:
        """What lies in a maildrop."""
        found = self.directory.user(user)
        assert found is not None
        snapshots: list[Any] = []
        self.store.snapshot(found.id).addCallback(snapshots.append)
        messages = self.store.messages(list(snapshots[0].uids))
        return [message.content.octets or b"" for message in messages.values()]


class Client:
    """One client over a transport of strings."""

    def __init__(self, world: World, peer: str, factory: SMTPServerFactory) -> None:
        self.world = world
        address = (IPv6Address if ":" in peer else IPv4Address)("TCP", peer, 4711)
        self.transport = StringTransport(peerAddress=address)
        self.server = factory.buildProtocol(address)
        self.server.makeConnection(self.transport)
        self.greeting = self.read()

    def read(self) -> bytes:
        """What the server has said since."""
        said: bytes = self.transport.value()
        self.transport.clear()
        return said

    def say(self, octets: bytes) -> bytes:
        """Send octets; the answer. A password is checked and the reactor turns meanwhile."""
        self.server.dataReceived(octets)
        self.world.pool.work_off()
        self.world.clock.advance(0)
        return self.read()

    def codes(self, octets: bytes) -> list[int]:
        """Send octets; the codes of the answer, one for each reply."""
        return [int(line[:3]) for line in self.say(octets).splitlines() if line[3:4] == b" "]

    def deliver(self, content: bytes = b"Subject: x\r\n\r\nbody\r\n", sender: bytes = b"a@elsewhere.example",
                recipients: tuple[bytes, ...] = (b"bonnie@example.org",)) -> bytes:
        """One message by DATA; the reply at its end."""
        self.say(b"EHLO laptop\r\nMAIL FROM:<%b>\r\n" % sender + b"".join(b"RCPT TO:<%b>\r\n" % r for r in recipients))
        answer = self.say(b"DATA\r\n")
        if not answer.startswith(b"354"):
            return answer
        return self.say(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")

    def lose(self) -> None:
        """The connection breaks."""
        self.server.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """Whether the server has closed."""
        return bool(self.transport.disconnecting or self.transport.disconnected)
