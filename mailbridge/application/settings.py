r"""`ctl_settings`: what an operator writes into every control file, fixed or read out of the message.

`system|maxlen = 1` writes `maxlen=1` in `[system]`. `system|user_app_id|parse|subject = '.*ID:(\d+).*'` writes what the
first group holds when the subject (any item) begins with the pattern, and nothing when it does not. Patterns are RE2:
linear in what they read, which is at most 998 characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import field, frozen

from mailbridge.application.items import ITEMS, Items
from mailbridge.application.keys import Key, RecipeFaults, parse_key
from mailbridge.errors import Fault
from mailbridge.routing.pattern import Pattern

LONGEST_PARSED = 998
LONGEST_FIXED = 255


@frozen
class Parsed:
    """A value that is read out of an item."""

    item: str
    pattern: Pattern


@frozen
class CtlSettings:
    """The settings in their order; a text is fixed. For a key that is there twice the later one with a value counts."""

    entries: tuple[tuple[Key, str | Parsed], ...] = ()
    keys: frozenset[Key] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "keys", frozenset(key for key, _ in self.entries))

    @classmethod
    def make(cls, settings: Mapping[str, str | int]) -> CtlSettings:
        """Raises RecipeFaults with a fault for each bad entry, named by it."""
        entries: list[tuple[Key, str | Parsed]] = []
        faults = []
        for name, value in settings.items():
            try:
                entries.append(_entry(name, str(int(value)) if isinstance(value, int) else value))
            except ValueError as error:
                faults.append(Fault(f'ctl_settings."{name}"', str(error)))
        if faults:
            raise RecipeFaults(faults)
        return cls(tuple(entries))

    def fixed(self) -> dict[Key, str]:
        """The operator's own words by key, whatever a message says."""
        return {key: value for key, value in self.entries if isinstance(value, str)}

    def values(self, items: Items) -> Iterator[tuple[Key, str]]:
        """What there is to write for a message."""
        for key, value in self.entries:
            if isinstance(value, str):
                yield key, value
                continue
            found = value.pattern.captured(items.get(value.item, "")[:LONGEST_PARSED])
            if found:
                yield key, found


def _entry(name: str, value: str) -> tuple[Key, str | Parsed]:
    words = name.split("|")
    if len(words) not in (2, 4) or words[2:3] not in ([], ["parse"]):
        raise ValueError("must be section|key or section|key|parse|item")
    key = parse_key("|".join(words[:2]))
    if len(words) == 2:
        if not value.isprintable():
            raise ValueError("the value has a control character or a line end")
        if len(value) > LONGEST_FIXED:
            raise ValueError(f"the value has more than {LONGEST_FIXED} characters")
        return key, value
    if words[3] not in ITEMS:
        raise ValueError(f'there is no item "{words[3]}"; there are {", ".join(ITEMS)}')
    pattern = Pattern(value)
    if not pattern.captures:
        raise ValueError(f'the pattern "{value}" has no group; put (...) around what is to be written')
    return key, Parsed(words[3], pattern)
