"""The listeners of a running bridge: opened at the start, and opened, closed and adjusted at a reload.

No session is dropped by a reload: a listener that stays takes its new settings for new sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from mailbridge.edge.listeners import Listener, Listeners
from mailbridge.edge.smtp_listener import SMTPServerFactory
from mailbridge.errors import StartError

Wrap = Callable[[IProtocolFactory], IProtocolFactory]


@frozen
class Edge:
    """What a listener is to be: its endpoint, implicit TLS or not, its settings, and what makes its factory of these.

    `wrap` puts TLS around the factory; None where there is no certificate.
    """

    listen: str
    tls: bool
    settings: Any
    make: Callable[[Any, bool], Any]
    wrap: Wrap | None = None


class Edges:
    """Listeners by place, `smtp[0]` and so on."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._open: dict[str, tuple[Listener, Edge, Any]] = {}

    def open(self, wanted: Mapping[str, Edge]) -> None:
        """Open all. Raises StartError at the first that cannot be."""
        for place, edge in wanted.items():
            self._add(place, edge)

    def follow(self, wanted: Mapping[str, Edge]) -> list[str]:
        """Open, close and adjust; notes on those that could not open."""
        notes = []
        for place, (_, edge, factory) in list(self._open.items()):
            new = wanted.get(place)
            if new is not None and (new.listen, new.tls) == (edge.listen, edge.tls):
                factory.settings = new.settings
            else:
                self.close(place)
        for place in wanted.keys() - self._open.keys():
            try:
                self._add(place, wanted[place])
            except StartError as error:
                notes.append(str(error))
        return notes

    def close(self, place: str) -> None:
        """Close one, if it is open."""
        if place in self._open:
            self._listeners.close(self._open.pop(place)[0])

    def trusts(self, place: str, client: str) -> bool:
        """Whether a client needs no login at a listener."""
        factory = self._open[place][2] if place in self._open else None
        return isinstance(factory, SMTPServerFactory) and factory.settings.clients.allows(client)

    def _add(self, place: str, edge: Edge) -> None:
        factory = edge.make(edge.settings, edge.tls)
        outer: IProtocolFactory = factory
        if edge.tls:
            if edge.wrap is None:
                raise StartError(f"{place}: tls = true needs a [tls] table with certificate and key")
            outer = edge.wrap(factory)
        self._open[place] = (self._listeners.open(place, edge.listen, outer), edge, factory)
