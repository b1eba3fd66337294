"""Parameters of Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2183), continued and encoded ones (RFC 2231).

Tolerant of what mail programs wrote: missing quotes and semicolons, encoded words inside quotes. The first of a name
counts, and a value by RFC 2231 more than a plain one. Linear in the length of the field.
"""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import unquote_to_bytes

from mailbridge.message.charsets import text_of
from mailbridge.message.decoding import clean, decoded_words

_BETWEEN = re.compile(r"[\s;]*+")
_NAME = re.compile(r"""([^\s=;"()<>@,]{1,200}+)\s*+=\s*+""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PIECE = re.compile(r"([^*]+)(?:\*(0|[1-9][0-9]{0,4}))?(\*)?")

Pieces = dict[int, tuple[str, bool]]
"""Number -> (what is written, whether it is percent-encoded) of one name; -1 is the value that has no number."""


def parameters(text: str) -> dict[str, str]:
    """Lower-case name -> value, of what follows the first word of the field, such as `; charset="utf-8"`."""
    if "=" not in text:
        return {}
    found: dict[str, str] = {}
    extended: dict[str, Pieces] = {}
    for name, value in _pairs(text):
        piece = _PIECE.fullmatch(name)
        if piece is None or (piece.group(2) is None and piece.group(3) is None):
            words = "=?" in value and name in ("name", "filename")
            found.setdefault(name, clean(decoded_words(value) if words else value))
        else:
            number = -1 if piece.group(2) is None else int(piece.group(2))
            extended.setdefault(piece.group(1), {}).setdefault(number, (value, bool(piece.group(3))))
    for name, pieces in extended.items():
        if -1 in pieces or 0 in pieces:
            found[name] = clean(_joined(pieces))
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    """(lower-case name, value without quotes) in order."""
    pairs = []
    at = 0
    while at < len(text):
        at = cast("re.Match[str]", _BETWEEN.match(text, at)).end()
        match = _NAME.match(text, at)
        if match is None:  # no parameter: on to what follows the next semicolon
            at = text.find(";", at)
            if at < 0:
                break
            continue
        name = match.group(1).lower()
        quoted = _QUOTED.match(text, match.end())
        if quoted is not None:
            value, at = _ESCAPED.sub(r"\1", quoted.group(1)), quoted.end()
        else:
            end = text.find(";", match.end())
            at = end = len(text) if end < 0 else end
            value = text[match.end():end].strip().lstrip('"')
            if not name.startswith(("name", "filename")):  # names of files come with blanks and without quotes
                value = value.partition("(")[0].split(None, 1)[0] if value and value[0] not in "( " else ""
        pairs.append((name, value))
    return pairs


def _joined(pieces: Pieces) -> str:
    """The value that the pieces make: one without number, or 0, 1, 2 ... up to the first that is missing."""
    numbers = [-1] if -1 in pieces else []
    while not numbers or (numbers[0] == 0 and numbers[-1] + 1 in pieces):
        numbers.append(numbers[-1] + 1 if numbers else 0)
    charset = ""
    first, encoded = pieces[numbers[0]]
    if encoded and first.count("'") >= 2:
        charset, _, first = first.split("'", 2)
        pieces = {**pieces, numbers[0]: (first, True)}
    out: list[str] = []
    run: list[bytes] = []  # neighbours that are encoded: a letter may span two of them
    for number in numbers:
        value, encoded = pieces[number]
        if encoded:
            run.append(unquote_to_bytes(value))
            continue
        if run:
            out.append(text_of(b"".join(run), charset))
            run = []
        out.append(value)
    return "".join([*out, text_of(b"".join(run), charset)] if run else out)
