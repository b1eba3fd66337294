"""Values that the tests of the store share."""

from __future__ import annotations

from mailbridge.address import Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.store.changes import Accept, Credentials

CREDENTIALS = Credentials("scrypt$x", "scram$y")
ORIGIN = Origin("smtp[0]", "192.0.2.7", "client.example", "bonnie", "TLSv1.3", 1_763_730_000.25, "ESMTPSA", True)


def envelope(content: Content | bytes = b"Subject: x\r\n\r\nhello\r\n", queue_id: str = "q1") -> Envelope:
    """An envelope with one recipient."""
    if isinstance(content, bytes):
        content = Content.of(content)
    return Envelope(queue_id, Address("harold", "example.org"), (Address("bonnie", "example.org"),), ORIGIN, content)


def mail(*users: int, octets: bytes = b"Subject: x\r\n\r\nhello\r\n") -> Accept:
    """An Accept of a small message into maildrops."""
    return Accept(envelope(octets), users)
