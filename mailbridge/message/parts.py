"""The parts of a MIME message, found in octets that come in chunks (RFC 2045, RFC 2046).

Every octet is given out once and in order, so that whoever writes them all writes the message. Bounded, for the message
may come from an enemy: parts, depth, the length of a header. Never held: more than a header or an unfinished line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum

from attrs import define, frozen

from mailbridge.errors import MailbridgeError
from mailbridge.message.header import end_of_header, fields

MOST_PARTS = 1000
MOST_DEPTH = 50
LONGEST_HEADER = 256 * 1024
LONGEST_BOUNDARY = 200
_LONGEST_SEAM = 1024

_TYPE = re.compile(rb"[^:]*:[ \t\r\n]*([!-.0-9:-~]+)/([!-:<-~]+)[ \t\r\n]*(?:;|$)", re.DOTALL)
_BOUNDARY = re.compile(rb';[ \t\r\n]*boundary[ \t]*=[ \t]*(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"()]+))', re.IGNORECASE)
_ENCODING = re.compile(rb"[^:]*:[ \t\r\n]*([!-~]+)[ \t\r\n]*$", re.DOTALL)


class TooIntricate(MailbridgeError):
    """The structure of the message is beyond the limits."""


class Kind(Enum):
    """What stands below a header."""

    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"


@define
class Part:
    """One part as its header describes it; `eight` when its own body has octets above 127."""

    kind: Kind
    text: bool
    encoding: bytes
    locked: str  # why it must not be changed; empty when it may
    boundary: bytes = b""
    digest: bool = False
    depth: int = 0
    eight: bool = False


class What(Enum):
    """What a run of octets is."""

    HEAD = "head"
    BODY = "body"
    SEAM = "seam"  # a boundary line with the CR LF before it
    PAUSE = "pause"  # a chunk is used up


Event = tuple[What, int, bytes]


def walk(chunks: Iterable[bytes], parts: list[Part]) -> Iterator[Event]:
    """Every octet once, in order: headers, bodies in pieces, boundary lines; fills `parts`. Raises TooIntricate."""
    source = iter(chunks)
    borders: list[_Border] = []
    data, ended, in_head, at_line_start = b"", False, True, True
    above, number = -1, -1
    while True:
        if in_head:
            end = _end_of_head(data, borders, ended)
            if end >= 0:
                head, data = data[:end], data[end:]
                part = _describe(head, parts[above] if above >= 0 else None)
                part.depth = parts[above].depth + 1 if above >= 0 else 0
                number = len(parts)
                parts.append(part)
                if number >= MOST_PARTS or part.depth > MOST_DEPTH:
                    raise TooIntricate("the message has too many parts, or parts in parts")
                yield What.HEAD, number, head
                at_line_start = True
                in_head = part.kind is Kind.MESSAGE
                above = number
                if part.kind is Kind.MULTIPART:
                    borders.append(_Border(part.boundary, number))
                continue
            if len(data) > LONGEST_HEADER:
                raise TooIntricate("a part of the message has a very long header")
        else:
            seam, safe = _find_seam(data, borders, at_line_start, ended)
            if safe:
                yield What.BODY, number, data[:safe]
                at_line_start = False
            if seam is not None:
                del borders[seam.level + 1:]
                number = borders[seam.level].number
                yield What.SEAM, number, data[safe:seam.end]
                data = data[seam.end:]
                at_line_start = True
                if seam.closing:
                    del borders[seam.level:]
                else:
                    in_head, above = True, number
                continue
            data = data[safe:]
        if ended:
            return
        chunk = next(source, None)
        if chunk is None:
            ended = True
        else:
            data += chunk
            yield What.PAUSE, -1, b""


@frozen
class _Border:
    """An open multipart."""

    boundary: bytes
    number: int


@frozen
class _Seam:
    """A boundary line: which open multipart's it is, where it ends, and whether it is the last one."""

    level: int
    end: int
    closing: bool


def _find_seam(data: bytes, borders: list[_Border], at_line_start: bool, ended: bool) -> tuple[_Seam | None, int]:
    """(the first boundary line or None, how many octets before it are body for certain)."""
    if not borders:
        return None, len(data)
    lines = {b"--" + border.boundary: level for level, border in enumerate(borders)}
    added = 2 if at_line_start else 0  # a line starts here as it does after CR LF
    text = b"\r\n" + data if at_line_start else data
    at = text.find(b"\r\n--")
    while at >= 0:
        before = max(0, at - added)
        end = text.find(b"\r\n", at + 2)
        if end < 0 and not ended:
            if len(text) - at <= _LONGEST_SEAM:
                return None, before
            break
        line = text[at + 2:len(text) if end < 0 else end].rstrip(b" \t")
        closing = line not in lines
        level = lines.get(line.removesuffix(b"--") if closing and line.endswith(b"--") else line)
        if level is not None:
            return _Seam(level, (len(text) if end < 0 else end + 2) - added, closing), before
        at = text.find(b"\r\n--", at + 2)
    held = b"" if ended else next((mark for mark in (b"\r\n-", b"\r\n", b"\r") if text.endswith(mark)), b"")
    return None, max(0, len(text) - len(held) - added)


def _end_of_head(data: bytes, borders: list[_Border], ended: bool) -> int:
    """Where the header ends, with the empty line after it; -1 when that has not come. A boundary line ends it too."""
    end = end_of_header(data)
    seam, before = _find_seam(data if end < 0 else data[:end], borders, True, ended or end >= 0)
    if seam is not None:
        return before + 2 if data.startswith(b"\r\n", before) else before
    if end >= 0:
        return end + 2
    return len(data) if ended else -1


def _describe(head: bytes, above: Part | None) -> Part:
    """What a header says of its part; the first field of a name counts."""
    given: dict[bytes, bytes] = {}
    for name, octets in fields(head):
        given.setdefault(name, octets)
    encoding = _ENCODING.match(given.get(b"content-transfer-encoding", b""))
    word = encoding.group(1).lower() if encoding else b"7bit"
    locked = above.locked if above is not None else ""
    content_type = given.get(b"content-type", b"")
    found = _TYPE.match(content_type)
    if found is not None:
        main, sub = found.group(1).lower(), found.group(2).lower()
    elif above is not None and above.digest:
        main, sub = b"message", b"rfc822"
    else:
        main, sub = b"text", b"plain"
    plain = word in (b"7bit", b"8bit", b"binary")
    if not plain:
        locked = locked or "a part that says it is encoded already"
    if main == b"multipart":
        match = _BOUNDARY.search(content_type)
        boundary = b"" if match is None else re.sub(rb"\\(.)", rb"\1", match.group(1) or match.group(2) or b"")
        if sub == b"signed":
            locked = locked or "a signed part"
        if not boundary.strip() or len(boundary) > LONGEST_BOUNDARY or not plain:
            return Part(Kind.LEAF, False, word, locked or "a multipart without boundary")
        return Part(Kind.MULTIPART, False, word, locked, boundary.rstrip(), sub == b"digest")
    if main == b"message" and sub in (b"rfc822", b"news", b"global") and plain:
        return Part(Kind.MESSAGE, False, word, locked)
    if main == b"message" and sub in (b"rfc822", b"news", b"partial", b"external-body"):
        locked = locked or f"a part of type message/{sub.decode('ascii')}"
    return Part(Kind.LEAF, main == b"text", word, locked)
