"""What the POP3 core asks of the world: the interface between it and the adapter that has transport and portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mailbridge.sasl.mechanisms import Mechanisms
from mailbridge.sasl.values import Credentials


class Outside(Protocol):
    """Calls out of the core. Each says by which method of `Server` its answer comes, at once or later, exactly once."""

    def write(self, octets: bytes) -> None:
        """Send octets. May call `Server.pause` while the client does not read."""

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send the pieces as fast as the client reads, and close the iterator; then `Server.streamed`."""

    def come_back(self) -> None:
        """Call `Server.go_on` in a later reactor turn: there is more to do than one turn may take."""

    def close(self) -> None:
        """Close when everything has been sent."""

    def start_tls(self) -> None:
        """Begin the handshake on this connection; then `Server.secured`."""

    def mechanisms(self) -> Mechanisms | None:
        """What this client may log in with by AUTH; None for nothing. Answered at once."""

    def login(self, credentials: Credentials) -> None:
        """Log in and open the maildrop; then `Server.opened` or `Server.refused`."""

    def uid(self, index: int) -> bytes:
        """The unique id of a message. Answered at once."""

    def retrieve(self, index: int) -> bytes | Iterator[bytes] | None:
        """A message, whole or in chunks; None when it has to be fetched: `fetch` is called next. LookupError: gone."""

    def fetch(self) -> None:
        """Answer the `retrieve` that gave None by `Server.retrieved` or `Server.answer`."""

    def delete(self, indices: Iterator[int]) -> None:
        """Remove messages for good; then `Server.updated`."""
