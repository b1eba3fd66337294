"""The values of a dmail.conf: quoted words, hosts, domains, numbers, yes and no. What is wrong is a ValueError.

The texts of the errors never repeat a value, which may be a password on a line that went wrong.
"""

from __future__ import annotations

import ipaddress
import re

from attrs import field, frozen

from mailbridge.address import Address, parse_mailbox
from mailbridge.errors import AddressError
from mailbridge.fetch.settings import MOST

_WORD = re.compile(r'"((?:[^"\\]|\\["\\])*)"(?=[ \t]|$)|([^ \t]+)')
_ESCAPED = re.compile(r'\\(["\\])')
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?")
_WITH_PORT = re.compile(r"([^:]*):([0-9]{1,5})")
_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                   r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,100}")
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_TLS = {"pop3s": "implicit", "stls": "require", "none": "off"}

POP3, POP3S = 110, 995


@frozen
class PopUser:
    """A `pf_user` line: the login, the server, and how to talk to it: tls is `implicit`, `require` (STLS) or `off`."""

    user: str
    password: str = field(repr=False)
    host: str
    port: int = POP3
    tls: str = "off"

    @property
    def in_clear(self) -> bool:
        """Whether the password crosses a network that others may listen to."""
        if self.tls != "off":
            return False
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host.lower() != "localhost"
        return not (address.is_loopback or address.is_private)


def words(value: str) -> list[str]:
    """Words between blanks; one in double quotes may hold blanks, `\\"` and `\\\\`. A lone quote is itself."""
    return [
        _ESCAPED.sub(r"\1", match.group(1)) if match.group(2) is None else match.group(2)
        for match in _WORD.finditer(value)
    ]


def pop_user(value: str) -> PopUser:
    """`user password host[:port]`, then `port=` and `tls=`. Raises ValueError."""
    found = words(value)
    if len(found) < 3:
        raise ValueError("needs three words: user, password and host")
    name, password, server, *extra = found
    if not name:
        raise ValueError("the user is empty")
    address, port = host_and_port(server)
    tls = None
    for word in extra:
        key, _, said = word.partition("=")
        if key.lower() == "port":
            port = number(said, 1, 65535)
        elif key.lower() == "tls" and said.lower() in _TLS:
            tls = _TLS[said.lower()]
        else:
            raise ValueError("after the host only port=NUMBER and tls=pop3s, tls=stls or tls=none may follow; a "
                             "password with blanks needs double quotes")
    if tls is None:
        tls = "implicit" if port == POP3S else "off"
    return PopUser(name, password, address, port or (POP3S if tls == "implicit" else POP3), tls)


def host_and_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, an address, `[address]` or `[address]:port`. Raises ValueError."""
    match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    if match is None:
        return host(text), None
    return host(match.group(1)), number(match.group(2), 1, 65535) if match.group(2) else None


def host(text: str) -> str:
    """A host name or an address. Raises ValueError: `1..2.3.4` is neither."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.rstrip(".").split(".")
    if not _NAME.fullmatch(text) or labels[-1].isdigit():  # 1.2.3.400 is no name, and no address either
        raise ValueError("is neither a host name nor an address")
    return text.rstrip(".").lower()


def number(text: str, low: int | None, high: int = MOST) -> int:
    """A whole number in plain digits. Raises ValueError."""
    bounds = f"must be a number from {low or 0} to {high}"
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))):
        raise ValueError(bounds)
    value = int(text)
    if not (low or 0) <= value <= high:
        raise ValueError(bounds)
    return value


def boolean(text: str) -> bool:
    """Raises ValueError."""
    if text.lower() not in _BOOLEANS:
        raise ValueError("must be true or false")
    return _BOOLEANS[text.lower()]


def header_name(text: str) -> str:
    """The name of a header in lower case, with or without its colon. Raises ValueError."""
    name = text.removesuffix(":")
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError("is not the name of a header")
    return name.lower()


def domain(text: str) -> str:
    """A domain, as it may stand after the @ of an address. Raises ValueError."""
    try:
        found = parse_mailbox(b"x@" + text.removeprefix("@").encode("utf-8"))
    except (AddressError, UnicodeEncodeError):
        raise ValueError("is not a domain") from None
    if found.double_at:
        raise ValueError("is not a domain")
    return found.domain


def address(text: str) -> Address:
    """One address, in angle brackets or not. Raises ValueError."""
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    try:
        found = parse_mailbox(text.encode("utf-8"))
    except (AddressError, UnicodeEncodeError):
        raise ValueError("is not an address") from None
    if found.double_at:
        raise ValueError("is not an address")
    return found
