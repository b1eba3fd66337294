"""The POP3 edge: twisted.mail's factory interfaces and protocol class, with our session in front of their wire layer.

`POP3Server` is a `pop3.POP3` for isinstance; not one octet reaches the inherited parser. It moves octets between the
transport (see `edge.outflow`) and `pop3.server`, and sees to it that a maildrop that was opened is closed, whatever
happens to the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.mail import pop3
from twisted.python.failure import Failure

from mailbridge.accounts.login import Login, LoginLater, WrongPassword
from mailbridge.edge.mailbox import as_maildrop
from mailbridge.edge.outflow import Outflow
from mailbridge.edge.session import Session, Sessions
from mailbridge.edge.transport import CurrentTLS, set_no_delay, start_tls
from mailbridge.errors import MaildropInUse
from mailbridge.interfaces import IMaildrop
from mailbridge.pop3 import dialogue
from mailbridge.pop3.message import close
from mailbridge.pop3.server import Server
from mailbridge.pop3.settings import Settings
from mailbridge.routing.access import AccessList
from mailbridge.sasl.mechanisms import Mechanisms
from mailbridge.sasl.values import Credentials

CLOSING_TIME = 10.0  # seconds a closing client has to take its last reply
MOST_BUFFERED = 64 * 1024  # pipelined octets kept while an answer is awaited; beyond it the client has to wait
STAMP_SIZE = 12  # random octets in the time stamp for APOP

_LOOPBACK = AccessList.parse(("localhost",))


class POP3Server(Session, Outflow, pop3.POP3):
    """One POP3 client; the `pop3.outside.Outside` of its core."""

    factory: POP3ServerFactory  # type: ignore[assignment]  # the stock class says None
    _maildrop: IMaildrop | None = None
    _logout: Callable[[], object] | None = None
    _fetching: Deferred[bytes | Iterator[bytes]] | None = None
    _reading = True
    _login_by = inf

    # --- the connection -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Greet, or send away what is one too many."""
        factory, transport = self.factory, self.transport
        set_no_delay(transport)
        address = transport.getPeer()
        self.peer = address.host if isinstance(address, IPv4Address | IPv6Address) else ""
        limits = factory.sessions.limits
        stamp = factory.stamp()
        self._core = Server(
            self, factory.settings, limits, tls=factory.implicit_tls, can_tls=factory.tls is not None,
            loopback=not self.peer or _LOOPBACK.allows(self.peer), stamp=stamp,
        )
        if not factory.sessions.admit(self):
            if factory.implicit_tls:  # no word reaches it before a handshake, and nobody would end a wait for one
                transport.abortConnection()
            else:
                transport.write(dialogue.TOO_MANY_CONNECTIONS)
            self._core.hang_up()
            return
        self._login_by = factory.clock.seconds() + limits.login_time
        self._settle()
        transport.write(dialogue.greeting(factory.settings.name, stamp))

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        core = self._core
        if not core.closed:
            core.receive(data)
            self._settle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone: nothing is deleted, unless QUIT is at it already."""
        self.factory.sessions.leave(self)
        self._core.lost()
        self.deadline = inf
        self._stop()
        if not self._core.updating:
            self._release()

    def _settle(self) -> None:
        """After each piece of work: set the deadline, and let the client send only what there is room for."""
        core = self._core
        if core.closed:
            return
        if core.waiting and self._pieces is None:
            self.deadline = inf  # our own work; the client is not late
        else:
            factory = self.factory
            self.deadline = min(factory.clock.seconds() + factory.sessions.limits.pop3_idle, self._login_by)
        if self._reading is (core.backlog > MOST_BUFFERED):
            self._reading = not self._reading
            if self._reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def expire(self) -> None:
        """Too long without a sign of life: the session ends without UPDATE and without a word (RFC 1939 section 3)."""
        if self._core.closed or self._producing:
            self.transport.abortConnection()
            self.deadline = inf
        else:
            self._core.hang_up()

    def shut_down(self) -> None:
        """The bridge stops: close now, or when QUIT has done its work."""
        if not self._core.updating and not self._core.closed:
            self._core.hang_up()

    def _release(self) -> Deferred[object]:
        """Give back what the login took. Fires when another session may have the maildrop; never fails."""
        maildrop, self._maildrop = self._maildrop, None
        logout, self._logout = self._logout, None
        closed = maybeDeferred(maildrop.close if maildrop is not None else _nothing)
        closed.addCallback(lambda _: logout() if logout is not None else None)
        return closed.addErrback(self._failed, "a logout of {peer} failed")

    def _failed(self, failure: Failure, text: str) -> None:
        self._log.failure(text, failure, peer=self.peer)

    def _broken(self, failure: Failure) -> None:
        """A fault of our own while an answer was on its way: rather no session than one that hangs."""
        self._failed(failure, "the session of {peer} is broken off")
        self.transport.abortConnection()

    # --- the rest of Outside ------------------------------------------------------------------------------------------

    def come_back(self) -> None:
        """Give the other sessions a turn."""
        self.factory.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if not self._core.closed:
            self._core.go_on()
            self._settle()

    def close(self) -> None:
        """Close when all is sent, or in a while when the client does not read it."""
        self._stop()
        self._produce(False)
        self.transport.loseConnection()
        self.deadline = self.factory.clock.seconds() + CLOSING_TIME

    def start_tls(self) -> None:
        """Begin the handshake."""
        assert self.factory.tls is not None
        start_tls(self.transport, self.factory.tls)
        self._core.secured()

    # --- login --------------------------------------------------------------------------------------------------------

    def mechanisms(self) -> Mechanisms | None:
        """What AUTH takes from this client."""
        login = self.factory.login
        return login.mechanisms(self.peer) if login is not None else None

    def login(self, credentials: Credentials) -> None:
        """Ask the portal, then open the maildrop it gives."""
        login = self.factory.login
        if login is None:
            self._core.refused(dialogue.WRONG_PASSWORD)
            return
        avatar = login.login(credentials, self.peer, pop3.IMailbox)
        avatar.addCallback(self._logged_in).addCallbacks(self._opened, self._refused).addErrback(self._broken)

    def _logged_in(self, avatar: tuple[Any, Any, Any]) -> Deferred[Sequence[int]]:
        _, mailbox, self._logout = avatar
        maildrop = self._maildrop = as_maildrop(mailbox)
        return maildrop.open()

    def _opened(self, sizes: Sequence[int]) -> None:
        if self._core.closed:
            self._release()
            return
        self._login_by = inf
        self._core.opened(sizes)
        self._settle()

    def _refused(self, failure: Failure) -> None:
        reply = dialogue.NOT_NOW
        if failure.check(WrongPassword):
            reply = dialogue.WRONG_PASSWORD
        elif failure.check(LoginLater):
            reply = dialogue.LOGIN_LATER
        elif failure.check(MaildropInUse):
            reply = dialogue.IN_USE
        elif not self._core.closed:
            self._failed(failure, "a login of {peer} failed")
        self._release()
        if not self._core.closed:
            self._core.refused(reply)
            self._settle()

    # --- the maildrop -------------------------------------------------------------------------------------------------

    def uid(self, index: int) -> bytes:
        """The unique id of a message."""
        assert self._maildrop is not None
        return self._maildrop.uid(index)

    def retrieve(self, index: int) -> bytes | Iterator[bytes] | None:
        """A message, or None when it has to be waited for."""
        assert self._maildrop is not None
        found = self._maildrop.retrieve(index)
        if isinstance(found, Deferred):
            self._fetching = found
            return None
        return found

    def fetch(self) -> None:
        """Wait for the message."""
        found, self._fetching = self._fetching, None
        assert found is not None
        found.addCallbacks(self._retrieved, self._not_retrieved).addErrback(self._broken)

    def _retrieved(self, found: bytes | Iterator[bytes]) -> None:
        if not self._core.closed:
            self._core.retrieved(found)
            self._settle()
        elif not isinstance(found, bytes):
            close(found)

    def _not_retrieved(self, failure: Failure) -> None:
        self._failed(failure, "a message for {peer} could not be read")
        if not self._core.closed:
            self._core.answer(dialogue.DAMAGED if failure.check(LookupError, ValueError) else dialogue.NOT_NOW)
            self._settle()

    def delete(self, indices: Iterator[int]) -> None:
        """Remove messages, and give the maildrop back before saying so: the client may come again at once."""
        assert self._maildrop is not None
        removed = self._maildrop.delete(indices).addCallbacks(lambda _: dialogue.BYE, self._not_removed)
        removed.addCallback(lambda reply: self._release().addCallback(lambda _: self._core.updated(reply)))
        removed.addErrback(self._broken)

    def _not_removed(self, failure: Failure) -> bytes:
        self._failed(failure, "messages of {peer} could not be removed")
        return dialogue.NOT_REMOVED


def _nothing() -> None:
    pass


class POP3ServerFactory(ServerFactory):
    """Makes sessions for one listener. `settings` may be replaced while it runs: later sessions get the new ones.

    `login` is None when nobody can log in. `tls` is needed for STLS; `implicit_tls` says that
    `edge.transport.implicit_tls` wraps us. `random(n)` gives n octets that cannot be guessed.
    """

    protocol: Any = POP3Server
    noisy = False

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        login: Login | None = None,
        tls: CurrentTLS | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.settings = settings
        self.sessions = sessions
        self.clock = clock
        self.login = login
        self.tls = tls
        self.implicit_tls = implicit_tls
        self._random = random

    def stamp(self) -> bytes:
        """A new time stamp for APOP (RFC 1939 section 7), empty where APOP is not offered."""
        if not self.settings.apop or self.login is None or not self.login.takes_apop:
            return b""
        return f"<{self._random(STAMP_SIZE).hex()}@{self.settings.name}>".encode("ascii", "replace")

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session."""
        session = POP3Server()
        session.factory = self
        return session
