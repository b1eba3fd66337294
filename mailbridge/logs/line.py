"""One line a log event: what may stand in it, and its date. Nothing a peer sends can make a second line."""

from __future__ import annotations

import re
from time import gmtime, strftime

_ODD = re.compile(r"[^ -\[\]-~]+")  # all but printable ASCII; and the backslash


def clean(text: str) -> str:
    r"""`text` with what is not printable, and the backslash, as escapes: `\n`, `\x1b`, `\u2028`, `\\`.

    Octets decoded with `surrogateescape` show those that are no UTF-8 as `\udcNN`.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return _ODD.sub(_escaped, text)


def _escaped(odd: re.Match[str]) -> str:
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in odd[0]
    )


def stamp(seconds: float) -> str:
    """`2026-11-21T10:48:33Z` for seconds since 1970."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
