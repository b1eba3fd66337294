"""The caretaker's copy of a message: a paragraph that says who did not get it and why, and the message itself.

Made as what comes before the body and what comes after it, so that a message of any size streams through. Where a
paragraph on top would be invisible or break something (multipart, base64, a signature) the message is wrapped whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from mailbridge.message.header import fields
from mailbridge.queue.quoting import one_line

MOST_LISTED = 100
LONGEST_REPLY = 200
LONGEST_ADDRESS = 320
_LONGEST_KEPT = 8 * 1024
_KEPT = (b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"in-reply-to", b"references")

_TYPE = re.compile(rb"[^:]*:[ \t\r\n]*text/plain[ \t\r\n]*(?:;(.*))?$", re.IGNORECASE | re.DOTALL)
_PLAIN_ENCODING = re.compile(rb"[^:]*:[ \t\r\n]*(?:7bit|8bit)[ \t\r\n]*$", re.IGNORECASE)
_CHARSET = re.compile(rb'charset[ \t]*=[ \t]*"?(?:utf-?16|utf-?32|ucs-?[24]|utf-?7)', re.IGNORECASE)
_ARMOUR = re.compile(rb"-----BEGIN PGP|^begin [0-7]{3} ", re.MULTILINE)
PEEK = 1024
"""Octets of the body that `copy` wants to see, or all if there are fewer."""


@frozen
class Failed:
    """One recipient who did not get the message, and what was said of it."""

    address: str
    reply: str


@frozen
class Frame:
    """What stands before the body of the original (its header included) and after it."""

    before: bytes
    after: bytes = b""


@frozen
class Signature:
    """What a wrapped message is signed with: our host name, a date line, and an id that nobody can guess."""

    hostname: str
    date: str
    id: str


def reason_line(reason: str) -> bytes:
    """The header that goes on top of a message that comes to the caretaker as it is, for want of a recipient."""
    return b"X-POPFetch-Reason: " + _ascii(reason, 60) + b"\r\n"


def copy(header: bytes, body: bytes, failed: Sequence[Failed], delivered: Sequence[str], signature: Signature) -> Frame:
    """The caretaker's copy; `body` are its first octets. `failed` may be empty when `delivered` is not."""
    told = _told(failed, delivered)
    paragraph = _paragraph(failed, delivered)
    if _takes_paragraph(header, body):
        return Frame(told + _headed(header) + paragraph)
    return _wrapped(header, told, paragraph, signature)


def _headed(header: bytes) -> bytes:
    """The header with the empty line after it, also where its last line was not ended."""
    if header and not header.endswith(b"\r\n"):
        header += b"\r\n"
    return header + b"\r\n"


def _takes_paragraph(header: bytes, body: bytes) -> bool:
    """Whether text on top of the body is seen, and harms nothing."""
    given: dict[bytes, bytes] = {}
    for name, octets in fields(header):
        if name in (b"content-type", b"content-transfer-encoding"):
            if name in given:
                return False
            given[name] = octets
        elif not name:
            return False
    kind = _TYPE.match(given[b"content-type"]) if b"content-type" in given else None
    if b"content-type" in given and (kind is None or _CHARSET.search(kind.group(1) or b"")):
        return False
    encoding = given.get(b"content-transfer-encoding")
    if encoding is not None and not _PLAIN_ENCODING.match(encoding):
        return False
    return _ARMOUR.search(body) is None


def _told(failed: Sequence[Failed], delivered: Sequence[str]) -> bytes:
    """Headers for programs: one line an address."""
    out = [b"X-POPFetch-Failed: " + _ascii(each.address, LONGEST_ADDRESS) for each in failed[:MOST_LISTED]]
    out += [b"X-POPFetch-Delivered: " + _ascii(each, LONGEST_ADDRESS) for each in delivered[:MOST_LISTED]]
    return b"".join(line + b"\r\n" for line in out)


def _paragraph(failed: Sequence[Failed], delivered: Sequence[str]) -> bytes:
    """For people: ASCII, one address a line with the reply."""
    lines = ["This message was fetched by the mail bridge. It could not be delivered to:"]
    for each in failed[:MOST_LISTED]:
        lines.append("  " + one_line(each.address, LONGEST_ADDRESS))
        if each.reply:
            lines.append("    " + one_line(each.reply, LONGEST_REPLY))
    lines += _more(len(failed))
    if delivered:
        lines += ["", "It was delivered to:"]
        lines += ["  " + one_line(each, LONGEST_ADDRESS) for each in delivered[:MOST_LISTED]] + _more(len(delivered))
    lines += ["", "The message follows.", ""]
    return "".join(line + "\r\n" for line in lines).encode("ascii", "replace")


def _more(count: int) -> list[str]:
    return [f"  and {count - MOST_LISTED} more"] if count > MOST_LISTED else []


def _wrapped(header: bytes, told: bytes, paragraph: bytes, signature: Signature) -> Frame:
    kept: dict[bytes, bytes] = {}
    for name, octets in fields(header):
        if name in _KEPT and name not in kept and len(octets) <= _LONGEST_KEPT:
            kept[name] = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    if b"date" not in kept:
        kept[b"date"] = f"Date: {signature.date}\r\n".encode()
    if b"from" not in kept:
        kept[b"from"] = f"From: MAILER-DAEMON@{signature.hostname}\r\n".encode()
    border = f"=_popfetch_{signature.id}"
    before = told + b"".join(kept.values()) + (
        f"Message-ID: <{signature.id}@{signature.hostname}>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed;\r\n\tboundary="{border}"\r\n'
        "Content-Transfer-Encoding: 8bit\r\n"
        "\r\n"
        f"--{border}\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "\r\n"
    ).encode() + paragraph + (
        f"--{border}\r\n"
        "Content-Type: message/rfc822\r\n"
        "Content-Transfer-Encoding: 8bit\r\n"
        "Content-Disposition: inline\r\n"
        "\r\n"
    ).encode() + _headed(header)
    return Frame(before, f"\r\n--{border}--\r\n".encode())


def _ascii(text: str, longest: int) -> bytes:
    return one_line(text, longest).encode("ascii", "replace")
