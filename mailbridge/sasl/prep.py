"""Names and passwords in one form, however they were typed: the part of SASLprep (RFC 4013) that matters in practice.

NFKC makes composed and decomposed letters, and full-width ones, equal. Control characters, line separators and what
Unicode has not assigned are refused: no keyboard makes them, and they would hide in lists and logs.
"""

from __future__ import annotations

import unicodedata

from mailbridge.sasl.values import SASLError

_REFUSED = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})
_MAPPED_TO_NOTHING = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))


def prepare(text: bytes | str) -> str:
    """`text` normalised. Raises SASLError for what is not UTF-8 or holds a refused character; never shows the text."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise SASLError("a name or password is not UTF-8") from None
    if text.isascii():
        if not text.isprintable():
            raise SASLError("a name or password holds a control character")
        return text
    text = unicodedata.normalize("NFKC", text.translate(_MAPPED_TO_NOTHING))
    if any(unicodedata.category(character) in _REFUSED for character in text):
        raise SASLError("a name or password holds a control character")
    return text
