"""Envelope and Origin: one record travels through the bridge; an edge completes it, nobody changes it afterwards."""

from __future__ import annotations

from attrs import frozen

from mailbridge.address import Address
from mailbridge.content import Content


@frozen
class Origin:
    """Where a message came from.

    `listener` names the edge (`smtp[0]`); `peer` is the client's address in text, empty for local work; `helo` is the
    name the client gave; `user` the login, or None; `tls` the protocol and cipher, or None; `time` seconds since 1970;
    `protocol` the RFC 3848 keyword for the Received header; `trusted` is true for a listed client or a login.
    """

    listener: str
    peer: str
    helo: str
    user: str | None
    tls: str | None
    time: float
    protocol: str
    trusted: bool = False


@frozen
class Envelope:
    """One message on its way. `queue_id` is ours, random and stable: it makes a repeat recognisable (invariant 2).

    `sender` is `address.NULL` for `<>`; `ret` (FULL or HDRS) and `envid` are delivery status wishes (RFC 3461).
    `body_8bit` and `utf8` say what MAIL declared (RFC 6152, RFC 6531).
    """

    queue_id: str
    sender: Address
    recipients: tuple[Address, ...]
    origin: Origin
    content: Content
    body_8bit: bool = False
    utf8: bool = False
    ret: str | None = None
    envid: str | None = None


@frozen
class MailParameters:
    """What MAIL declared: `size` in octets (RFC 1870), 8-bit body (RFC 6152), UTF-8 addresses (RFC 6531).

    `ret` is FULL or HDRS, `envid` the sender's own name for the message, printable ASCII (RFC 3461 4.3, 4.4).
    """

    size: int | None = None
    body_8bit: bool = False
    utf8: bool = False
    ret: str | None = None
    envid: str | None = None


NO_PARAMETERS = MailParameters()
