"""What the header of a part says about it: type, parameters, disposition, name, encoding, and what stands below.

The first field of a name counts. Nothing is refused: what is broken is as if it were not there (RFC 2045 5.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from mailbridge.lines import Normaliser, has_bare_newline
from mailbridge.message.charsets import text_of
from mailbridge.message.header import fields
from mailbridge.message.parameters import parameters
from mailbridge.message.parts import LONGEST_BOUNDARY, Kind

_TYPE = re.compile(r"""\s*([^\s;/"<>@,:()?=\[\]\\]{1,100})/([^\s;/"<>@,:()?=\[\]\\]{1,100})""")
_WORD = re.compile(r"\s*([^\s;=]{1,100}+)(?!\s*=)")
MESSAGES = ("message/rfc822", "message/global", "message/news")
_PLAIN = ("7bit", "8bit", "binary")
_NOTHING: Mapping[str, str] = MappingProxyType({})

RawFields = tuple[tuple[bytes, bytes], ...]
"""(lower-case name, value without folding) of each field."""


@frozen(eq=False)
class Head:
    """One header. `boundary` is that of a multipart."""

    header: RawFields = field(repr=False)
    type: str
    parameters: Mapping[str, str]
    disposition: str
    filename: str | None
    encoding: str
    kind: Kind
    boundary: bytes = b""


def read_head(octets: bytes, in_digest: bool = False) -> Head:
    """What a header says; parts `in_digest` are messages unless they say what they are (RFC 2046 5.1.5)"""
    if has_bare_newline(octets):
        normaliser = Normaliser()
        octets = normaliser.feed(octets) + normaliser.finish()
    header = tuple([
        (name, whole.partition(b":")[2].replace(b"\r\n", b"").strip()) for name, whole in fields(octets) if name
    ])
    given: dict[bytes, bytes] = {}
    for name, value in header:
        if name.startswith(b"content-"):
            given.setdefault(name, value)
    kind, boundary = Kind.LEAF, b""
    type_, said = _type(given.get(b"content-type", b""), in_digest)
    disposition, filename = _disposition(given.get(b"content-disposition", b""))
    encoding = _encoding(given.get(b"content-transfer-encoding", b""))
    if type_.startswith("multipart/"):
        boundary = said.get("boundary", "").encode("utf-8").rstrip()
        if boundary and len(boundary) <= LONGEST_BOUNDARY:
            kind = Kind.MULTIPART
    elif type_ in MESSAGES and encoding in _PLAIN:
        kind = Kind.MESSAGE
    return Head(header, type_, said, disposition, filename or said.get("name") or None, encoding, kind, boundary)


def _type(raw: bytes, in_digest: bool) -> tuple[str, Mapping[str, str]]:
    text = text_of(raw)
    match = _TYPE.match(text)
    if match is None:
        return ("message/rfc822" if in_digest else "text/plain"), _NOTHING
    return f"{match.group(1)}/{match.group(2)}".lower(), parameters(text[match.end():])


def _disposition(raw: bytes) -> tuple[str, str | None]:
    """("", "inline" or "attachment", the name of the file). An unknown word is an attachment (RFC 2183 2.8)."""
    if not raw:
        return "", None
    text = text_of(raw)
    match = _WORD.match(text)
    filename = parameters(text[match.end():] if match else text).get("filename")
    if match is None:
        return "", filename
    return ("inline" if match.group(1).lower() == "inline" else "attachment"), filename


def _encoding(raw: bytes) -> str:
    match = _WORD.match(raw.decode("ascii", "replace"))
    return match.group(1).lower() if match else "7bit"
