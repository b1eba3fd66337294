"""Numbers to send to: what is one, its international form, and which an operator allows.

A number is up to 20 ASCII digits after an optional `+`, or after `i` for an extension inside the exchange. Nothing else
ever leaves here, so that a number cannot become a key, a line or a path on the other side (invariant 4).
"""

from __future__ import annotations

import re

from attrs import frozen

from mailbridge.routing.pattern import Pattern

SHORTEST_SUBSCRIBER = 7
"""Numbers with fewer digits are short codes (112, an information line): they are never given a prefix."""
LONGEST_NATIONAL = 10
"""With more digits, a number that begins with the state prefix has it already."""
_NUMBER = re.compile(r"[+iI]?[0-9]{1,20}")
_STATE = re.compile(r"[1-9][0-9]{0,3}")
_NATIONAL = re.compile(r"[0-9]{0,3}")


@frozen
class Numbers:
    """How an application reads numbers. `allowed` must match the whole of a number as it will be written."""

    normalize: bool = False
    state_prefix: str = "420"
    national_prefix: str = "0"
    allowed: Pattern | None = None

    @classmethod
    def make(
        cls, normalize: bool = False, state_prefix: str = "420", national_prefix: str = "0", allowed: str | None = None
    ) -> Numbers:
        """Raises ValueError with the key that is wrong."""
        if not _STATE.fullmatch(state_prefix):
            raise ValueError(f'state_prefix: "{state_prefix}" is no country code; write its digits without + or 00')
        if not _NATIONAL.fullmatch(national_prefix):
            raise ValueError(f'national_prefix: "{national_prefix}" is not at most three digits; "" is for none')
        try:
            pattern = None if allowed is None else Pattern(allowed)
        except ValueError as error:
            raise ValueError(f"allowed_numbers: {error}") from None
        return cls(normalize, state_prefix, national_prefix, pattern)

    def read(self, text: str) -> str | None:
        """The number that `text` is, as it will be written; None when it is none."""
        if not _NUMBER.fullmatch(text):
            return None
        number = self.international(text.lower()) if self.normalize else text.lower()
        return number if _NUMBER.fullmatch(number) else None

    def allows(self, number: str) -> bool:
        """Whether a number that was read may be used."""
        return self.allowed is None or self.allowed.matches(number)

    def international(self, number: str) -> str:
        """A number with `+` and its country code. Extensions (`i123`) and short codes stay as they are.

        `+` and `00` begin an international number; so does the state prefix where a national number would be too
        long. Else the national prefix, if there, gives way to the state prefix.
        """
        if number.startswith(("+", "i")) or len(number) < SHORTEST_SUBSCRIBER:
            return number
        if number.startswith("00"):
            return "+" + number[2:]
        if number.startswith(self.state_prefix) and len(number) > LONGEST_NATIONAL:
            return "+" + number
        return "+" + self.state_prefix + number.removeprefix(self.national_prefix)
