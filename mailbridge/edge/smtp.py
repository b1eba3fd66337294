"""The SMTP edge: twisted.mail's factory and protocol class, with our session in front of their wire layer.

`SMTPServer` is an `smtp.ESMTP` for isinstance and for the delivery interfaces; not one octet reaches the inherited
parser. The session's questions are answered by an `IIntake`: the bridge's own, or a stock IMessageDelivery behind
`edge.foreign`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure

from mailbridge import reply
from mailbridge.address import Address
from mailbridge.edge.foreign import as_intake
from mailbridge.edge.session import Session
from mailbridge.edge.smtp_replies import etrn_failed, etrn_reply, login_refused, same
from mailbridge.edge.transport import set_no_delay, start_tls, tls_facts, unsent
from mailbridge.envelope import MailParameters, Origin
from mailbridge.interfaces import IIntake, ITransaction
from mailbridge.reply import Reply
from mailbridge.routing.access import AccessList
from mailbridge.routing.intake import Transaction
from mailbridge.sasl.exchange import Exchange
from mailbridge.sasl.values import Credentials
from mailbridge.store.changes import Wishes

if TYPE_CHECKING:
    from mailbridge.edge.smtp_listener import SMTPServerFactory

CLOSING_TIME = 10.0  # seconds a closing client has to take its last reply
MOST_BUFFERED = 256 * 1024  # pipelined octets kept while an answer is awaited; beyond it the client has to wait
MOST_UNSENT = 256 * 1024  # replies a client may leave unread; one that asks for more is cut off
LOOPBACK = AccessList.parse(("localhost",))


class SMTPServer(Session, smtp.ESMTP):
    """One SMTP client. Asks its intake, keeps its deadline, moves the octets."""

    factory: SMTPServerFactory
    transport: Any
    _log = Logger()

    def __init__(self) -> None:  # not the stock one: its challengers and lists would be carried by every idle session
        self._helo_name = ""
        self._esmtp = False
        self._user: str | None = None
        self._intake: IIntake | None = None
        self._logout: Any = None
        self._transaction: ITransaction | None = None
        self._pending: Deferred[Any] | None = None
        self._paused = False
        self._stopping = False
        self._login_by = inf
        self._tls_facts: str | None = None

    # --- the connection -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Greet, or send away what is one too many."""
        factory, transport = self.factory, self.transport
        set_no_delay(transport)
        address = transport.getPeer()
        self.peer = address.host if isinstance(address, IPv4Address | IPv6Address) else ""
        settings = factory.settings
        self.trusted = settings.clients.allows(self.peer)
        self.is_stranger = not (self.trusted or settings.known.allows(self.peer, factory.hosts))
        self._local = not self.peer or LOOPBACK.allows(self.peer)
        self._server = factory.server(self)
        self._intake = factory.intake
        refusal = factory.admit(self)
        if refusal is not None:
            farewell = self._server.close(refusal)
            if factory.implicit_tls:  # no word reaches it before a handshake, and nobody would end a wait for one
                transport.abortConnection()
            else:
                self._send(farewell)
            return
        refused = settings.strangers == "refuse" and self.is_stranger
        self._must_log_in = refused or (settings.auth == "require" and not self.trusted)
        if self._must_log_in:
            self._login_by = factory.clock.seconds() + settings.server.limits.login_time
        self.deadline = self._next_deadline()
        transport.write(self._server.greet())

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        server = self._server
        if server.closing:
            return
        self.deadline = self._next_deadline()
        self._step(server.receive, data)

    def _step(self, step: Callable[..., bytes], *arguments: object) -> None:
        """One step of the session. What we did not foresee ends it with a transient reply (invariant 7)."""
        try:
            octets = step(*arguments)
        except Exception:
            self._log.failure("the session of {peer} failed", peer=self.peer)
            octets = self._server.close(reply.FAULT)
        self._send(octets)

    def _next_deadline(self) -> float:
        factory = self.factory
        return min(factory.clock.seconds() + factory.settings.server.limits.smtp_idle, self._login_by)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone: what was half done is forgotten, what waits for the store goes on without it."""
        self.factory.leave(self)
        self._server.close(reply.BYE)
        self.deadline = inf
        if self._pending is None:
            self.reset()
        self._log_out()

    def _send(self, octets: bytes) -> None:
        """Send replies and do what the session asks beside them."""
        server = self._server
        if octets:
            self.transport.write(octets)
            if unsent(self.transport) > MOST_UNSENT:
                server.close(reply.BYE)
                self.transport.abortConnection()
                return
        if server.wants_tls:
            assert self.factory.tls is not None
            start_tls(self.transport, self.factory.tls)
            self._log_out()
            server.tls_started()
        elif server.closing:
            self._resume()  # TLS ends with a word of the client
            self.transport.loseConnection()
            self.deadline = self.factory.clock.seconds() + CLOSING_TIME
        elif server.has_more:
            self._pause()
            self.factory.clock.callLater(0, self._go_on)
        elif server.waiting:
            self.deadline = inf  # our own work; the client is not late
            if server.buffered > MOST_BUFFERED:
                self._pause()
        elif self._stopping and not server.in_transaction:
            self._send(server.close(reply.SHUTTING_DOWN))

    def _go_on(self) -> None:
        if not self._server.closing:
            self._resume()
            self._step(self._server.resume)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def expire(self) -> None:
        """Too long without a sign of life."""
        now = self.factory.clock.seconds()
        if self._server.closing:
            self.transport.abortConnection()
            self.deadline = now + CLOSING_TIME
        else:
            self._send(self._server.close(reply.LOGIN_TOO_SLOW if now > self._login_by else reply.IDLE_TOO_LONG))

    def shut_down(self) -> None:
        """The bridge stops: close now, or after the message in progress."""
        self._stopping = True
        if not (self._server.in_transaction or self._server.waiting or self._server.closing):
            self._send(self._server.close(reply.SHUTTING_DOWN))

    # --- answers that come later --------------------------------------------------------------------------------------

    def _later(self, waiting: Deferred[Any], use: Callable[[Any], Reply]) -> Reply | None:
        """The Reply that `use` makes of the result, or None when the session has to wait for it."""
        done: list[Reply] = []

        def arrived(result: Any) -> None:
            try:
                answer = self._fault(result) if isinstance(result, Failure) else use(result)
            except Exception:
                answer = self._fault(Failure())
            if self._pending is None:
                done.append(answer)
            else:
                self._answered(answer)

        waiting.addBoth(arrived)  # one callback: this is on the way of every message
        if done:
            return done[0]
        self._pending = waiting
        return None

    def _fault(self, failure: Failure) -> Reply:
        if failure.check(CancelledError) is None:
            self._log.failure("a question of {peer} failed", failure, peer=self.peer)
        return reply.NOT_NOW

    def _answered(self, answer: Reply) -> None:
        self._pending = None
        if self._server.closing:
            self.reset()
            self._log_out()
            return
        self.deadline = self._next_deadline()
        self._resume()
        self._step(self._server.answer, answer)

    # --- Decisions ----------------------------------------------------------------------------------------------------

    def helo(self, name: str, esmtp: bool) -> None:
        """The client's name, for the trace line."""
        self._helo_name = name
        self._esmtp = esmtp

    def mail(self, sender: Address, parameters: MailParameters) -> Reply | None:
        """Begin a transaction with the intake of the login, or of strangers."""
        if self._intake is None or (self._must_log_in and self._user is None):
            return reply.NEED_LOGIN
        begun = self._intake.begin(sender, self._origin(parameters.utf8), parameters)
        # Asked for what is usual first, here and below: a false `isinstance(_, Deferred)` costs a microsecond.
        if isinstance(begun, Transaction | Reply):
            return self._begun(begun)
        return self._later(begun, self._begun) if isinstance(begun, Deferred) else self._begun(begun)

    def _begun(self, begun: ITransaction | Reply) -> Reply:
        if isinstance(begun, Reply):
            return begun
        self._transaction = begun
        return reply.SENDER_OK

    def _origin(self, utf8: bool) -> Origin:
        factory = self.factory
        if self._server.tls and self._tls_facts is None:
            self._tls_facts = tls_facts(self.transport)
        keyword = ("UTF8SMTP" if utf8 else "ESMTP") if self._esmtp else "SMTP"
        if self._esmtp:
            keyword += ("S" if self._server.tls else "") + ("A" if self._user else "")
        return Origin(
            factory.settings.name, self.peer, self._helo_name, self._user, self._tls_facts, factory.clock.seconds(),
            keyword, self.trusted or self._user is not None,
        )

    def rcpt(self, recipient: Address, wishes: Wishes) -> Reply | None:
        """Route a recipient."""
        assert self._transaction is not None
        answer = self._transaction.recipient(recipient, wishes)
        return answer if isinstance(answer, Reply) else self._later(answer, same)

    def data(self) -> Reply | None:
        """Open the content."""
        assert self._transaction is not None
        return self._transaction.data()

    def content(self, octets: bytes) -> None:
        """Store content; the client waits while the store is behind."""
        if self._transaction is None:
            return
        behind = self._transaction.write(octets)
        if behind is not None:
            self._pause()
            self.deadline = inf  # the store is late, not the client
            behind.addBoth(self._caught_up)

    def _caught_up(self, _: object) -> None:
        if self._server.closing:
            return
        if not self._server.waiting:
            self.deadline = self._next_deadline()
        self._resume()

    def end(self) -> Reply | None:
        """Commit."""
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        answer = transaction.finish()
        return answer if isinstance(answer, Reply) else self._later(answer, same)

    def reset(self) -> None:
        """Forget the transaction."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()

    def etrn(self, domain: str) -> Reply | None:
        """Let the queue try what waits for a domain; for trusted and logged-in clients only."""
        if self.factory.etrn is None or not (self.trusted or self._user is not None):
            return reply.ETRN_REFUSED
        return self._later(self.factory.etrn(domain).addCallbacks(etrn_reply, etrn_failed), same)

    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms on offer at this moment."""
        factory = self.factory
        if factory.login is None or factory.settings.auth == "off":
            return ()
        return factory.login.mechanisms(self.peer).names(self._secure())

    def _secure(self) -> bool:
        return self._server.tls or self._local or self.factory.settings.auth_in_clear

    @property
    def can_log_in(self) -> bool:
        """Whether this client may log in, now or after STARTTLS."""
        factory = self.factory
        starttls = factory.settings.server.starttls != "off"
        return factory.login is not None and factory.settings.auth != "off" and (starttls or self._secure())

    @property
    def who(self) -> str:
        """The client as logs name it."""
        return f"{self.peer or 'local'} ({self._user})" if self._user else self.peer or "local"

    def exchange(self, mechanism: str) -> Exchange | None:
        """Begin to log in."""
        factory = self.factory
        if mechanism not in self.mechanisms() or factory.login is None:
            return None
        return factory.login.mechanisms(self.peer).start(mechanism)

    def login(self, credentials: Credentials) -> Reply | None:
        """Ask the portal."""
        assert self.factory.login is not None
        avatar = self.factory.login.login(credentials, self.peer, smtp.IMessageDelivery)
        return self._later(avatar.addCallbacks(self._logged_in, login_refused), same)

    def _logged_in(self, avatar: tuple[Any, Any, Any]) -> Reply:
        _, delivery, self._logout = avatar
        self._intake = as_intake(delivery)
        self._user = getattr(delivery, "user", None) or "authenticated"
        self._login_by = inf
        self._server.normalise = self.factory.settings.normalise
        return reply.LOGGED_IN

    def _log_out(self) -> None:
        logout, self._logout = self._logout, None
        self._user = None
        self._intake = self.factory.intake
        self._server.normalise = self.factory.settings.normalise and self.trusted
        if logout is not None:
            logout()
