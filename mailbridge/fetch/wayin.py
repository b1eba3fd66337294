"""Where fetched mail goes, as the collection sees it: into the bridge, or to an SMTP server. Values and two protocols.

The promise of both: what `finish` returns other than LATER is durable, so that the message may be deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from mailbridge.errors import MailbridgeError
from mailbridge.fetch.account import Account
from mailbridge.store.changes import Remember

DIGEST = 32
"""Hexadecimal digits of a message's SHA-256 that the ledger keeps."""


class Stop(MailbridgeError):
    """Nothing can be delivered just now (a full store, a server that cannot be reached): the cycle ends here."""


class End(Enum):
    """What became of one message."""

    DELIVERED = "delivered"
    CARETAKER = "caretaker"
    DUD = "dud"
    KNOWN = "known"
    """It had been delivered before, under another size or without a UID."""
    LATER = "later"
    """A recipient could not be served for now: it stays on the server."""


@frozen
class Fate:
    """What became of one message. `row` False: a dud that does not count towards pf_max_duds, since somebody has it.

    `text` is for the log: recipients, reasons.
    """

    end: End
    text: str = ""
    row: bool = True


@frozen
class Known:
    """How the ledger is told: `already(digest)` whether it has the message, `change(digest)` what to commit with it.

    `name` is what the message is called across sessions.
    """

    name: str
    already: Callable[[str], bool]
    change: Callable[[str], Remember]


class Taking(Protocol):
    """One message on its way in."""

    def write(self, octets: bytes) -> Deferred[Any] | None:
        """Octets with CR LF line ends only; a Deferred asks for a pause. May raise Stop."""

    def finish(self) -> Deferred[Fate]:
        """The message is whole: deliver it. Fails with Stop."""

    def abort(self) -> None:
        """It will not be whole: forget it. Allowed at any time, and more than once."""


class WayIn(Protocol):
    """`one_by_one`: a message is delivered before the next is fetched, and accounts are collected in turn."""

    one_by_one: bool

    def take(self, account: Account, known: Known) -> Taking:
        """A message is coming. May raise Stop."""

    def resume(self) -> Deferred[Fate | None]:
        """Before anything else: deliver what the last time left behind. Fails with Stop."""

    def rest(self) -> Deferred[None]:
        """The cycle is over, or was stopped: close every connection."""

    def cut(self) -> None:
        """The fetcher has to stop now: end what is being delivered, which then fails with Stop."""
