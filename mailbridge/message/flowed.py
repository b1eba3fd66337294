"""Paragraphs of format=flowed text put together again (RFC 3676). Linear in the length of the text."""

from __future__ import annotations

import re

_QUOTES = re.compile(">*")
_SIGNATURE = "-- "


def unflowed(text: str, delsp: bool = False) -> str:
    """`text` with one line a paragraph; quoted paragraphs keep a `>` for each level. `delsp`: the blanks were added."""
    out: list[str] = []
    paragraph: list[str] = []  # lines that flow into the next one
    depth = 0
    for line in text.split("\n"):
        quotes = len(_QUOTES.match(line).group()) if line.startswith(">") else 0  # type: ignore[union-attr]
        line = line[quotes:]
        if line.startswith(" "):  # space-stuffed
            line = line[1:]
        # No paragraph spans levels (4.5). An empty line ends one, though a person left a blank before it.
        if paragraph and (quotes != depth or line in ("", _SIGNATURE)):
            out.append(_quoted("".join(paragraph).rstrip(" "), depth))
            paragraph = []
        depth = quotes
        if line.endswith(" ") and line != _SIGNATURE:
            paragraph.append(line[:-1] if delsp else line)
        else:
            out.append(_quoted("".join([*paragraph, line]), depth))
            paragraph = []
    if paragraph:
        out.append(_quoted("".join(paragraph).rstrip(" "), depth))
    return "\n".join(out)


def _quoted(line: str, depth: int) -> str:
    return f"{'>' * depth} {line}" if depth and line else ">" * depth + line
