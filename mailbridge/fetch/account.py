"""One account to collect, as a plain value, whatever file it was written in."""

from __future__ import annotations

import hashlib

from attrs import field, frozen

from mailbridge.edge.upstream import Upstream
from mailbridge.fetch.recipient import Addressing


@frozen(kw_only=True)
class Account:
    """`name` is for people; `user` and `upstream` are what it is. How the login is made is the opener's business.

    `keep` leaves messages on the server; `delete_after` (seconds, with `keep`) takes those away that were delivered so
    long ago. Messages of more than `size_limit` octets stay where they are. `interval` (seconds) is its own time
    between cycles. After `expunge` deletions the session is ended so that the server makes them true; 0: at the end
    only. With `may_relay` its mail may take routes that leave the bridge.
    """

    name: str
    user: str
    upstream: Upstream
    addressing: Addressing = field(factory=Addressing)
    keep: bool = False
    delete_after: float | None = None
    size_limit: int | None = None
    interval: float | None = None
    expunge: int = 1000
    may_relay: bool = False

    @property
    def key(self) -> str:
        """16 hexadecimal digits that stay the same however the account is named: its place in the ledger."""
        host = self.upstream.host.lower()
        return hashlib.sha256(f"{self.user}\0{host}\0{self.upstream.port}".encode()).hexdigest()[:16]
