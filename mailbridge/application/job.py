"""A job for another program: what an application writes for one recipient of one message."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from mailbridge.address import Address


@frozen
class Mail:
    """One message for one recipient. `groups` are the named groups of the pattern that claimed the recipient.

    `content` is the whole message as it was accepted; `received` is seconds since 1970.
    """

    sender: Address
    recipient: Address
    groups: Mapping[str, str]
    content: bytes = field(repr=False)
    received: float


@frozen
class JobFile:
    """A file to write. `name` is ours, without a folder."""

    name: str
    octets: bytes = field(repr=False)


@frozen
class Job:
    """`files` (the text first, then attachments) are written before `control`, which makes the job known to its reader.

    `account` is who pays (`from/smtp`), `recipient` the number or name in the control file, `parts` how many short
    messages or documents it is, `warnings` what an operator should know of the conversion.
    """

    application: str
    number: int
    files: tuple[JobFile, ...]
    control: JobFile
    account: str
    recipient: str
    parts: int = 1
    warnings: tuple[str, ...] = ()
