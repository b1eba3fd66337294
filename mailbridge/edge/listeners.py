"""The listeners of a running bridge: each binds at its start or says in one line why it cannot."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.edge.proxied import ProxiedFactory
from mailbridge.edge.transport import listen
from mailbridge.errors import StartError

_PROXY = "haproxy:"


@define
class Listener:
    """One listening socket: the place of its table in the configuration, its endpoint, its port once it is bound."""

    place: str
    endpoint: str
    factory: IProtocolFactory
    port: IListeningPort | None = None


class Listeners:
    """Binds, counts and closes listening sockets. `reactor` is what endpoints want."""

    _log = Logger()

    def __init__(self, reactor: object) -> None:
        self._reactor = reactor
        self.all: list[Listener] = []

    def open(self, place: str, endpoint: str, factory: IProtocolFactory) -> Listener:
        """Listen at an endpoint. Raises StartError when the address is in use or not allowed."""
        listener = Listener(place, endpoint, factory)
        outcome: list[object] = []
        try:
            if endpoint.startswith(_PROXY):
                behind = ProxiedFactory(factory, self._reactor)  # type: ignore[arg-type]  # a reactor tells the time
                listening = listen(serverFromString(self._reactor, endpoint.removeprefix(_PROXY)), behind)
            else:
                listening = listen(serverFromString(self._reactor, endpoint), factory)
        except (OSError, CannotListenError, ValueError, IndexError) as error:
            raise StartError(_cannot(listener, error)) from None
        listening.addBoth(outcome.append)
        if outcome and isinstance(outcome[0], Failure) and outcome[0].value is not None:
            raise StartError(_cannot(listener, outcome[0].value))
        if outcome:
            listener.port = outcome[0]  # type: ignore[assignment]
        self.all.append(listener)
        self._log.info("{place} listens on {endpoint}", place=place, endpoint=endpoint)
        return listener

    def close(self, listener: Listener) -> Deferred[None]:
        """Stop listening; open sessions stay."""
        self.all.remove(listener)
        if listener.port is None:
            return succeed(None)
        stopped: Deferred[None] | None = listener.port.stopListening()
        return succeed(None) if stopped is None else stopped

    def close_all(self) -> Deferred[Any]:
        """Stop listening everywhere."""
        closed: list[Deferred[Any]] = [self.close(listener) for listener in list(self.all)]
        return DeferredList(closed)


def _cannot(listener: Listener, error: BaseException) -> str:
    """One line: which listener, why, and what to do."""
    cause = getattr(error, "socketError", error)
    number = getattr(cause, "errno", None)
    reason = getattr(cause, "strerror", None) or str(cause)
    remedy = {
        98: "another program uses it: stop that one, or choose another port",
        48: "another program uses it: stop that one, or choose another port",
        13: "ports below 1024 need the right CAP_NET_BIND_SERVICE: grant it, or choose a port from 1024 up",
        99: "this machine has no such address: correct interface=",
        49: "this machine has no such address: correct interface=",
    }.get(number or 0, "correct `listen`")
    return f"{listener.place}: cannot listen on {listener.endpoint}: {reason}; {remedy}"
