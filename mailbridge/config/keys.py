"""Every key of the file and what may stand in it: one reader a key, one table.

A reader takes the value as TOML gives it and returns the value of the model, or raises ValueError with the remedy, or
Faulty when one key has several faults. A test holds this table and the model together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mailbridge.address import parse_mailbox
from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.files import file_reader, path_reader, secret_reader
from mailbridge.config.model import (
    Config,
    POP3Listener,
    QueueSettings,
    RelaySettings,
    RouteRule,
    SMTPListener,
    StoreSettings,
    TLSSettings,
    UsersSettings,
)
from mailbridge.config.secrets import secret_text_reader
from mailbridge.config.servers import bind_address, dedicated_server, server_text
from mailbridge.config.units import number, shown, size, time
from mailbridge.errors import AddressError
from mailbridge.limits import KIB, MIB, Limits
from mailbridge.routing.access import parse_entry
from mailbridge.routing.pattern import Pattern
from mailbridge.routing.rules import check_target, parse_refusal

Reader = Callable[[object], Any]

_HOSTNAME = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_SQLITE = re.compile(r"sqlite:([A-Za-z0-9_][A-Za-z0-9_.-]{0,100})")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_TAKEN = frozenset({"ballast", "control.sock", "lock", "segments"})  # of the state folder; the ballast gets unlinked
_DAY = 86400
_WIDEST_TRUST = {4: 2 ** (32 - 8), 6: 2 ** (128 - 7)}  # 10.0.0.0/8 and fc00::/7, the widest private networks


class Faulty(ValueError):
    """Several faults of one value: (place below the key, such as `[2]`, and problem) of each."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(problem for _, problem in faults))


def readers(base: Path, targets: Collection[str]) -> Mapping[type, Mapping[str, Reader]]:
    """The reader of each key of each table. Paths are relative to `base`; `targets` exist besides maildrops."""
    return {
        Config: {"hostname": hostname, "state": path_reader(base)},
        StoreSettings: {"url": store_url, "min_free": size(0, 2**50)},
        TLSSettings: {"certificate": file_reader(base), "key": secret_reader(base)},
        Limits: _LIMITS,
        SMTPListener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"),
            "clients": listed(trusted_client), "bare_newlines": choice("refuse", "normalise"),
            "auth": choice("offer", "require", "off"), "auth_in_clear": flag, "add_headers": flag,
            "sender": full_address,
        },
        POP3Listener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"), "login_in_clear": flag,
            "apop": flag,
        },
        UsersSettings: {"domains": listed(domain), "postmaster": mailbox, "tag_separator": tag_separator},
        RelaySettings: {
            "servers": listed(server_text, "name a server"), "default": flag,
            "tls": choice("opportunistic", "require", "implicit", "off"), "verify": flag, "ca": file_reader(base),
            "pin": fingerprint, "identity": secret_reader(base), "user": text, "password": secret_text_reader(base),
            "token": secret_text_reader(base), "dedicatedsmtp": dedicated_server, "auth_in_clear": flag,
            "use_from": flag, "lmtp": flag, "client_name": hostname, "bind": bind_address,
            "connections": number(1, 1_000), "messages_per_connection": number(1, 1_000_000),
            "idle": time(0, _DAY), "timeout": time(1, _DAY),
        },
        QueueSettings: {
            "retry": time(1, _DAY), "longest_retry": time(1, 7 * _DAY), "expire": time(1, 60 * _DAY),
            "delay_notice": time(1, 60 * _DAY), "pause": time(1, _DAY), "notices_per_minute": number(1, 100_000),
            "bounce_size": size(0, 16 * MIB),
        },
        RouteRule: {
            "to": target(targets), "recipient": pattern, "sender": pattern, "user": text,
            "clients": listed(client, "leave the key out to match all"), "listener": text, "reply": refusal,
            "anyone": flag,
        },
    }


_LIMITS: Mapping[str, Reader] = {
    "connections_per_client": number(1, 100_000),
    "connections": number(1, 100_000),
    "errors": number(1, 10_000),
    "junk_commands": number(1, 1_000_000),
    "command_line": number(512, 65_536),
    "recipients": number(1, 100_000),
    "hops": number(1, 1_000),
    "message_size": size(64 * KIB, 2048 * MIB),
    "header_size": size(4 * KIB, 16 * MIB),
    "header_fields": number(20, 100_000),
    "smtp_idle": time(1, _DAY),
    "pop3_idle": time(1, _DAY),
    "login_time": time(1, _DAY),
    "wrong_passwords": number(1, 1_000),
}


# --- readers of one value ---------------------------------------------------------------------------------------------


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
        if span.size > _WIDEST_TRUST[span.version]:
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
