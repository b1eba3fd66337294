"""What one SMTP listener is set to, and the factory that makes its sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.mail import smtp

from mailbridge.accounts.login import Login
from mailbridge.edge.foreign import as_intake
from mailbridge.edge.session import Sessions
from mailbridge.edge.smtp import SMTPServer
from mailbridge.edge.transport import CurrentTLS
from mailbridge.logs.journal import Journal
from mailbridge.reply import STRANGER, STRANGER_YET, TOO_MANY_CONNECTIONS, Reply
from mailbridge.routing.access import AccessList
from mailbridge.routing.clients import NO_HOSTS, ClientList, Hosts
from mailbridge.smtp.decisions import Decisions, ServerSettings
from mailbridge.smtp.server import Server
from mailbridge.smtp.witnessed import Tap, WitnessedServer

NOBODY = ClientList.parse(())


@frozen
class EndMark:
    """A second line that ends DATA (`smtp.data.parse_end_line`), and the clients that may send it."""

    line: bytes
    clients: ClientList


@frozen
class SMTPListenerSettings:
    """The rules of one listener. `clients` are trusted without login; `auth` is `offer`, `require` or `off`;
    `auth_in_clear` allows passwords without TLS from elsewhere than this host; `normalise` is for trusted clients.

    `strangers` is `greet`, or `refuse`: who is on neither `clients` nor `known` has to log in, and is sent away with a
    554 where it cannot. `known` may connect but is not trusted. `connections` caps the sessions of this listener. Of
    `end_marks` the first that names the client holds.
    """

    name: str
    server: ServerSettings
    clients: AccessList
    auth: str = "offer"
    auth_in_clear: bool = False
    normalise: bool = False
    strangers: str = "greet"
    known: ClientList = NOBODY
    connections: int | None = None
    end_marks: tuple[EndMark, ...] = ()


class SMTPServerFactory(smtp.SMTPFactory):
    """Makes sessions for one listener. `settings` may be replaced while it runs: later sessions get the new ones.

    `anonymous` answers before a login: our IIntake or any IMessageDelivery; None: everybody has to log in. `login` is
    None when nobody can. `tls` is needed for STARTTLS, `implicit_tls` says that `edge.transport.implicit_tls` wraps us.
    `etrn(domain)` makes the queue try what waits for a domain and fires with how many deliveries that are. `journal` is
    where an operator reads what the sessions do, None for no log. `hosts` says who the host names on client lists are;
    whoever looks them up replaces it.
    """

    protocol: Any = SMTPServer
    noisy = False

    def __init__(
        self,
        settings: SMTPListenerSettings,
        sessions: Sessions,
        clock: IReactorTime,
        anonymous: object | None = None,
        login: Login | None = None,
        tls: CurrentTLS | None = None,
        implicit_tls: bool = False,
        etrn: Callable[[str], Deferred[int]] | None = None,
        journal: Journal | None = None,
    ) -> None:
        smtp.SMTPFactory.__init__(self)
        self.settings = settings
        self.sessions = sessions
        self.clock = clock
        self.intake = as_intake(anonymous) if anonymous is not None else None
        self.login = login
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.etrn = etrn
        self.journal = journal
        self.hosts: Hosts = NO_HOSTS
        self._present: set[SMTPServer] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session; who it is for is looked at when its connection stands."""
        session = SMTPServer()
        session.factory = self
        return session

    def admit(self, session: SMTPServer) -> Reply | None:
        """Count a new session; or the reply that sends it away, and then it is not counted."""
        settings = self.settings
        if session.is_stranger and settings.strangers == "refuse" and not session.can_log_in:
            return STRANGER_YET if settings.known.waits(self.hosts) else STRANGER
        if settings.connections is not None and len(self._present) >= settings.connections:
            return TOO_MANY_CONNECTIONS
        if not self.sessions.admit(session):
            return TOO_MANY_CONNECTIONS
        self._present.add(session)
        return None

    def leave(self, session: SMTPServer) -> None:
        """Forget a session; no error if it was never admitted."""
        self._present.discard(session)
        self.sessions.leave(session)

    def server(self, session: SMTPServer) -> Server:
        """The wire side of a new session."""
        settings, journal = self.settings, self.journal
        normalise = settings.normalise and session.trusted
        marks = (mark.line for mark in settings.end_marks if mark.clients.allows(session.peer, self.hosts))
        end_line = next(marks, b"")
        if journal is None:
            return Server(session, settings.server, self.implicit_tls, normalise, end_line)

        def note(letter: str, text: str) -> None:
            journal.note(letter, f"{settings.name} {session.who}: {text}")

        trace = journal.wants("T")
        decisions = cast(Decisions, Tap(session, note)) if trace and journal.data else session
        return WitnessedServer(decisions, settings.server, note, trace, self.implicit_tls, normalise, end_line)
