"""Numbers, sizes and times as an operator writes them: 1000, "50 MiB", "5 min".

Every reader returns a number in the range it was made for, or raises ValueError with a text such as
`must be 1 to 100000, got "many"`. True is not 1 here, and Arabic digits are not digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)\s*")
_SHOWN = 60

_SIZES = {
    "": 1, "b": 1, "octet": 1, "octets": 1, "byte": 1, "bytes": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}
_TIMES = {
    "": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}


def shown(value: object) -> str:
    """A value of the file as a message shows it: short, on one line, tables and lists by their kind only."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float) else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def number(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"must be {low} to {high}, got {shown(value)}")

    return read


def size(low: int, high: int) -> Callable[[object], int]:
    """A reader of sizes in octets: a number, or text with a unit (KiB = 1024, kB = 1000)."""

    def read(value: object) -> int:
        octets = _amount(value, _SIZES)
        if octets is not None and low <= octets <= high:
            return int(octets)
        raise ValueError(f'must be a size from {show_size(low)} to {show_size(high)}, such as "50 MiB", '
                         f"got {shown(value)}")

    return read


def time(low: int, high: int) -> Callable[[object], float]:
    """A reader of times in seconds: a number, or text with a unit (s, min, h, d)."""

    def read(value: object) -> float:
        seconds = _amount(value, _TIMES)
        if seconds is not None and low <= seconds <= high:
            return float(seconds)
        raise ValueError(f'must be a time from {show_time(low)} to {show_time(high)}, such as "5 min", '
                         f"got {shown(value)}")

    return read


def show_size(octets: int) -> str:
    """Octets with the largest unit that divides them."""
    return _shown_in(octets, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)), "octets")


def show_time(seconds: int) -> str:
    """Seconds with the largest unit that divides them."""
    return _shown_in(seconds, (("d", 86400), ("h", 3600), ("min", 60)), "s")


def _shown_in(amount: int, units: tuple[tuple[str, int], ...], plain: str) -> str:
    for name, factor in units:
        if amount and amount % factor == 0:
            return f"{amount // factor} {name}"
    return f"{amount} {plain}"


def _amount(value: object, units: dict[str, int]) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value  # NaN is in no range
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    factor = units.get(match[2].lower()) if match else None
    return float(match[1]) * factor if match and factor else None
