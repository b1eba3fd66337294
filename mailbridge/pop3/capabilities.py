"""What a server says it can do: its answer to CAPA (RFC 2449)."""

from __future__ import annotations

from attrs import frozen

from mailbridge.sasl.mask import printable

MOST_OCTETS = 64 * 1024
"""Of an answer to CAPA. More is an error."""
MOST_LINES = 256
"""Lines that are looked at."""


@frozen
class Capabilities:
    """Capabilities in capitals with their parameters; `known` is false for a server without CAPA."""

    parameters: dict[str, tuple[str, ...]]
    known: bool = True

    @classmethod
    def parse(cls, text: bytes) -> Capabilities:
        """Those in the lines of an answer. Blanks and stray CR around them do not count; the first of a name does."""
        found: dict[str, tuple[str, ...]] = {}
        for line in text.split(b"\n", MOST_LINES)[:MOST_LINES]:
            words = printable(line.strip(b" \t\r\0")[:1000]).split()
            if words:
                found.setdefault(words[0].upper(), tuple(words[1:]))
        return cls(found)

    def __contains__(self, name: object) -> bool:
        return name in self.parameters

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms, in capitals."""
        return tuple(name.upper() for name in self.parameters.get("SASL", ()))


NONE = Capabilities({}, known=False)
"""Those of a server that does not know CAPA."""
