"""Readers of one value: each takes it as TOML gives it and returns what the model wants.

They raise ValueError with the remedy, or Faulty when one value has several faults. `keys` says which key has which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

from mailbridge.address import parse_mailbox
from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.units import shown
from mailbridge.errors import AddressError
from mailbridge.routing.access import parse_entry
from mailbridge.routing.pattern import Pattern
from mailbridge.routing.rules import check_target, parse_refusal

Reader = Callable[[object], Any]

_HOSTNAME = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_SQLITE = re.compile(r"sqlite:([A-Za-z0-9_][A-Za-z0-9_.-]{0,100})")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_TAKEN = frozenset({"ballast", "control.sock", "lock", "segments"})  # of the state folder; the ballast gets unlinked
WIDEST_TRUST = {4: 2 ** (32 - 8), 6: 2 ** (128 - 7)}  # 10.0.0.0/8 and fc00::/7, the widest private networks


class Faulty(ValueError):
    """Several faults of one value: (place below the key, such as `[2]`, and problem) of each."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(problem for _, problem in faults))



def place_of(key: str) -> str:
    """How a key below another stands in the place of a fault: `.subject`, `."from/name"`."""
    return "." + (key if _BARE_KEY.fullmatch(key) else json.dumps(key[:60]))


def text(value: object) -> str:
    """Text with something in it, on one line."""
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise ValueError(f"must be text, got {shown(value)}")


def flag(value: object) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, got {shown(value)}")


def choice(*words: str) -> Reader:
    """A reader of one of a few words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        close = get_close_matches(value, words, 1) if isinstance(value, str) else []
        hint = f'; did you mean "{close[0]}"?' if close else ""
        raise ValueError(f"must be one of {', '.join(words)}, got {shown(value)}{hint}")

    return read


def listed(item: Reader, when_empty: str | None = None) -> Reader:
    """A reader of lists: all faults of the items are found. `when_empty` is the remedy for an empty one."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list [...], got {shown(value)}")
        if not value and when_empty is not None:
            raise ValueError(f"must have at least 1 entry; {when_empty}")
        items, faults = [], []
        for index, element in enumerate(value):
            try:
                items.append(item(element))
            except ValueError as error:
                faults.append((f"[{index}]", str(error)))
        if faults:
            raise Faulty(faults)
        return tuple(items)

    return read


def hostname(value: object) -> str:
    """A host name in ASCII."""
    if isinstance(value, str) and _HOSTNAME.fullmatch(value):
        return value
    raise ValueError(f'must be a host name such as "bridge.example.org", got {shown(value)}')


def domain(value: object) -> str:
    """A mail domain, in ASCII or UTF-8."""
    name = text(value)
    try:
        address = parse_mailbox(b"x@" + name.encode("utf-8"))
    except AddressError:
        address = None
    if address is None or address.domain != name or address.double_at or name.startswith("["):
        raise ValueError(f'must be a domain such as "example.org", got {shown(value)}')
    return name


def mailbox(value: object) -> str:
    """An address, or a local name without a domain."""
    name = text(value)
    try:
        return parse_mailbox(name.encode("utf-8")).text
    except AddressError as error:
        raise ValueError(f"must be an address, got {shown(value)}: {error}") from None


def full_address(value: object) -> str:
    """An address with its domain."""
    name = mailbox(value)
    address = parse_mailbox(name.encode("utf-8"))
    if address.domain and not address.double_at:
        return name
    raise ValueError(f'must be an address with a domain, such as "printer@example.org", got {shown(value)}')


def fingerprint(value: object) -> str:
    """The SHA-256 of a certificate."""
    if isinstance(value, str) and _FINGERPRINT.fullmatch(value):
        return value
    raise ValueError(f"must be the SHA-256 of a certificate, 64 hexadecimal digits, got {shown(value)}")


def tag_separator(value: object) -> str:
    """At most three characters that no one takes for a part of a name; empty switches tags off."""
    if isinstance(value, str) and len(value) <= 3 and value.isascii() and value.isprintable() and (
        not any(c.isalnum() or c in ' @"\\.' for c in value)
    ):
        return value
    raise ValueError(f'must be a sign such as "+", or "" for no tags, got {shown(value)}')


def store_url(value: object) -> str:
    """Where the store is: the schemes this version knows."""
    name = text(value)
    match = _SQLITE.fullmatch(name)
    if match and match[1].lower() in _TAKEN:
        raise ValueError(f'must be "sqlite:NAME" with another name: mailbridge needs "{match[1]}" in `state` itself')
    if match:
        return name
    scheme = name.partition(":")[0]
    if scheme != "sqlite":
        raise ValueError(f'must be "sqlite:NAME": sqlite is the one kind of store this version knows, not "{scheme}"')
    raise ValueError(f'must be "sqlite:NAME" with a file name and no folder (it lies in `state`), got {shown(value)}')


def endpoint(value: object) -> str:
    """An endpoint description."""
    return parse_endpoint(value).description


def client(value: object) -> str:
    """One entry of a client list."""
    entry = text(value)
    parse_entry(entry)
    return entry


def trusted_client(value: object) -> str:
    """One entry of a list of clients who need no login; no list may trust the whole Internet (invariant 5)."""
    entry = client(value)
    for span in parse_entry(entry):
        if span.size > WIDEST_TRUST[span.version]:
            raise ValueError(f'"{entry}" trusts so many hosts that this would be an open relay; name your own networks')
    return entry


def pattern(value: object) -> str:
    """A regular expression (RE2)."""
    return Pattern(text(value)).text


def refusal(value: object) -> str:
    """The reply of a refusal."""
    if not isinstance(value, str):
        raise ValueError(f'must look like "550 5.7.1 text", got {shown(value)}')
    parse_refusal(value)
    return value


def target(targets: Collection[str]) -> Reader:
    """A reader of targets: maildrops, refuse, and `targets`."""

    def read(value: object) -> str:
        name = text(value)
        check_target(name, targets)
        return name

    return read
