"""Readers of values as a registry and its users write them: 0 and 1 for no and yes, numbered names for a list, several
entries in one text. They return what the readers of our own spelling return.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mailbridge.config.readers import Faulty, Reader, choice, place_of, text
from mailbridge.config.units import number, shown

FORMATS = ("txt", "eml", "mht", "htm")

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)
_DIGITS = re.compile(r"-?[0-9]{1,15}")
_SWITCHES: dict[object, bool] = {"0": False, "1": True}


def switch(value: object) -> bool:
    """true or false, also written 1 or 0, as a number or as text."""
    if isinstance(value, bool):
        return value
    known = _SWITCHES.get(str(value)) if isinstance(value, int | str) else None
    if known is None:
        raise ValueError(f"must be true or false (or 1 or 0), got {shown(value)}")
    return known


def counted(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers, also written as text."""
    read = number(low, high)
    return lambda value: read(int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value)


def numbered(item: Reader) -> Reader:
    """A reader of lists, also written as a table of numbered names (`addr_re_0`, `1`): in their order."""

    def read(value: object) -> tuple[Any, ...]:
        if isinstance(value, dict):
            pairs = _in_order(value)
        elif isinstance(value, list):
            pairs = [(f"[{index}]", element) for index, element in enumerate(value)]
        else:
            raise ValueError(f"must be a list [...], got {shown(value)}")
        items, faults = [], []
        for place, element in pairs:
            try:
                items.append(item(element))
            except ValueError as error:
                faults.append((place, str(error)))
        if faults:
            raise Faulty(faults)
        return tuple(items)

    return read


def _in_order(table: dict[str, object]) -> list[tuple[str, object]]:
    found = []
    for name, element in table.items():
        match = _NUMBERED.fullmatch(name)
        if match is None:
            raise Faulty([(place_of(name), 'must be numbered, such as "addr_re_0", or stand in a list [...]')])
        found.append((int(match[2]), place_of(name), element))
    return [(place, element) for _, place, element in sorted(found, key=lambda entry: entry[0])]


def separated(item: Reader) -> Reader:
    """A reader of lists whose texts may hold several entries with commas between them."""

    def entries(value: object) -> tuple[Any, ...]:
        return tuple(item(part.strip()) for part in text(value).split(",") if part.strip())

    read = numbered(entries)
    return lambda value: tuple(entry for part in read(value) for entry in part)


def formats(value: object) -> tuple[str, ...]:
    """Formats in the order of preference: a list, or text with semicolons in it."""
    one = choice(*FORMATS)
    parts = [part.strip() for part in value.split(";") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise ValueError(f'must be a list such as ["txt", "eml"], got {shown(value)}')
    read = tuple(one(part.lower() if isinstance(part, str) else part) for part in parts)
    if len(set(read)) != len(read):
        raise ValueError("names a format twice")
    return read


def settings_table(check: Callable[[str, str], None] | None = None) -> Callable[[object], dict[str, str]]:
    """A reader of tables of texts; numbers and yes or no are taken as text. `check(name, text)` raises ValueError."""

    def read(value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValueError(f"must be a table, got {shown(value)}")
        found, faults = {}, []
        for name, element in value.items():
            try:
                if isinstance(element, bool):
                    element = int(element)
                if not isinstance(element, str | int):
                    raise ValueError(f"must be text or a number, got {shown(element)}")
                if check is not None:
                    check(name, str(element))
                found[name] = str(element)
            except ValueError as error:
                faults.append((place_of(name), str(error)))
        if faults:
            raise Faulty(faults)
        return found

    return read
