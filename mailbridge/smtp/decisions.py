"""What an SMTP session asks of its surroundings, and what it is told at its start."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from mailbridge.address import Address
from mailbridge.envelope import MailParameters
from mailbridge.limits import Limits
from mailbridge.reply import Reply
from mailbridge.sasl.exchange import Exchange
from mailbridge.sasl.values import Credentials
from mailbridge.store.changes import Wishes


class Decisions(Protocol):
    """What the session asks of its surroundings. Where a Reply is wanted, None means: later, by `Server.answer`."""

    def helo(self, name: str, esmtp: bool) -> None:
        """The client said who it is; any transaction is over."""

    def mail(self, sender: Address, parameters: MailParameters) -> Reply | None:
        """Begin a transaction, or refuse the sender."""

    def rcpt(self, recipient: Address, wishes: Wishes) -> Reply | None:
        """Take or refuse one recipient, of whom the sender wants to hear `wishes`."""

    def data(self) -> Reply | None:
        """Content is about to come; a Reply refuses it, None lets it come (this one cannot wait)."""

    def content(self, octets: bytes) -> None:
        """Part of the content, ready to store."""

    def end(self) -> Reply | None:
        """All content is there: the reply that says whether it is ours now."""

    def reset(self) -> None:
        """The transaction is over without mail."""

    def etrn(self, domain: str) -> Reply | None:
        """Try now what waits for a domain (RFC 1985)."""

    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms on offer just now."""

    def exchange(self, mechanism: str) -> Exchange | None:
        """Begin a SASL exchange; None for a mechanism not on offer."""

    def login(self, credentials: Credentials) -> Reply | None:
        """Check what an exchange has shown."""


@frozen(cache_hash=True)
class ServerSettings:
    """How one listener's sessions behave. `starttls` is `offer`, `require` or `off`."""

    hostname: str
    limits: Limits
    starttls: str = "off"
    greeting: str = "ESMTP mailbridge"
