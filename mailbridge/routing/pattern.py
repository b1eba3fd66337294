"""Patterns of the operator: RE2, so that no pattern and no address can take more than linear time.

A pattern matches the whole text, in any case, as UTF-8. Nothing is written to stderr (RE2's own log is off).
"""

from __future__ import annotations

import re

import re2
from attrs import field, frozen

from mailbridge.routing.dialect import advice

_LITERAL_DOMAIN = r"(?:[a-z0-9_\x80-\U0010ffff-]|\\\.)+"
_LITERAL_DOMAINS = re.compile(
    rf".*@(?:({_LITERAL_DOMAIN})|\((?:\?:)?({_LITERAL_DOMAIN}(?:\|{_LITERAL_DOMAIN})*)\))\$?", re.IGNORECASE | re.DOTALL
)


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    return options


@frozen
class Pattern:
    """One compiled pattern; `text` is as the operator wrote it. Making a bad one raises ValueError with the place and,
    for what RE2 has not, with what to write instead."""

    text: str
    _regex: object = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        advised = advice(self.text)
        if advised is not None:
            at, what = advised
            raise ValueError(f'bad pattern "{self.text}" at character {at}: {what}')
        try:
            regex = re2.compile(self.text, _options())
        except re2.error as error:
            raise ValueError(_explained(self.text, error)) from None
        except UnicodeError:
            raise ValueError("the pattern is not UTF-8") from None
        object.__setattr__(self, "_regex", regex)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        try:
            return self._regex.fullmatch(text) is not None  # type: ignore[attr-defined]
        except UnicodeError:
            return False

    @property
    def names(self) -> frozenset[str]:
        """The names of its groups, `(?P<name>...)`."""
        return frozenset(self._regex.groupindex)  # type: ignore[attr-defined]

    def groups(self, text: str) -> dict[str, str] | None:
        """What the named groups hold when the whole of `text` matches, without those that took no part; else None."""
        try:
            match = self._regex.fullmatch(text)  # type: ignore[attr-defined]
        except UnicodeError:
            return None
        if match is None:
            return None
        return {name: value for name, value in match.groupdict().items() if value is not None}

    @property
    def captures(self) -> bool:
        """Whether it has a group."""
        return bool(self._regex.groups)  # type: ignore[attr-defined]

    def captured(self, text: str) -> str | None:
        """What the first group holds when `text` begins with the pattern; None when it does not, or has no group."""
        try:
            match = self._regex.match(text)  # type: ignore[attr-defined]
        except UnicodeError:
            return None
        return None if match is None or not self.captures else match.group(1)

    def literal_domains(self) -> frozenset[str]:
        r"""The domains in lower case when the pattern ends in literal ones (`.*@(a\.org|b\.org)`), else nothing."""
        match = _LITERAL_DOMAINS.fullmatch(self.text)
        if not match:
            return frozenset()
        return frozenset(domain.replace("\\.", ".").lower() for domain in (match[1] or match[2]).split("|"))


def _explained(pattern: str, error: Exception) -> str:
    """`bad pattern "a[z-a]" at character 3: invalid character class range`."""
    raw = error.args[0] if error.args else b""
    problem = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    reason, _, fragment = problem.partition(": ")
    at = pattern.find(fragment) + 1 if fragment and fragment != pattern else len(pattern)
    return f'bad pattern "{pattern}" at character {at}: {reason}'
