"""The transfer encoding of a body taken off (RFC 2045 6), broken input too: what can be read is read, nothing raises.

Linear in the length of the body.
"""

from __future__ import annotations

import binascii
import re

from mailbridge.message.pieces import PIECE, pieces

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
    if padding < 0 or not text[padding:].strip(b"=\r\n \t"):
        if len(text) > PIECE:
            return _run(text)
        try:
            return binascii.a2b_base64(text)
        except binascii.Error:
            return _run(text)
    if text.count(b"=") > _MOST_RUNS:
        return _run(text)
    return b"".join([_run(run) for run in text.split(b"=")])  # each run between paddings was encoded on its own


def _run(text: bytes) -> bytes:
    out = []
    held = b""
    for piece in pieces(text):
        letters = held + piece.translate(None, _NOT_BASE64)
        whole = len(letters) - len(letters) % 4
        out.append(binascii.a2b_base64(letters[:whole]))
        held = letters[whole:]
    if len(held) > 1:
        out.append(binascii.a2b_base64(held + b"=="))
    return b"".join(out)


def _from_quoted_printable(body: bytes) -> bytes:
    if any(blanks in body for blanks in _LOOSE_BLANKS):  # put there on the way, RFC 2045 6.7 (3)
        body = b"".join([b"\n".join([_without_blanks(line) for line in piece.split(b"\n")]) for piece in pieces(body)])
    return b"".join([binascii.a2b_qp(piece) for piece in pieces(body)])


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
    for line in (line for piece in pieces(body, begin.end()) for line in piece.split(b"\n")):
        line = line.rstrip(b"\r")
        if not line:  # binascii would read 32 zeros there
            continue
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
