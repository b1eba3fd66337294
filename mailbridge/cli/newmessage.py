"""A new message out of a text and files, for `mailbridge send`: no input can begin a header, a part or a line.

Pure but for the random boundary, which is an argument. Texts that are not plain ASCII go as base64, file names as
RFC 2231 parameters, names in headers as encoded words (RFC 2047), header lines are folded.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence

from attrs import frozen

from mailbridge.admin.messages import usage

LONGEST_LINE = 990
FOLD = 76
_NAME = re.compile(r"[!-9;-~]+")
_ADDRESS_FIELDS = ("from", "sender", "reply-to", "to", "cc", "bcc", "dcc")
_PHRASE = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^<>,;:"])+)(?=<)')
_ATTRIBUTE = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]")
_SAFE_NAME = re.compile(r"[A-Za-z0-9 !#$&+.,^_`|~()@-]+")


@frozen
class Attachment:
    """One file: its name as the recipient sees it, and what is in it."""

    name: str
    octets: bytes


def checked_header(name: str, value: str) -> tuple[str, str]:
    """A header field as `sendmessage` takes it, other than ASCII encoded. Raises OperationError (usage)."""
    if not _NAME.fullmatch(name):
        raise usage(f"{name[:40]!r} is no name of a header field")
    if any(c < " " and c != "\t" or c == "\x7f" for c in value):
        raise usage(f"the value of {name} has a line end or another control character in it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise usage(f"the value of {name} is not UTF-8") from None
    if value.isascii():
        return name, value
    if name.lower().removeprefix("resent-") in _ADDRESS_FIELDS:
        return name, _PHRASE.sub(lambda match: _phrase(match[1]), value)
    return name, encoded_words(value)


def _phrase(text: str) -> str:
    if text.isascii():
        return text
    name = text.strip()
    if name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return f" {encoded_words(name)} "


def encoded_words(text: str) -> str:
    """`text` as encoded words of at most 75 characters, a space between them (RFC 2047)."""
    words, chunk = [], ""
    for character in text:
        if len((chunk + character).encode()) > 45:
            words.append(chunk)
            chunk = ""
        chunk += character
    return " ".join(f"=?utf-8?B?{base64.b64encode(word.encode()).decode()}?=" for word in [*words, chunk])


def field(name: str, value: str) -> bytes:
    """One header field with its CR LF, folded at spaces."""
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if len(line) + 1 + len(word) > FOLD and line.strip() and word:
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line]).encode("utf-8") + b"\r\n"


def new_message(headers: Sequence[tuple[str, str]], text: bytes, files: Sequence[Attachment], boundary: str) -> bytes:
    """A whole message with CR LF line ends; `headers` are checked ones, `boundary` is random."""
    head = b"".join(field(name, value) for name, value in headers) + b"MIME-Version: 1.0\r\n"
    if not files:
        return head + _text(text)
    parts = [_text(text), *(_file(each) for each in files)]
    between = b"--" + boundary.encode("ascii")
    return (
        head + field("Content-Type", f'multipart/mixed; boundary="{boundary}"')
        + b"".join(b"\r\n" + between + b"\r\n" + part for part in parts) + b"\r\n" + between + b"--\r\n"
    )


def _text(octets: bytes) -> bytes:
    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if octets.isascii() and b"\0" not in octets and max(map(len, lines.split(b"\n"))) <= LONGEST_LINE:
        return (b"Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
                + lines.replace(b"\n", b"\r\n"))
    try:
        octets.decode("utf-8")
        charset = b"utf-8"
    except UnicodeDecodeError:
        charset = b"unknown-8bit"
    return (b"Content-Type: text/plain; charset=" + charset + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + _base64(lines.replace(b"\n", b"\r\n")))


def _file(attachment: Attachment) -> bytes:
    kind, encoding = mimetypes.guess_type(attachment.name)
    if kind is None or encoding is not None or kind.startswith(("message/", "multipart/")):
        kind = "application/octet-stream"  # what may be base64 whatever is in it (RFC 2046 5)
    return (
        field("Content-Type", kind)
        + field("Content-Disposition", "attachment; " + file_name(attachment.name))
        + b"Content-Transfer-Encoding: base64\r\n\r\n" + _base64(attachment.octets)
    )


def file_name(name: str) -> str:
    """The file name parameter: quoted when it is harmless, else in the percent form of RFC 2231."""
    name = name.rpartition("/")[2] or "file"
    if _SAFE_NAME.fullmatch(name) and len(name) <= 60:
        return f'filename="{name}"'
    octets = name.encode("utf-8", "replace")
    shown = (chr(octet) if octet < 128 and _ATTRIBUTE.fullmatch(chr(octet)) else f"%{octet:02X}" for octet in octets)
    return "filename*=utf-8''" + "".join(shown)


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
