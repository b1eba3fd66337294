"""The transfer encoding of a body taken off (RFC 2045 6), broken input too: what can be read is read, nothing raises.

Linear in the length of the body.
"""

from __future__ import annotations

import binascii
import re

_NOT_BASE64 = bytes(c for c in range(256) if not (chr(c).isascii() and chr(c).isalnum()) and c not in b"+/")
_MOST_RUNS = 20_000
_BEGIN = re.compile(rb"(?:\A|\n)begin(?:-base64)? [0-7]{3,4} [^\n]*\n")
_LOOSE_BLANKS = (b" \r\n", b"\t\r\n", b" \n", b"\t\n")


def decoded(body: bytes, encoding: str) -> bytes:
    """The octets that `body` stands for; `encoding` is a lower-case word, an unknown one changes nothing."""
    if encoding == "base64":
        return from_base64(body)
    if encoding == "quoted-printable":
        return _from_quoted_printable(body)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _from_uuencode(body)
    return body


def from_base64(text: bytes) -> bytes:
    """Octets of base64 text; strange characters are skipped, missing padding does not matter, nor does early one."""
    padding = text.find(b"=")
    try:
        if padding < 0 or not text[padding:].strip(b"=\r\n \t"):
            return binascii.a2b_base64(text)
    except binascii.Error:
        pass
    if text.count(b"=") > _MOST_RUNS:
        return _run(text.translate(None, _NOT_BASE64))
    # Each run between paddings was encoded on its own.
    return b"".join(_run(run.translate(None, _NOT_BASE64)) for run in text.split(b"="))


def _run(letters: bytes) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _from_quoted_printable(body: bytes) -> bytes:
    if any(blanks in body for blanks in _LOOSE_BLANKS):  # put there on the way, RFC 2045 6.7 (3)
        body = b"\n".join([_without_blanks(line) for line in body.split(b"\n")])
    return binascii.a2b_qp(body)


def _without_blanks(line: bytes) -> bytes:
    if line.endswith(b"\r"):
        return line[:-1].rstrip(b" \t") + b"\r"
    return line.rstrip(b" \t")


def _from_uuencode(body: bytes) -> bytes:
    begin = _BEGIN.search(body)
    if begin is None:
        return body
    out: list[bytes] = []
    room = 2 * len(body)  # two octets of a line may stand for 45 zeros
    for line in body[begin.end():].split(b"\n"):
        line = line.rstrip(b"\r")
        if line in (b"end", b"`", b" ") or room < 0:
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:  # more characters than the count says, as some encoders write
            out.append(_short_line(line))
        room -= len(out[-1])
    return b"".join(out)


def _short_line(line: bytes) -> bytes:
    length = ((line[0] - 32 & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:length])
    except binascii.Error:
        return b""
