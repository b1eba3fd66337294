"""Text from strangers made harmless for a terminal: nothing of it moves the cursor, colours, hides or reorders."""

from __future__ import annotations

import json


def plain(text: str, most: int | None = None) -> str:
    """`text` in one line of printable characters; others are shown as `\\x1b`, what is beyond `most` as an ellipsis."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    if most is not None and len(text) > most:
        return text[:most - 1] + "\u2026"
    return text


def plain_json(record: object) -> str:
    """`record` as JSON in one line: the same value, with everything escaped that a terminal might obey."""
    text = json.dumps(record, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
