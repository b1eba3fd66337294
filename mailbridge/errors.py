"""The errors that cross from one room of mailbridge to another.

Permanence is a property of the error: a store that is full or failing is transient, and nobody else decides it again.
Texts are for the operator's eyes; what a peer is told is a `Reply`.
"""

from __future__ import annotations

from attrs import frozen


class MailbridgeError(Exception):
    """Base of all errors that mailbridge raises on purpose."""


class AddressError(MailbridgeError):
    """Octets that are no envelope address; the text says what is wrong with them (RFC 5321 4.1.2)."""


class StoreError(MailbridgeError):
    """The store could not do what was asked, for now: nothing of the commit happened, or its fate is unknown."""


class StoreFull(StoreError):
    """The file system of the store has no room (below `min_free`, or ENOSPC): 452 to an SMTP client."""


class StoreConflict(StoreError):
    """A change that contradicts what is stored, such as a user name that is taken. Repeating it will not help."""


class MaildropInUse(MailbridgeError):
    """Another session has the maildrop (RFC 1939 section 8, `[IN-USE]` of RFC 2449)."""


class StartError(MailbridgeError):
    """mailbridge cannot start, or a command cannot run: one line that says which thing and what to do (exit 78)."""


@frozen
class Fault:
    """One fault of a configuration: the place (`smtp[1].listen`), what is wrong with it and the remedy."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class ConfigError(MailbridgeError):
    """Every fault found in a configuration, each with its place; `str` gives one line a fault."""

    def __init__(self, source: str, faults: tuple[Fault, ...]) -> None:
        self.source = source
        self.faults = faults
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
