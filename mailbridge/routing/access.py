"""Client lists: which peers an entry such as `192.168.1.0-192.168.1.31` names (reference: smtp-receiver.md section 6).

An entry is an address, a network (`10.0.0.0/8`), a range with both ends in it (`a-b`), or `localhost` (127.0.0.0/8 and
::1). IPv4 inside IPv6 (`::ffff:a.b.c.d`) is IPv4, in lists and in peers. An empty list names nobody. Host names are not
taken here: see `routing.clients`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from attrs import field, frozen

_MAPPED = 0xFFFF << 32
_REMEMBERED = 1024


@frozen
class Span:
    """The addresses from `first` to `last`, both included, of IP version `version`."""

    version: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many addresses these are."""
        return self.last - self.first + 1


def parse_entry(entry: str) -> tuple[Span, ...]:
    """The spans of one entry. Raises ValueError with what is wrong and what would be right."""
    text = entry.strip()
    if text.lower() == "localhost":
        return (_span("127.0.0.0/8"), _span("::1"))
    return (_span(text),)


def _span(text: str) -> Span:
    low, dash, high = text.partition("-")
    if dash and _is_address(low) and _is_address(high):
        first, last = ip_address(low.strip()), ip_address(high.strip())
    elif "/" in text:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'"{text}" is no network; write it like 192.168.1.0/24 or fd00::/8') from None
        first, last = network.network_address, network.broadcast_address
        if ip_address(text.partition("/")[0]) != first:
            raise ValueError(f'"{text}" has bits outside its mask; write {network} for that network')
    elif _is_address(text):
        first = last = ip_address(text)
    else:
        raise ValueError(f'"{text}" is no client; write an address, a network (10.0.0.0/8), a range (a-b) or '
                         f"localhost, but no host name")
    if first.version != last.version:
        raise ValueError(f'"{text}" begins as IPv{first.version} and ends as IPv{last.version}')
    if int(first) > int(last):
        raise ValueError(f'"{text}" begins after its end; write {last}-{first}')
    return _unmapped(Span(first.version, int(first), int(last)))


def _unmapped(span: Span) -> Span:
    if span.version == 6 and span.first >> 32 == span.last >> 32 == 0xFFFF:
        return Span(4, span.first - _MAPPED, span.last - _MAPPED)
    return span


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip())
    except ValueError:
        return False
    return True


def canonical(text: str) -> str | None:
    """The one spelling of an address: no zone, IPv4 inside IPv6 as IPv4; None for what is no address."""
    address = _parsed(text.partition("%")[0])
    return None if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@frozen(eq=False)
class AccessList:
    """A set of addresses, asked once per session or recipient; answers are remembered, a bounded number of them."""

    _starts: dict[int, list[int]]
    _ends: dict[int, list[int]]
    _known: dict[str, bool] = field(factory=dict, init=False, repr=False)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AccessList:
        """The list of these entries. Raises ValueError about the first bad one."""
        spans = sorted((span for entry in entries for span in parse_entry(entry)), key=lambda s: (s.version, s.first))
        starts: dict[int, list[int]] = {4: [], 6: []}
        ends: dict[int, list[int]] = {4: [], 6: []}
        for span in spans:
            if ends[span.version] and span.first <= ends[span.version][-1] + 1:
                ends[span.version][-1] = max(ends[span.version][-1], span.last)
            else:
                starts[span.version].append(span.first)
                ends[span.version].append(span.last)
        return cls(starts, ends)

    def allows(self, peer: str) -> bool:
        """Whether `peer`, an address in text, is named by the list. Anything that is no address is not."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[peer] = self._contains(peer)
        return known

    def overlaps(self, other: AccessList) -> bool:
        """Whether any address is on both lists."""
        return any(
            first <= there_last and there_first <= last
            for version, firsts in self._starts.items()
            for first, last in zip(firsts, self._ends[version], strict=True)
            for there_first, there_last in zip(other._starts[version], other._ends[version], strict=True)
        )

    def _contains(self, peer: str) -> bool:
        address = _parsed(peer)
        if address is None:
            return False
        number = int(address)
        at = bisect_right(self._starts[address.version], number) - 1
        return at >= 0 and number <= self._ends[address.version][at]
