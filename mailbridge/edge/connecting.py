"""Connections to servers by name, address or UNIX path: the endpoint for each, and a limit that covers the look-up."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure


def connect(
    reactor: Any, host: str, port: int, factory: IProtocolFactory, seconds: float, too_slow: Exception,
    bind: tuple[str, int] | None = None,
) -> Deferred[Any]:
    """The protocol of a connection to the first address that answers (RFC 8305), or `too_slow` after `seconds`.

    A `host` that begins with a slash is the path of a UNIX socket.
    """
    endpoint: UNIXClientEndpoint | TCP4ClientEndpoint | TCP6ClientEndpoint | HostnameEndpoint
    if host.startswith("/"):
        endpoint = UNIXClientEndpoint(reactor, host, timeout=seconds)
    elif isIPAddress(host):  # an address needs no thread that looks it up
        endpoint = TCP4ClientEndpoint(reactor, host, port, seconds, bind)
    elif isIPv6Address(host):
        endpoint = TCP6ClientEndpoint(reactor, host, port, seconds, bind)
    else:
        endpoint = HostnameEndpoint(reactor, host, port, timeout=seconds, bindAddress=bind)
    return _in_time(reactor, endpoint.connect(factory), seconds, too_slow)


def _in_time(reactor: Any, connecting: Deferred[Any], seconds: float, too_slow: Exception) -> Deferred[Any]:
    """`connecting`, ended after `seconds` with `too_slow`. Cancelled, it fails with CancelledError at every stage: an
    endpoint tells it as a name that was not found, or in other ways that look like a fault of the server."""
    ended: list[Exception] = []

    def end(reason: Exception) -> None:
        ended.append(reason)
        connecting.cancel()
        if not waiting.called:
            waiting.errback(reason)

    def arrived(connection: Any) -> None:
        if ended:
            connection.abort()
        else:
            waiting.callback(connection)

    def failed(reason: Failure) -> None:
        if not waiting.called:
            waiting.errback(Failure(ended[0]) if ended else reason)

    def over(result: Any) -> Any:
        if call.active():
            call.cancel()
        return result

    waiting: Deferred[Any] = Deferred(lambda _: end(CancelledError()))
    call = reactor.callLater(seconds, end, too_slow)
    waiting.addBoth(over)
    connecting.addCallbacks(arrived, failed)
    return waiting
