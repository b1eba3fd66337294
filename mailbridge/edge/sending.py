"""One session with one SMTP server, from connecting to the last answer: TLS by policy, login, transactions.

The shared middle of `mailbridge.sendmail` (one message, then QUIT) and of the relay target (kept connections).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.connection import Connection, Source, TLSFailed
from mailbridge.edge.transport import tls_facts
from mailbridge.errors import MailbridgeError
from mailbridge.sasl.client import ClientMechanism
from mailbridge.smtp import client
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.outgoing import Outgoing, Sent
from mailbridge.smtp.steps import LIMITS, Encrypt, Phase, Say, Steps, hear

SECURE = "secure"
INSECURE = "insecure"
TLSPolicy = Callable[[int, str], Any]
"""Asked when TLS cannot be set up, with the server's code (0 if there is none) and a text: `secure` gives this server up,
`insecure` goes on in clear. May return a Deferred."""


@frozen
class Server:
    """One server and how to talk to it. `tls` is opportunistic, require, implicit or off."""

    host: str
    port: int = 25
    tls: str = "opportunistic"
    lmtp: bool = False
    trust: Trust = field(factory=Trust)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Login:
    """How to log in. `mechanisms(server, encrypted)` makes them anew, strongest first, without those that would show the
    password in clear where that is not allowed; it may return a Deferred (a token has to be fetched). With `required`
    false a refused login is no failure.
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
    """An open session, greeted, encrypted and logged in as far as that goes: ready for transactions."""

    def __init__(self, connection: Connection, server: Server, capabilities: Capabilities, mechanism: str | None) -> None:
        self.connection = connection
        self.server = server
        self.capabilities = capabilities
        self.mechanism = mechanism
        self.transactions = 0

    @property
    def tls(self) -> str | None:
        """Protocol and cipher."""
        return tls_facts(self.connection.transport) if self.connection.encrypted else None

    def send(self, mail: Outgoing, source: Source, at_least_one: bool = True) -> Deferred[Sent]:
        """One transaction; after a failure that leaves the session whole, RSET is due (see `reset`)."""
        self.transactions += 1
        steps = client.send(mail, self.capabilities, lmtp=self.server.lmtp, at_least_one=at_least_one)
        return self.connection.run(steps, source)

    def say(self, steps: Steps[Any]) -> Deferred[Any]:
        """Other steps: RSET, QUIT."""
        return self.connection.run(steps)


def open_session(reactor: Any, server: Server, manner: Manner) -> Deferred[Conversation]:
    """Connect and get ready. Fails with what went wrong; the connection is closed then, and when it is cancelled."""
    return Deferred.fromCoroutine(_open(reactor, server, manner))


async def _open(reactor: Any, server: Server, manner: Manner) -> Conversation:
    tls = server.tls
    while True:
        connection = await _connect(reactor, server, manner)
        try:
            return await _get_ready(connection, server, manner, tls)
        except TLSFailed as error:
            connection.abort()
            if tls != "opportunistic" or await _policy(manner, 0, str(error)) != INSECURE:
                raise
            tls = "off"  # the handshake spoilt the connection: the policy's `insecure` needs a new one
        except BaseException:
            connection.abort()
            raise


async def _connect(reactor: Any, server: Server, manner: Manner) -> Connection:
    seconds = manner.limits.get(Phase.CONNECT, LIMITS[Phase.CONNECT])
    endpoint = HostnameEndpoint(reactor, server.host, server.port, timeout=seconds, bindAddress=manner.bind)
    trust = server.trust
    factory = Factory.forProtocol(
        lambda: Connection(reactor, manner.limits, trust.creator(server.host), manner.note, trust.wrong)
    )
    factory.noisy = False
    connection: Connection = await endpoint.connect(factory)
    return connection


async def _get_ready(connection: Connection, server: Server, manner: Manner, tls: str) -> Conversation:
    name, lmtp = manner.client_name, server.lmtp
    if tls == "implicit":
        await connection.run(_begin_tls())
    await connection.run(client.greet())
    capabilities = await connection.run(client.hello(name, lmtp))
    if tls in ("opportunistic", "require"):
        capabilities = await _start_tls(connection, server, manner, tls, capabilities)
    mechanism = None
    if manner.login is not None:
        mechanism = await _log_in(connection, server, manner.login, capabilities)
        if mechanism is not None:
            capabilities = await connection.run(client.hello(name, lmtp))
    return Conversation(connection, server, capabilities, mechanism)


async def _start_tls(
    connection: Connection, server: Server, manner: Manner, tls: str, capabilities: Capabilities
) -> Capabilities:
    if "STARTTLS" not in capabilities:
        code, text = 0, "the server does not offer STARTTLS"
        if tls == "opportunistic" and manner.tls_policy is None:
            return capabilities
    else:
        try:
            return await connection.run(client.encrypt(manner.client_name, server.lmtp))
        except client.Refused as refused:
            code, text = refused.answer.code, str(refused.answer)
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
