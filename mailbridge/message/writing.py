"""A MIME message, written on octets: header lines, bodies in an encoding that fits, multiparts (RFC 2045, 2231).

A value cannot begin a second header: control characters are taken out of it. What is written here is read back by
`message.mime` as it was. Only CR LF ends a line.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from attrs import field, frozen

from mailbridge.message.decoding import clean
from mailbridge.message.words import encoded

LONGEST_LINE = 998
"""Octets of a line without CR LF (RFC 5322 2.1.1)."""

_FOLD = 76
_BASE64_LINE = 57
_PIECE = 50  # characters of a parameter in one line
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,40}/[a-z0-9!#$&^_.+-]{1,80}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$&^_.+-]+")
OCTET_STREAM = "application/octet-stream"

Fields = Iterable[tuple[str, str]]


@frozen
class Part:
    """A header without an empty line, and a body; what is put together of parts is a part."""

    head: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def octets(self) -> bytes:
        """Both, with the empty line between them."""
        return self.head + b"\r\n" + self.body


def line(name: str, value: str) -> bytes:
    """One header field: cleaned, in ASCII unless addresses need UTF-8, folded at blanks."""
    lines, current = [], f"{name}:".encode("ascii")
    for word in encoded(name, clean(value)).split(" "):
        octets = b" " + word.encode("utf-8", "replace")
        if len(current) + len(octets) > _FOLD and current.strip() and word:
            lines.append(current)
            current = b""
        current += octets
    return b"\r\n".join([*lines, current]) + b"\r\n"


def text_part(text: str, subtype: str = "plain", name: str = "") -> Part:
    """Text as UTF-8: as it is when it fits, else quoted-printable, or base64 when most of it would be quoted."""
    octets = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode("utf-8", "replace")
    content_type = f"text/{subtype}; charset=utf-8"
    if octets.isascii() and not _has_long_line(octets) and b"\0" not in octets:
        return Part(_head(content_type, name, "7bit"), octets)
    quoted = sum(each > 126 for each in octets[:4096])
    if quoted * 3 > len(octets[:4096]):
        return Part(_head(content_type, name, "base64"), _base64(octets))
    body = b2a_qp(octets, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Part(_head(content_type, name, "quoted-printable"), body)


def attachment(octets: bytes, content_type: str, name: str = "", extra: Fields = (), disposition: str = "attachment",
               parameters: Sequence[tuple[str, str]] = ()) -> Part:
    """Octets with a type and a name. A message stays readable in its raw form where mail allows that (RFC 2046 5.2.1).

    A type that is none becomes application/octet-stream.
    """
    content_type = content_type.lower()
    if not _TYPE.fullmatch(content_type) or content_type.startswith("multipart/"):
        content_type = OCTET_STREAM
    with_parameters = content_type + "".join(f"; {key}={value}" for key, value in parameters
                                             if _TOKEN.fullmatch(key) and _TOKEN.fullmatch(value))
    raw = content_type == "message/rfc822" and not _BARE.search(octets) and not _has_long_line(octets)
    encoding = ("7bit" if octets.isascii() else "8bit") if raw else "base64"
    head = _head(with_parameters, name, encoding, disposition, extra)
    return Part(head, octets if raw else _base64(octets))


def _has_long_line(octets: bytes) -> bool:
    return any(len(each) > LONGEST_LINE + 1 for each in octets.split(b"\n"))


def multipart(subtype: str, parts: Sequence[Part]) -> Part:
    """Parts behind each other, with a boundary that none of them has."""
    whole = [part.octets for part in parts]
    number = 0
    while any(b"=_mb_%d_" % number in octets for octets in whole):
        number += 1
    boundary = b"=_mb_%d_" % number
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, octets) for octets in whole) + b"--%s--\r\n" % boundary
    head = line("Content-Type", f'multipart/{subtype}; boundary="{boundary.decode("ascii")}"')
    return Part(head, body)


def message(fields: Fields, part: Part) -> bytes:
    """A whole message: fields, what the part says of itself, and its body; it ends in CR LF."""
    head = b"".join(line(name, value) for name, value in fields)
    octets = head + b"MIME-Version: 1.0\r\n" + part.octets
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def _head(content_type: str, name: str, encoding: str, disposition: str = "", extra: Fields = ()) -> bytes:
    lines = [line("Content-Type", content_type)]
    if encoding != "7bit":
        lines.append(line("Content-Transfer-Encoding", encoding))
    if disposition or name:
        lines.append(b"Content-Disposition: %s%s\r\n" % (disposition.encode("ascii") or b"attachment",
                                                         _parameter("filename", clean(name))))
    return b"".join([*lines, *(line(*pair) for pair in extra)])


def _parameter(name: str, value: str) -> bytes:
    """`; name="value"`, or in pieces and percent-encoded (RFC 2231); nothing for an empty value."""
    if not value:
        return b""
    if value.isascii() and len(value) <= _PIECE and "=?" not in value:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'; {name}="{escaped}"'.encode("ascii")
    text = "utf-8''" + quote(value, safe="!#$&+-.^_`|~", errors="replace")
    pieces = []
    while text:
        size = _PIECE - next((back for back in (1, 2) if text[_PIECE - back:_PIECE - back + 1] == "%"), 0)
        pieces.append(text[:size])
        text = text[size:]
    if len(pieces) == 1:
        return f";\r\n {name}*={pieces[0]}".encode("ascii")
    return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(pieces)).encode("ascii")


def _base64(octets: bytes) -> bytes:
    return b"".join(b64encode(octets[at:at + _BASE64_LINE]) + b"\r\n" for at in range(0, len(octets), _BASE64_LINE))
