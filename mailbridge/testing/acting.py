"""What hostile servers of any protocol do: say something, again and again or octet by octet; close; go deaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure


@frozen
class Endless:
    """Send `octets` again and again, every `every` seconds."""

    octets: bytes
    every: float = 0.1


@frozen
class Slowly:
    """Send `octets` one by one, every `every` seconds."""

    octets: bytes
    every: float = 10.0


@frozen
class Close:
    """Close the connection."""


@frozen
class Deaf:
    """Read nothing any more."""


Action = bytes | Endless | Slowly | Close | Deaf
Script = Mapping[str, Sequence[Action]]
"""What to do at an event, by its name. Events that are not named are served well; an empty sequence is silence."""


class ActingServer(Protocol):
    """A server that can do these things. It never stops a client by itself."""

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.deaf = self.gone = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has had enough."""
        self.gone = True

    def act(self, action: Action) -> None:
        """Do one of them."""
        if isinstance(action, bytes):
            self.transport.write(action)
        elif isinstance(action, Endless):
            self._repeat(action)
        elif isinstance(action, Slowly):
            self._drip(action, 0)
        elif isinstance(action, Close):
            self.transport.loseConnection()
        else:
            self.deaf = True
            self.transport.pauseProducing()

    def _repeat(self, action: Endless) -> None:
        if not self.gone:
            self.transport.write(action.octets)
            self._clock.callLater(max(action.every, 0.001), self._repeat, action)

    def _drip(self, action: Slowly, at: int) -> None:
        if not self.gone and at < len(action.octets):
            self.transport.write(action.octets[at:at + 1])
            self._clock.callLater(action.every, self._drip, action, at + 1)
