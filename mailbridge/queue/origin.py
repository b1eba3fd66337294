"""Where a stored message came from and who is meant, read back from the text the store keeps."""

from __future__ import annotations

import json

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.envelope import Origin
from mailbridge.errors import AddressError
from mailbridge.store.changes import Message

UNKNOWN = Origin("", "", "", None, None, 0.0, "")


def origin_of(message: Message) -> Origin:
    """The Origin of a message; one that is trusted with nothing when its text cannot be read."""
    try:
        said = json.loads(message.origin)
        return Origin(
            str(said["listener"]), str(said["peer"]), str(said["helo"]), said["user"], said["tls"], message.received,
            str(said["protocol"]), bool(said["trusted"]),
        )
    except (ValueError, KeyError, TypeError):
        return UNKNOWN


def address_of(text: str) -> Address | None:
    """The address that a text of the store stands for, None if it is none."""
    if not text:
        return NULL
    try:
        return parse_mailbox(text.encode("utf-8"))
    except AddressError:
        return None
