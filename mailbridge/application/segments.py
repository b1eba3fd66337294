"""How many short messages a text takes (3GPP TS 23.038 6.2.1, TS 23.040 9.2.3.24.1).

The gateway splits; this only counts, for caps and accounting. A line end counts as one character.
"""

from __future__ import annotations

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_SEPTETS, _SEPTETS_OF_PART = 160, 153
_UNITS, _UNITS_OF_PART = 70, 67


def segments(text: str) -> int:
    """The number of messages for `text`; an empty text is one."""
    letters = set(text)
    if letters <= _BASIC:
        return _count(len(text), _SEPTETS, _SEPTETS_OF_PART)
    if letters <= _BASIC | _EXTENDED:
        return _split([2 if c in _EXTENDED else 1 for c in text], _SEPTETS, _SEPTETS_OF_PART)
    if max(letters) <= "\uffff":
        return _count(len(text), _UNITS, _UNITS_OF_PART)
    return _split([2 if c > "\uffff" else 1 for c in text], _UNITS, _UNITS_OF_PART)


def _count(length: int, alone: int, part: int) -> int:
    return 1 if length <= alone else -(-length // part)


def _split(widths: list[int], alone: int, part: int) -> int:
    """What takes two places is never parted."""
    if sum(widths) <= alone:
        return 1
    parts, room = 1, part
    for width in widths:
        if width > room:
            parts, room = parts + 1, part
        room -= width
    return parts
