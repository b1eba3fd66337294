"""The code page of control and text files, and text made to fit it.

A code page has one octet for each character and ASCII where ASCII is, or it is UTF-8: so no character of a message can
come out as an octet that means a line end, a bracket or a semicolon to a reader.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter

from attrs import frozen

UTF8 = "utf-8"
_ASCII = "".join(map(chr, range(128)))
_EAST_ASIAN = "漢汉あ가"  # code pages that have one of these take several octets for a character


@frozen
class CodePage:
    """A code page by the name of its codec, as `codecs.lookup` writes it."""

    name: str

    @classmethod
    def make(cls, name: str) -> CodePage:
        """Raises ValueError for a name that is none, or a code page that is not safe here."""
        try:
            page = cls(codecs.lookup(name).name)
            ascii_alike = _ASCII.encode(page.name) == _ASCII.encode("ascii")
            wide = page.name != UTF8 and any(page._has(character) for character in _EAST_ASIAN)
        except (LookupError, ValueError, TypeError):
            raise ValueError(f'there is no code page "{name}"; cp1250, iso-8859-2 and utf-8 are some') from None
        if wide or not ascii_alike:
            raise ValueError(f'"{name}" cannot be used; take utf-8 or a code page with one octet a character')
        return page

    def fit(self, text: str) -> tuple[str, int]:
        """(the text with what the code page has not replaced, how many characters that were).

        A letter loses its marks or becomes its plain form where that fits, and a question mark otherwise.
        """
        if text.isascii() or self._has(text):
            return text, 0
        text = unicodedata.normalize("NFC", text)
        missing = {character: count for character, count in Counter(text).items() if not self._has(character)}
        plain = {ord(character): self._plain(character) for character in missing}
        return text.translate(plain), sum(missing.values())

    def _plain(self, character: str) -> str:
        plain, category = unicodedata.normalize("NFKD", character), unicodedata.category(character)
        if category[0] in "LM":  # but an unequal sign is not an equal sign with a mark
            plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
        return plain if self._has(plain) and (plain or category == "Mn") else "?"

    def _has(self, text: str) -> bool:
        try:
            text.encode(self.name)
        except UnicodeEncodeError:
            return False
        return True

    def encode(self, text: str) -> bytes:
        """The octets of a text that fits."""
        return text.encode(self.name, "replace")

    def cut(self, octets: bytes, size: int) -> bytes:
        """At most `size` octets of an encoded text, no character cut in two."""
        return octets[:size].decode(self.name, "ignore").encode(self.name, "ignore") if len(octets) > size else octets
