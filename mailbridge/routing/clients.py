"""Client lists that may name hosts: `localhost`, `cxhlpsrv,syscae.syscae.cz`, `192.168.1.0-192.168.1.31`.

An entry holds one or several of these, with commas. Addresses, networks and ranges are those of `routing.access`. Host
names are looked up forward by somebody else (`edge.hostnames`), who hands the answers in as `Hosts`; what a client's
address says of its own name is never asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import idna
from attrs import frozen

from mailbridge.routing.access import AccessList, canonical, parse_entry

Hosts = Mapping[str, frozenset[str]]
"""The addresses of each host name, as `access.canonical` writes them. None at all: there is no such host. A name that
is missing has not been looked up yet."""
NO_HOSTS: Hosts = MappingProxyType({})

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_ADDRESS_LIKE = re.compile(r"[0-9.-]+|.*\.[0-9]+\.?")  # `10.0.0`, `10.0.0.0-10.0.0.300`
_LONGEST_HOST = 253


@frozen
class ClientList:
    """A set of clients: addresses, and hosts by name. False when it has no entry at all."""

    fixed: AccessList
    names: tuple[str, ...] = ()
    empty: bool = False

    @classmethod
    def parse(cls, entries: Iterable[str]) -> ClientList:
        """The list of these entries. Raises ValueError that begins with the index of the first bad one, `[2]: `."""
        spans: list[str] = []
        names: dict[str, None] = {}
        for index, entry in enumerate(entries):
            try:
                for part in _parts(entry):
                    name = _host(part)
                    if name is None:
                        spans.append(part)
                    else:
                        names[name] = None
            except ValueError as error:
                raise ValueError(f"[{index}]: {error}") from None
        return cls(AccessList.parse(spans), tuple(names), not spans and not names)

    def __bool__(self) -> bool:
        return not self.empty

    def allows(self, peer: str, hosts: Hosts = NO_HOSTS) -> bool:
        """Whether `peer`, an address in text, is on the list while host names mean what `hosts` says."""
        if self.fixed.allows(peer):
            return True
        address = canonical(peer) if self.names else None
        return address is not None and any(address in hosts.get(name, ()) for name in self.names)

    def waits(self, hosts: Hosts) -> tuple[str, ...]:
        """The host names that nobody has looked up yet."""
        return tuple(name for name in self.names if name not in hosts)


def _parts(entry: str) -> list[str]:
    parts = [part.strip() for part in entry.split(",") if part.strip()]
    if not parts:
        raise ValueError("is empty")
    return parts


def _host(part: str) -> str | None:
    """The host name that `part` is, None for anything that is an address, a network or a range. Raises ValueError."""
    try:
        parse_entry(part)
    except ValueError as error:
        name = _ascii(part)
        if name is None or _ADDRESS_LIKE.fullmatch(name):
            raise ValueError(str(error).replace("localhost, but no host name", "localhost or a host name")) from None
        return name.removesuffix(".")
    return None


def _ascii(name: str) -> str | None:
    """A host name in lower case and as the DNS knows it (RFC 5890); None for what is none."""
    folded = name.lower()
    if not folded.isascii():
        try:
            folded = idna.encode(folded).decode("ascii")
        except (UnicodeError, ValueError):
            return None
    return folded if _HOST.fullmatch(folded) and len(folded) <= _LONGEST_HOST else None
