"""The Received and Return-Path lines (RFC 5321 4.4). Peer text is made harmless before it enters a header."""

from __future__ import annotations

from functools import lru_cache

from mailbridge.address import Address
from mailbridge.clock import rfc5322_date
from mailbridge.content import Content
from mailbridge.envelope import Origin


@lru_cache(maxsize=1024)
def _token(text: str) -> str:
    """`text` as it may stand in a header: printable ASCII without parentheses, backslashes and quotes, at most 255."""
    return "".join(c if "!" <= c <= "~" and c not in '()\\";<>' else "?" for c in text[:255])


def _words(text: str) -> str:
    return " ".join(map(_token, text.split()))


def received_header(origin: Origin, hostname: str, queue_id: str, recipient: Address | None) -> bytes:
    """The trace line to put before a message, folded, with CR LF at its end.

    `recipient` is named only when it is the only one (RFC 5321 7.2: no blind copy is given away).
    """
    source = f"from {_token(origin.helo) or 'unknown'} ({_peer(origin.peer)})"
    tls = f"\r\n\t(using {_words(origin.tls)})" if origin.tls else ""
    target = f"\r\n\tfor <{recipient.text}>" if recipient is not None and recipient.is_ascii else ""
    return (
        f"Received: {source}{tls}\r\n\tby {hostname} with {origin.protocol} id {queue_id}{target};\r\n"
        f"\t{rfc5322_date(origin.time)}\r\n"
    ).encode("ascii", "replace")


def _peer(peer: str) -> str:
    if not peer:
        return "local"
    return f"[IPv6:{_token(peer)}]" if ":" in peer else f"[{_token(peer)}]"


def return_path(sender: str) -> bytes:
    """The Return-Path line put on top at final delivery (RFC 5321 4.4); `sender` is the text of an Address."""
    return f"Return-Path: <{sender}>\r\n".encode()


def maildrop_size(sender: Address, content: Content) -> int:
    """The octets POP3 sends of a message before dot-stuffing: Return-Path, content, and CR LF where that is missing."""
    return len(return_path(sender.text)) + content.size + (0 if content.ends_in_newline else 2)
