"""How `[relay.NAME]` names servers: `host`, `host:port`, `[v6]:port`, `mx`, and fauSMTP's `host,port,user,password`.

Readers return checked values or raise ValueError with the remedy; none looks a name up.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

import idna

from mailbridge.config.units import shown

MX = "mx"

_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_SHAPE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")
_EXAMPLES = '"smtp.example.org", "smtp.example.org:587" or "[2001:db8::1]:25"'
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,39})")


def server_text(value: object) -> str:
    """A reader of one of `servers`: text that `parse_server` takes, or `mx`."""
    if value != MX:
        parse_server(value)
    assert isinstance(value, str)
    return value


def one_server(value: object) -> str:
    """A reader of one server with a name: text that `parse_server` takes."""
    parse_server(value)
    assert isinstance(value, str)
    return value


def parse_server(value: object) -> tuple[str, int | None]:
    """(host, port or None) of one server. Raises ValueError with the remedy."""
    match = _SHAPE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        bare_v6 = isinstance(value, str) and value.count(":") > 1
        hint = "; an IPv6 address stands in brackets" if bare_v6 else ""
        raise ValueError(f"must be a server such as {_EXAMPLES}, got {shown(value)}{hint}")
    port = None if match["port"] is None else _port(match["port"])
    if match["v6"] is not None:
        try:
            return str(IPv6Address(match["v6"])), port
        except ValueError:
            raise ValueError(f"[{match['v6']}] is no IPv6 address") from None
    return _host(match["host"]), port


def server_host(value: object) -> str:
    """A reader of a host without a port, as it stands before `:port`."""
    bare = value.removeprefix("[").removesuffix("]") if isinstance(value, str) else None
    if bare is not None and ":" in bare:
        try:
            return f"[{IPv6Address(bare)}]"
        except ValueError:
            pass
    host, port = parse_server(value)
    if port is not None:
        raise ValueError(f"must be a host without a port, got {shown(value)}")
    return host


def dedicated_server(value: object) -> tuple[str, int, str, str]:
    """(host, port, user, password) of fauSMTP's `dedicatedsmtp`; user and password may be missing or empty.

    A password may have commas in it. It is never shown.
    """
    parts = value.split(",", 3) if isinstance(value, str) else []
    if len(parts) not in (2, 4):
        raise ValueError('must be "host,port,user,password" (user and password may be left out)')
    host, port, user, password = (*(part.strip() for part in parts[:3]), *parts[3:], "", "")[:4]
    if bool(user) != bool(password):
        raise ValueError("has a user without a password, or a password without a user")
    if any(c in user + password for c in "\r\n\0"):
        raise ValueError("must be one line")
    return _host(host.removeprefix("[").removesuffix("]")), _port(port), user, password


def relay_name(name: str) -> str:
    """The NAME of `[relay.NAME]`, which stands in routes, lanes and commands. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} is no name for a relay: letters, digits, _ - and . only, at most 40")
    return name


def bind_address(value: object) -> str:
    """A reader of the local address to connect from."""
    try:
        if isinstance(value, str):
            return str(ip_address(value))
    except ValueError:
        pass
    raise ValueError(f'must be an address of this host such as "192.0.2.1", got {shown(value)}')


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        name = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except (UnicodeError, ValueError):
        name = ""
    if not _HOST.fullmatch(name) or name.rstrip(".").rpartition(".")[2].isdigit():
        raise ValueError(f"{shown(text)} is no host; a server is {_EXAMPLES}")
    return name.rstrip(".").lower()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"port must be 1 to 65535, got {shown(text)}")
