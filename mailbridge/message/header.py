"""The header section of a message, on octets: where it ends, which fields it has, and the few lines we may add.

Nothing is decoded or re-folded here: a message keeps its octets. Limits are the caller's (DESIGN 6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_RECEIVED = re.compile(rb"\r\nreceived[ \t]*:")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")


def end_of_header(octets: bytes, start: int = 0) -> int:
    """Where the header section ends, its last CR LF included; -1 while the empty line after it has not come.

    `start` says how much was searched before. A text that begins with an empty line has an empty header.
    """
    if octets.startswith(b"\r\n"):
        return 0
    at = octets.find(b"\r\n\r\n", max(0, start - 3))
    return at + 2 if at >= 0 else -1


def fields(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(lower-case name, whole field with its folded lines) of each field in order; what is no field has no name."""
    start = 0
    size = len(header)
    while start < size:
        end = header.find(b"\r\n", start)
        while end >= 0 and header[end + 2:end + 3] in (b" ", b"\t"):
            end = header.find(b"\r\n", end + 2)
        stop = size if end < 0 else end + 2
        match = _FIELD.match(header, start, stop)
        yield (match.group(1).lower() if match else b""), header[start:stop]
        start = stop


def begins_as_header(text: bytes) -> bool:
    """Whether the first line of `text` is a field, or the `From ` line of a mailbox file; else it has no header."""
    return _FIELD.match(text) is not None or text.startswith((b"From ", b">From "))


def count_fields(header: bytes) -> int:
    """How many fields a header has."""
    lines = header.count(b"\r\n")
    return lines - header.count(b"\r\n ") - header.count(b"\r\n\t")


def count_hops(header: bytes) -> int:
    """How many Received fields a header has (RFC 5321 6.3), also with blanks before the colon (RFC 5322 4.5)."""
    return len(_RECEIVED.findall(b"\r\n" + header.lower()))


def complete(header: bytes, *, date: str, message_id: str, sender: str, rewrite: bool) -> bytes:
    """`header` with a Date, Message-ID and From where they are missing; for devices that leave them out (RFC 6409 8).

    With `rewrite` the From that is there is replaced as well, and kept as X-Original-From.
    """
    present = {name for name, _ in fields(header)}
    added = b""
    if rewrite and b"from" in present:
        kept = []
        for name, field in fields(header):
            kept.append(b"X-Original-From:" + field.partition(b":")[2] if name == b"from" else field)
        header = b"".join(kept)
        present.discard(b"from")
    if b"date" not in present:
        added += f"Date: {date}\r\n".encode()
    if b"message-id" not in present:
        added += f"Message-ID: {message_id}\r\n".encode()
    if b"from" not in present:
        added += f"From: <{sender}>\r\n".encode()
    return added + header
