"""One session with one SMTP server, from connecting to the last answer: TLS by policy, login, transactions.

The shared middle of `mailbridge.sendmail` (one message, then QUIT) and of the relay target (kept connections).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.protocol import Factory

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.connecting import connect
from mailbridge.edge.connection import Connection, TLSFailed, TooSlow
from mailbridge.edge.contentflow import Source
from mailbridge.edge.transport import tls_facts
from mailbridge.errors import MailbridgeError
from mailbridge.sasl.client import ClientMechanism
from mailbridge.smtp import client
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.outgoing import Outgoing, Sent
from mailbridge.smtp.steps import LIMITS, Encrypt, Phase, Say, Steps, hear

SECURE = "secure"
INSECURE = "insecure"
NOT_OFFERED = "the server does not offer STARTTLS"
"""The text that a policy is asked with then."""
TLSPolicy = Callable[[int, str], Any]
"""Asked when TLS cannot be set up, with the server's code (0 if there is none) and a text: `secure` gives this server
up, `insecure` goes on in clear. May return a Deferred."""


@frozen
class Server:
    """One server and how to talk to it. `tls` is opportunistic, require, implicit or off.

    A `host` that begins with a slash is the path of a UNIX socket (LMTP servers, and our own listeners).
    """

    host: str
    port: int = 25
    tls: str = "opportunistic"
    lmtp: bool = False
    trust: Trust = field(factory=Trust)

    def __str__(self) -> str:
        if self.host.startswith("/"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Login:
    """How to log in. `mechanisms(server, encrypted)` makes them anew, strongest first, without those that would show
    the password in clear where that is not allowed; it may return a Deferred (a token has to be fetched). With
    `required` false a refused login is no failure.
    """

    mechanisms: Callable[[Server, bool], Any]
    required: bool = True


class TLSRefused(MailbridgeError):
    """TLS could not be had, and without it this server is not to be used."""


@frozen
class Manner:
    """How sessions are held, whatever the server: our name, limits by phase, where to bind, what to note."""

    client_name: str
    login: Login | None = None
    tls_policy: TLSPolicy | None = None
    limits: Mapping[Phase, float] = field(factory=dict)
    bind: tuple[str, int] | None = None
    note: Callable[[str], object] | None = None


class Conversation:
    """An open session, greeted, encrypted and logged in as far as that goes: ready for transactions, one at a time."""

    def __init__(
        self, connection: Connection, server: Server, capabilities: Capabilities, mechanism: str | None
    ) -> None:
        self._connection = connection
        self._begun = False
        self.server = server
        self.capabilities = capabilities
        self.mechanism = mechanism
        self.transactions = 0

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried here."""
        return self._connection.usable

    @property
    def tls(self) -> str | None:
        """Protocol and cipher."""
        return tls_facts(self._connection.transport) if self._connection.encrypted else None

    @property
    def after_content(self) -> bool:
        """Whether all content of the last transaction has gone out, so that the server may have the message."""
        return self._connection.after_content

    def send(self, mail: Outgoing, source: Source, at_least_one: bool = True) -> Deferred[Sent]:
        """One transaction (see `smtp.client.send`); says RSET first when the one before was left open.

        Fails with Refused, Unable, EarlyAnswer, Interrupted, TooSlow or AnswerError. Cancelling closes the connection.
        """
        self.transactions += 1
        return self._connection.run(self._transaction(mail, at_least_one), source)

    def _transaction(self, mail: Outgoing, at_least_one: bool) -> Steps[Sent]:
        if self._begun:
            yield from client.reset()
        self._begun = True
        sent = yield from client.send(mail, self.capabilities, lmtp=self.server.lmtp, at_least_one=at_least_one)
        self._begun = not sent.final
        return sent

    def say(self, steps: Steps[Any]) -> Deferred[Any]:
        """Other steps."""
        return self._connection.run(steps)

    async def quit(self) -> None:
        """Say QUIT and close. Whatever happens meanwhile changes nothing any more, so it never fails."""
        try:
            if self.usable:
                await self.say(client.quit())
        except (MailbridgeError, CancelledError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close at once."""
        self._connection.abort()


def open_session(reactor: Any, server: Server, manner: Manner) -> Deferred[Conversation]:
    """Connect and get ready. Fails with what went wrong; the connection is closed then, and when it is cancelled.

    TLSFailed, TLSRefused, LoginFailed, SASLError, Refused (greeting, EHLO), Interrupted, TooSlow or AnswerError, or
    what Twisted says about names and connecting (DNSLookupError, ConnectError and others).
    """
    return Deferred.fromCoroutine(_open(reactor, server, manner))


async def _open(reactor: Any, server: Server, manner: Manner) -> Conversation:
    tls = server.tls
    while True:
        connection = await _connect(reactor, server, manner)
        try:
            return await _get_ready(connection, server, manner, tls)
        except (TLSFailed, TooSlow) as error:
            connection.abort()
            slow = isinstance(error, TooSlow) and error.phase is not Phase.TLS
            if slow or tls != "opportunistic" or await _policy(manner, 0, str(error)) != INSECURE:
                raise
            tls = "off"  # the handshake spoilt the connection: the policy's `insecure` needs a new one
        except BaseException:
            connection.abort()
            raise


async def _connect(reactor: Any, server: Server, manner: Manner) -> Connection:
    """A connection to the first address that answers (RFC 8305); the limit covers the look-up too."""
    seconds = manner.limits.get(Phase.CONNECT, LIMITS[Phase.CONNECT])
    local = server.host.startswith("/")
    options = server.trust.creator("localhost" if local else server.host) if server.tls != "off" else None
    factory = Factory.forProtocol(
        lambda: Connection(reactor, manner.limits, lambda: options, manner.note, server.trust.wrong)
    )
    factory.noisy = False
    too_slow = TooSlow(Phase.CONNECT, f"no connection within {seconds:g} seconds", False)
    connection: Connection = await connect(
        reactor, server.host, server.port, factory, seconds, too_slow, manner.bind
    )
    return connection


async def _get_ready(connection: Connection, server: Server, manner: Manner, tls: str) -> Conversation:
    if tls == "implicit":
        await connection.run(_begin_tls())
    await connection.run(client.greet())
    capabilities = await connection.run(client.hello(manner.client_name, server.lmtp))
    if tls in ("opportunistic", "require"):
        capabilities = await _start_tls(connection, server, manner, tls, capabilities)
    mechanism = None
    if manner.login is not None:
        mechanism = await _log_in(connection, server, manner.login, capabilities)
    return Conversation(connection, server, capabilities, mechanism)


async def _start_tls(
    connection: Connection, server: Server, manner: Manner, tls: str, capabilities: Capabilities
) -> Capabilities:
    """The capabilities after STARTTLS, or those in clear where policy says so. Raises TLSRefused."""
    code, text = 0, NOT_OFFERED
    if "STARTTLS" in capabilities:
        try:
            await connection.run(client.start_tls())
        except client.Refused as refused:
            if refused.answer.closing:
                raise
            code, text = refused.answer.code, str(refused.answer)
        else:
            return await connection.run(client.hello(manner.client_name, server.lmtp))
    if tls == "opportunistic" and await _policy(manner, code, text) == INSECURE:
        return capabilities
    raise TLSRefused(f"no TLS with {server}: {text}")


async def _policy(manner: Manner, code: int, text: str) -> str:
    """What to do without TLS: the caller's word, else `secure` when a login would follow."""
    if manner.tls_policy is None:
        return SECURE if manner.login is not None else INSECURE
    answer: str = await maybeDeferred(manner.tls_policy, code, text)
    return answer


async def _log_in(
    connection: Connection, server: Server, login: Login, capabilities: Capabilities
) -> str | None:
    mechanisms: list[ClientMechanism] = await maybeDeferred(login.mechanisms, server, connection.encrypted)
    try:
        return await connection.run(client.login(mechanisms, capabilities.mechanisms))
    except client.LoginFailed:
        if login.required or not connection.usable:
            raise
        return None


def _begin_tls() -> Steps[None]:
    yield Encrypt()


def say_ignored(command: bytes) -> Steps[None]:
    """A command whose answer does not matter (XQUE's QUED, ONEX)."""
    yield Say(command + b"\r\n")
    yield from hear(Phase.RESET)
