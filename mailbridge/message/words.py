"""Header values with other than ASCII letters, in the form that every server takes: encoded words (RFC 2047).

Addresses are never encoded: an address that needs UTF-8 stays as it is, and needs SMTPUTF8.
"""

from __future__ import annotations

import re
from base64 import b64encode

_ADDRESSES = frozenset({"from", "sender", "reply-to", "to", "cc"})
_LONGEST = 45  # octets of text in one encoded word: 75 characters in all (RFC 2047 2)
_MAILBOX = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^",<])*)(<[^>]*>)?([^,]*,?)')
_ESCAPE = re.compile(r"\\(.)")


def encoded(name: str, value: str) -> str:
    """`value` for the field `name`: display names are encoded in fields of addresses, runs of words in all others."""
    if value.isascii():
        return value
    if name.lower().removeprefix("resent-") not in _ADDRESSES:
        return _runs(value)
    return "".join(
        (_display(name) if angle else name) + (angle or "") + rest for name, angle, rest in _MAILBOX.findall(value)
    )


def _runs(text: str) -> str:
    """Words with other letters are encoded together with the blanks between them, which would be lost otherwise."""
    out: list[str] = []
    run: list[str] = []
    for word in text.split(" "):
        if not word.isascii() or (run and not word):
            run.append(word)
            continue
        if run:
            out.append(_words(" ".join(run)))
            run = []
        out.append(word)
    return " ".join([*out, _words(" ".join(run))] if run else out)


def _display(text: str) -> str:
    if text.isascii():
        return text
    words = text.strip()
    if words.startswith('"') and words.endswith('"'):
        words = _ESCAPE.sub(r"\1", words[1:-1])
    before = text[:len(text) - len(text.lstrip())]
    return f"{before}{_words(words)} "


def _words(text: str) -> str:
    pieces, piece = [], b""
    for character in text:
        octets = character.encode("utf-8", "surrogateescape")
        if len(piece) + len(octets) > _LONGEST:
            pieces.append(piece)
            piece = b""
        piece += octets
    return " ".join(f"=?utf-8?b?{b64encode(part).decode('ascii')}?=" for part in [*pieces, piece])
