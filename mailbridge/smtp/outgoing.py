"""A message as the client's side of SMTP sees it, and what became of it."""

from __future__ import annotations

import re

from attrs import field, frozen

from mailbridge.address import Address
from mailbridge.smtp.answer import Answer

_XTEXT = re.compile(rb"[!-*,-<>-~]")


@frozen
class Recipient:
    """One recipient and its delivery status wishes (RFC 3461): `notify` of NEVER, SUCCESS, FAILURE, DELAY."""

    address: Address
    notify: tuple[str, ...] = ()
    original: str | None = None


@frozen
class Outgoing:
    """The envelope of one transaction. `size` in octets; `eight_bit` when the content has octets above 127.

    `utf8_header` says that the header has such octets (RFC 6532): SMTPUTF8 is said where it is offered.
    `ends_in_newline` is false for content whose last line has no CR LF: BDAT keeps that, DATA adds one. `ret` is FULL
    or HDRS, `envid` any text (RFC 3461).
    """

    sender: Address
    recipients: tuple[Recipient, ...]
    size: int
    eight_bit: bool = False
    ends_in_newline: bool = True
    ret: str | None = None
    envid: str | None = None
    utf8_header: bool = False

    @property
    def utf8(self) -> bool:
        """Whether an address needs SMTPUTF8."""
        return not (self.sender.is_ascii and all(recipient.address.is_ascii for recipient in self.recipients))


@frozen
class Sent:
    """What the server said: `refused` at RCPT, and the last word for each of the others (all the same but for LMTP)."""

    refused: dict[Address, Answer] = field(factory=dict)
    final: dict[Address, Answer] = field(factory=dict)


def xtext(text: str) -> bytes:
    """`text` as a parameter value (RFC 3461 4): no octet of it can end the value, the line or the command."""
    return b"".join(
        bytes([octet]) if _XTEXT.fullmatch(bytes([octet])) else b"+%02X" % octet for octet in text.encode("utf-8")
    )
