"""Envelope addresses: a grammar of their own, on octets (RFC 5321 4.1.2, RFC 6531 3.3, RFC 5321 4.1.3).

Nothing here shares code with header parsing: CPython's parsers read `a@b)c@d` as two addresses and decode encoded words
inside an addr-spec. What is taken beyond the RFC, because devices send it: a space before `<`, an address without angle
brackets, a local name without a domain, and the double-@ form `name@number@fax` (marked `double_at`; only a route that
matches its whole text may take it). Comments, percent and bang paths have no meaning: the local part is opaque.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

from attrs import field, frozen

from mailbridge.errors import AddressError

MAX_LOCAL = 255
MAX_DOMAIN = 255
MAX_PATH = 1024
_NEVER = frozenset({"Cc", "Zl", "Zp"})  # U+0085, U+2028 and kin would end a line for many a reader of logs and lists

_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_DOT_STRING = re.compile(rb"(?:%s|\.)+" % _ATEXT)  # devices write `.name` and `a..b`; harmless, so taken
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*)"')
_DOMAIN = re.compile(rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
                     rb"(?:\.[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?)*")
_LITERAL = re.compile(rb"\[([0-9A-Za-z:.]+)\]")
_SOURCE_ROUTE = re.compile(rb"@%s(?:,@%s)*:" % (_DOMAIN.pattern, _DOMAIN.pattern))
_UNESCAPE = re.compile(rb"\\(.)")
_PLAIN_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_PLAIN_LOCAL = re.compile(rf"{_PLAIN_ATOM}(?:\.{_PLAIN_ATOM})*")


@frozen
class Address:
    """One mailbox of an envelope. `local` is without quotes or backslashes; `domain` is as written, a literal in
    brackets.

    `text` is the one canonical spelling, quoted only where it must be: `"joe"@x` and `joe@x` are equal. An empty domain
    is a bare local name; both empty is the null sender.
    """

    local: str
    domain: str = ""
    double_at: bool = False
    text: str = field(init=False, eq=False, repr=False)
    key: str = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        local = self.local
        if local and not self.double_at and not _PLAIN_LOCAL.fullmatch(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text = f"{local}@{self.domain}" if self.domain else local
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "key", text.casefold())

    @property
    def is_null(self) -> bool:
        """Whether this is `<>`, the sender of bounces (RFC 5321 4.5.5)."""
        return not self.local and not self.domain

    @property
    def is_ascii(self) -> bool:
        """Whether the address can travel without SMTPUTF8."""
        return self.text.isascii()

    def __str__(self) -> str:
        return self.text


NULL = Address("")


@lru_cache(maxsize=4096)
def parse_mailbox(octets: bytes) -> Address:
    """The address in `octets`, which hold nothing else. Raises AddressError with what is wrong."""
    address, rest = _mailbox(octets)
    if rest:
        raise AddressError(f"unexpected {_show(rest)} after the address")
    return address


@lru_cache(maxsize=4096)
def parse_path(octets: bytes) -> tuple[Address, bytes]:
    """(address, what follows it) of the argument of MAIL FROM: or RCPT TO:.

    `octets` begins where the colon ended. A source route is checked and dropped (RFC 5321 appendix C). The rest is the
    parameters with the space before them removed. Raises AddressError.
    """
    octets = octets.lstrip(b" ")
    if not octets.startswith(b"<"):
        bare, _, rest = _split_bare(octets)
        return parse_mailbox(bare), rest
    if octets.startswith(b"<>"):
        return NULL, _after(octets[2:])
    inner = octets[1:]
    route = _SOURCE_ROUTE.match(inner)
    if route:
        inner = inner[route.end():]
    address, rest = _mailbox(inner)
    if not rest.startswith(b">"):
        raise AddressError(f"expected > before {_show(rest)}" if rest else "the closing > is missing")
    return address, _after(rest[1:])


def _split_bare(octets: bytes) -> tuple[bytes, bytes, bytes]:
    quoted = _QUOTED.match(octets)
    start = quoted.end() if quoted else 0
    space = octets.find(b" ", start)
    if space < 0:
        return octets, b"", b""
    return octets[:space], b" ", octets[space + 1:].lstrip(b" ")


def _after(rest: bytes) -> bytes:
    if rest and not rest.startswith(b" "):
        raise AddressError(f"unexpected {_show(rest)} after >")
    return rest.strip(b" ")


def _mailbox(octets: bytes) -> tuple[Address, bytes]:
    if len(octets) > MAX_PATH + 512:
        raise AddressError("the address is too long")
    quoted = _QUOTED.match(octets)
    if quoted:
        raw, end = _UNESCAPE.sub(rb"\1", quoted.group(1)), quoted.end()
    else:
        plain = _DOT_STRING.match(octets)
        if not plain:
            raise AddressError(f"no local part at {_show(octets)}" if octets else "the address is empty")
        raw, end = plain.group(), plain.end()
    local = _text(raw)
    if not local:
        raise AddressError("the local part is empty")
    if len(raw) > MAX_LOCAL:
        raise AddressError(f"the local part has more than {MAX_LOCAL} octets")
    if octets[end:end + 1] != b"@":
        return Address(local), octets[end:]
    domain, end = _domain(octets, end + 1)
    if quoted is None and octets[end:end + 1] == b"@":
        number, (domain, end) = domain, _domain(octets, end + 1)
        return Address(f"{local}@{number}", domain, double_at=True), octets[end:]
    return Address(local, domain), octets[end:]


def _domain(octets: bytes, at: int) -> tuple[str, int]:
    literal = _LITERAL.match(octets, at)
    if literal:
        return _literal(literal.group(1).decode("ascii")), literal.end()
    match = _DOMAIN.match(octets, at) or _NUMBER.match(octets, at)
    if not match:
        raise AddressError(f"no domain at {_show(octets[at:])}" if octets[at:] else "the domain is missing")
    if match.end() - at > MAX_DOMAIN:
        raise AddressError(f"the domain has more than {MAX_DOMAIN} octets")
    end = match.end()
    if octets[end:end + 1] == b".":  # a fully qualified name with its root dot
        end += 1
    return _text(match.group()), end


_NUMBER = re.compile(rb"\+[0-9]+(?:\.[A-Za-z0-9-]+)*")  # name@+420603899285@fax


def _literal(inner: str) -> str:
    """A checked address literal, in its canonical form (RFC 5321 4.1.3)."""
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise AddressError(f"[{inner}] is not an address literal: {error}") from None


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AddressError(f"{_show(octets)} is not UTF-8") from None
    if not text.isascii() and any(unicodedata.category(c) in _NEVER for c in text):
        raise AddressError(f"{_show(octets)} holds a control character or line separator")
    return text


def _show(octets: bytes) -> str:
    return repr(octets[:40])[1:]
