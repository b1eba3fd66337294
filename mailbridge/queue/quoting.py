"""Words of strangers made harmless: server replies, subjects and addresses as they may stand in a notice.

Whatever goes in, what comes out has no line end, no control character and a bounded length. Nothing here raises.
"""

from __future__ import annotations

import re
from email.header import decode_header
from textwrap import wrap

from mailbridge.message.header import fields

_LONGEST_SUBJECT = 500  # octets that are looked at
_WIDTH = 70
_NOT_PLAIN = re.compile("[^ -~]")


def one_line(text: str, longest: int, utf8: bool = False) -> str:
    """`text` in one line of at most `longest` characters; `?` for what is not printable, or not ASCII unless `utf8`."""
    clean = " ".join(text[:4 * longest].split())
    if not utf8:
        clean = _NOT_PLAIN.sub("?", clean)
    elif not clean.isprintable():
        clean = "".join(c if c.isprintable() else "?" for c in clean)
    return clean if len(clean) <= longest else clean[:max(0, longest - 3)] + "..."


def quoted(text: str, most_lines: int) -> list[str]:
    """`text` as lines to be read by people: each begins with `> `, so that none can pass for ours."""
    lines: list[str] = []
    for part in text.split("\n", most_lines)[:most_lines]:
        line = one_line(part, most_lines * _WIDTH, True)
        lines += wrap(line, _WIDTH) if len(line) > _WIDTH else [line] if line else []
    return ["> " + line for line in lines[:most_lines]]


def subject(header: bytes) -> str:
    """The Subject of a message in plain words, encoded words decoded where that can be done; empty without one."""
    for name, field in fields(header):
        if name == b"subject":
            raw = field.partition(b":")[2][:_LONGEST_SUBJECT].decode("utf-8", "replace")
            return one_line(_decoded(" ".join(raw.split())), 200, True)
    return ""


def _decoded(text: str) -> str:
    if "=?" not in text:
        return text
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(text)
        )
    except Exception:  # base64 that is none, a character set that is none: any codec may raise what it likes
        return text
