"""The mechanisms offered to one client, by name."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from mailbridge.sasl.exchange import Exchange
from mailbridge.sasl.scram import Scram
from mailbridge.sasl.simple import Cram, Login, Plain
from mailbridge.sasl.verifier import Verifiers

SCRAM_SHA_256 = "SCRAM-SHA-256"
CRAM_MD5 = "CRAM-MD5"
PLAIN = "PLAIN"
LOGIN = "LOGIN"
IN_CLEAR = frozenset({PLAIN, LOGIN})
NONCE_SIZE = 18


def anybody(username: bytes) -> bool:
    """Nobody is kept from trying."""
    return True


@frozen
class Mechanisms:
    """What one client may log in with. `offered` is in the order in which it is listed.

    `random(n)` gives n octets that cannot be guessed (`os.urandom`). `hostname` stands in CRAM-MD5 challenges.
    `verifiers` is needed for SCRAM only. `may_try(username)` is the throttle's word on this client (see `scram`).
    """

    offered: tuple[str, ...]
    hostname: str
    random: Callable[[int], bytes]
    verifiers: Verifiers | None = None
    may_try: Callable[[bytes], bool] = anybody

    def names(self, secure: bool) -> tuple[str, ...]:
        """What to list; without `secure` (TLS, loopback, or allowed by the operator) no password travels in clear."""
        return self.offered if secure else tuple(name for name in self.offered if name not in IN_CLEAR)

    def start(self, name: str) -> Exchange | None:
        """A new exchange; None for a mechanism that is not offered. Any case of `name` will do.

        The caller has looked the name up in `names(secure)`: this does not know about TLS.
        """
        name = name.upper()
        if name not in self.offered:
            return None
        if name == PLAIN:
            return Plain()
        if name == LOGIN:
            return Login()
        token = self.random(NONCE_SIZE).hex()
        if name == CRAM_MD5:
            return Cram(f"<{token}@{self.hostname}>".encode("ascii", "replace"))
        if name == SCRAM_SHA_256 and self.verifiers is not None:
            return Scram(self.verifiers, token.encode("ascii"), self.may_try)
        return None
