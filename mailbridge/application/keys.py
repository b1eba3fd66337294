"""A key of a control file, `section|key` as the configuration writes it, and the faults of such settings.

Readers of INI files do not look at case, so two keys that differ in it only are one.
"""

from __future__ import annotations

import re

from attrs import field, frozen

from mailbridge.errors import Fault

_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")


@frozen(cache_hash=True)
class Key:
    """One key of one section."""

    section: str = field(eq=False)
    key: str = field(eq=False)
    _folded: str = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_folded", str(self).lower())

    def __str__(self) -> str:
        return f"{self.section}|{self.key}"


def parse_key(text: str) -> Key:
    """The key that `section|key` names. Raises ValueError."""
    section, bar, key = text.partition("|")
    if not bar or not _WORD.fullmatch(section) or not _WORD.fullmatch(key):
        raise ValueError(f'"{text}" is no section|key; take ASCII letters, digits and _ for both')
    return Key(section, key)


class RecipeFaults(ValueError):
    """Every fault of an application's settings; `str` gives one line a fault, each beginning with its key."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))
