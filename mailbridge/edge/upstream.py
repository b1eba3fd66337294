"""Sessions with POP3 servers that mail is fetched from: connect, TLS by policy, log in.

Every failure is an UpstreamError, whose text may be logged, and leaves no connection behind.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.connecting import connect
from mailbridge.edge.pop3_client import Connection
from mailbridge.edge.upstreamsession import UpstreamSession
from mailbridge.pop3 import capabilities
from mailbridge.pop3.commands import Shape
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.opening import OFF, Encrypt, Opened, Steps, open_steps
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin


@frozen
class Upstream:
    """A server. `tls` is `implicit`, `require` (STLS), `opportunistic` (STLS if it is offered) or `off`."""

    host: str
    port: int = 110
    tls: str = "require"
    trust: Trust = field(factory=Trust)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Capabilities:
    """The sink of CAPA."""

    def __init__(self) -> None:
        self.text = b""

    def take(self, octets: bytes) -> None:
        """A piece."""
        self.text += octets
        if len(self.text) > capabilities.MOST_OCTETS:
            raise UpstreamError(Kind.PROTOCOL, "CAPA: the server's list has no end")


def open_upstream(
    reactor: Any, upstream: Upstream, login: UpstreamLogin, random: Callable[[int], bytes],
    limits: UpstreamLimits | None = None, note: Callable[[str], object] | None = None,
) -> Deferred[UpstreamSession]:
    """Connect, encrypt and log in. `random(n)` gives n octets nobody can guess; `note` takes the lines of a transcript.

    Fails with UpstreamError, and with CancelledError when it is cancelled; the connection is closed then.
    """
    return Deferred.fromCoroutine(_open(reactor, upstream, login, random, limits or UpstreamLimits(), note))


async def _open(
    reactor: Any, upstream: Upstream, login: UpstreamLogin, random: Callable[[int], bytes], limits: UpstreamLimits,
    note: Callable[[str], object] | None,
) -> UpstreamSession:
    connection = await _connect(reactor, upstream, limits, note)
    try:
        loopback = _is_loopback(connection.transport)
        opened = await _carry_out(connection, open_steps(upstream.tls, login, loopback, random))
    except BaseException:
        connection.abort()
        raise
    if "PIPELINING" in opened.capabilities:
        connection.pipeline()
    return UpstreamSession(connection, opened, limits)


async def _connect(
    reactor: Any, upstream: Upstream, limits: UpstreamLimits, note: Callable[[str], object] | None
) -> Connection:
    try:
        options = upstream.trust.creator(upstream.host) if upstream.tls != OFF else None
        factory = Factory.forProtocol(
            lambda: Connection(reactor, limits, lambda: options, upstream.trust.wrong, note)
        )
        factory.noisy = False
        too_slow = UpstreamError(Kind.CONNECT, f"{upstream}: no connection within {limits.connect:g} seconds")
        connection: Connection = await connect(
            reactor, upstream.host, upstream.port, factory, limits.connect, too_slow
        )
    except (UpstreamError, CancelledError):
        raise
    except Exception as error:  # names, addresses, routes: Twisted has many ways to say that there is no connection
        raise UpstreamError(Kind.CONNECT, f"{upstream}: {error or type(error).__name__}"[:500]) from None
    return connection


def _is_loopback(transport: Any) -> bool:
    try:
        address = ip_address(transport.getPeer().host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except (AttributeError, ValueError):
        return False


async def _carry_out(connection: Connection, steps: Steps) -> Opened:
    """Drive the opening: each step's result is sent in, and what fails ends it."""
    result: Any = None
    while True:
        try:
            step = steps.send(result)
        except StopIteration as stop:
            opened: Opened = stop.value
            return opened
        if isinstance(step, Encrypt):
            await connection.encrypt()
            result = None
        elif step.shape is Shape.LIST:
            listed = _Capabilities()
            result = await connection.ask(step, listed), listed.text
        else:
            result = await connection.ask(step)
