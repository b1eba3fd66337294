"""JSON from strangers, read with bounds, and JSON written the same way every time (RFC 8259).

Refused with a typed error: what is too long, too deep or has too many values, names that come twice, numbers beyond 64
bits, NaN and Infinity, halves of surrogate pairs, anything but UTF-8. `json` alone takes all of these or dies of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from mailbridge.errors import MailbridgeError

LARGEST = 64 * 1024 * 1024
DEEPEST = 32
LONGEST_NUMBER = 40
MOST_VALUES = 100_000
"""While Python reads them nothing else runs, not even beside a thread: these take less than 100 ms."""
_BIGGEST = 2**63
_SHOWN = 60
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # also one without end: linear, whatever comes

Json = Any
"""What JSON can say: dict, list, str, int, float, bool, None."""


class BadJSON(MailbridgeError):
    """The octets are no JSON that we take; the text says where and why."""


def read(octets: bytes, largest: int = LARGEST) -> Json:
    """The value that `octets` spell. Raises BadJSON only."""
    if len(octets) > largest:
        raise BadJSON(f"{len(octets)} octets, at most {largest} are taken")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadJSON(f"octet {error.start}: not UTF-8") from None
    if sum(map(text.count, "[{,")) > MOST_VALUES and sum(map(_STRING.sub("", text).count, "[{,")) > MOST_VALUES:
        raise BadJSON(f"more than {MOST_VALUES} values")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadJSON(f"line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadJSON(f"nested deeper than {DEEPEST}") from None
    _check(value)
    return value


def write(value: Json) -> bytes:
    """`value` as JSON in ASCII, without blanks; keys stay in their order."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def shown(value: object) -> str:
    """A value in an error message: short, on one line. Of arrays and objects the kind only: keys may be in them."""
    if isinstance(value, Mapping | list):
        return kind(value)
    text = ascii(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def kind(value: object) -> str:
    """What kind of value it is, in words."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return "text" if isinstance(value, str) else "nothing" if value is None else "a number or truth value"


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadJSON(f"the name {shown(twice)} comes twice in one object")
    return found


def _constant(name: str) -> Json:
    raise BadJSON(f"{name} is no JSON")


def _int(digits: str) -> int:
    if len(digits) <= LONGEST_NUMBER:
        number = int(digits)
        if -_BIGGEST <= number < _BIGGEST:
            return number
    raise BadJSON(f"the number {digits[:20]}... is too big")


def _float(digits: str) -> float:
    if len(digits) <= LONGEST_NUMBER:
        number = float(digits)
        if math.isfinite(number):
            return number
    raise BadJSON(f"the number {digits[:20]}... is too long or too big")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_int, parse_float=_float)


def _check(value: Json) -> None:
    """Depth, and text that is no Unicode; without recursion."""
    level: list[Json] = [value]
    depth = 0
    while level:
        following: list[Json] = []
        for each in level:
            if isinstance(each, str):
                _check_text(each)
            elif isinstance(each, Mapping):
                for name in each:
                    _check_text(name)
                following.extend(each.values())
            elif isinstance(each, list):
                following.extend(each)
        depth += 1
        if depth > DEEPEST + 1:
            raise BadJSON(f"nested deeper than {DEEPEST}")
        level = following


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadJSON("half of a surrogate pair in a text") from None
