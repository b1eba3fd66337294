"""What an SMTP server says it can do (RFC 5321 4.1.1.1). Names in any case; odd lines are passed over."""

from __future__ import annotations

import re

from attrs import field, frozen

from mailbridge.smtp.answer import Answer

_SIZE = re.compile(r"[0-9]{1,18}")


@frozen
class Capabilities:
    """The extensions of one EHLO answer by upper-case keyword; empty after HELO."""

    keywords: dict[str, tuple[str, ...]] = field(factory=dict)

    @classmethod
    def parse(cls, answer: Answer) -> Capabilities:
        """Those of the answer to EHLO or LHLO. `AUTH=LOGIN`, as old servers write it, counts as AUTH."""
        keywords: dict[str, tuple[str, ...]] = {}
        for line in answer.lines[1:]:
            words = line.replace("=", " ", 1).split() if line.upper().startswith("AUTH=") else line.split()
            if words:
                name = words[0].upper()
                keywords[name] = keywords.get(name, ()) + tuple(words[1:])
        return cls(keywords)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms, upper case."""
        return tuple(name.upper() for name in self.keywords.get("AUTH", ()))

    @property
    def size(self) -> int | None:
        """The largest message in octets, None when it says nothing or 0 (RFC 1870 4)."""
        given = self.keywords.get("SIZE", ())
        return int(given[0]) or None if given and _SIZE.fullmatch(given[0]) else None
