"""Which hosts take the mail of a domain (RFC 5321 5.1, RFC 7505).

Promises: best preference first, equal ones shuffled; never a host that is ourselves, nor one that is no better than we
are (RFC 5321 5.1: mail would go round in a circle); at most `MOST_HOSTS`. Answers are kept for their time to live, at
most `LONGEST_KEPT` seconds and `MOST_KEPT` of them. Addresses of hosts are not looked up here, but for a domain without
MX and to find ourselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Protocol

import idna
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError, ResolverError

from mailbridge.errors import MailbridgeError
from mailbridge.queue.verdict import Trouble

MOST_HOSTS = 20
MOST_ALIASES = 8
MOST_KEPT = 4096
LONGEST_KEPT = 600.0
SHORTEST_KEPT = 5.0
LOOK_UP_TIMES = (2, 5, 10)
"""Seconds to wait for each of three questions."""
_NO_ANSWER = (DomainError, DNSQueryTimeoutError, ResolverError)


class NoHosts(MailbridgeError):
    """No host takes mail for a domain: `trouble` says of which kind that is."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


class Resolver(Protocol):
    """The part of twisted.names' IResolver that is used here."""

    def lookupMailExchange(self, name: str, timeout: Sequence[int]) -> Deferred[Any]:
        """MX records: (answers, authority, additional)."""

    def lookupAddress(self, name: str, timeout: Sequence[int]) -> Deferred[Any]:
        """A records."""

    def lookupIPV6Address(self, name: str, timeout: Sequence[int]) -> Deferred[Any]:
        """AAAA records."""


@frozen
class _Kept:
    until: float
    hosts: tuple[tuple[int, str], ...]
    failure: NoHosts | None = None


class MailExchangers:
    """Answers by `resolver`. `shuffle(list)` orders equals in place. `names` and `addresses` are our own."""

    def __init__(
        self,
        resolver: Resolver,
        clock: IReactorTime,
        shuffle: Callable[[list[str]], object],
        names: Iterable[str] = (),
        addresses: Collection[str] = (),
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._shuffle = shuffle
        self._names = frozenset(_spelling(name) for name in names)
        self._addresses = frozenset(map(_address, addresses))
        self._kept: dict[str, _Kept] = {}

    async def hosts(self, domain: str) -> list[str]:
        """The hosts for a domain or an address literal, in the order to try them: names, or addresses without brackets.

        Raises NoHosts, and what twisted.names raises for servers that fail or do not answer.
        """
        if domain.startswith("["):
            return [self._literal(domain)]
        try:
            name = _ascii(domain)
        except (UnicodeError, ValueError):
            raise NoHosts(Trouble.NO_DOMAIN, f"{domain} is no name that DNS could know") from None
        kept = self._kept.get(name)
        if kept is None or kept.until <= self._clock.seconds():
            kept = await self._look_up(name)
            self._keep(name, kept)
        if kept.failure is not None:
            raise NoHosts(kept.failure.trouble, str(kept.failure))
        return self._in_order(kept.hosts)

    def _literal(self, domain: str) -> str:
        try:
            address = _address(domain.strip("[]").removeprefix("IPv6:"))
        except ValueError:
            raise NoHosts(Trouble.NO_DOMAIN, f"{domain} is no address") from None
        if self._is_own_address(address):
            raise NoHosts(Trouble.LOOP, f"{domain} is this host")
        return address

    async def _look_up(self, name: str) -> _Kept:
        records: list[tuple[float, int, str]] = []
        for _ in range(MOST_ALIASES):
            try:
                answers, _, _ = await self._resolver.lookupMailExchange(name, timeout=LOOK_UP_TIMES)
            except DNSNameError:
                return self._failure(Trouble.NO_DOMAIN, f"there is no domain {name}")
            records = [
                (answer.ttl, answer.payload.preference, _spelling(_text(answer.payload.name)))
                for answer in answers if isinstance(answer.payload, dns.Record_MX)
            ]
            alias = _alias(answers) if not records else None
            if alias is None:
                break
            name = alias
        if not records:
            return await self._without_mx(name)
        if any(host == "" for _, _, host in records):
            # RFC 7505 3: a null MX stands alone; among others it names no host.
            records = [record for record in records if record[2]]
            if not records:
                return self._failure(Trouble.NULL_MX, f"{name} says that it takes no mail")
        seconds = min(ttl for ttl, _, _ in records)
        best: dict[str, int] = {}
        for _, preference, host in records:
            if _is_host(host):
                best[host] = min(preference, best.get(host, preference))
        hosts = sorted((preference, host) for host, preference in best.items())[:MOST_HOSTS]
        if not hosts:
            return self._failure(Trouble.NO_DOMAIN, f"the mail servers of {name} have names that cannot be")
        hosts = await self._without_us(hosts)
        if not hosts:
            return self._failure(Trouble.LOOP, f"the best mail server for {name} is this one")
        return _Kept(self._until(seconds), tuple(hosts))

    async def _without_mx(self, name: str) -> _Kept:
        """RFC 5321 5.1: a domain without MX is its own mail server, if it has an address."""
        addresses, seconds, nobody = await self._addresses_of(name)
        if nobody:
            return self._failure(Trouble.NO_DOMAIN, f"there is no domain {name}")
        if not addresses:
            return self._failure(Trouble.NO_DOMAIN, f"{name} has neither a mail server nor an address")
        if name in self._names or any(map(self._is_own_address, addresses)):
            return self._failure(Trouble.LOOP, f"the mail server for {name} is this one")
        return _Kept(self._until(seconds), ((0, name),))

    async def _without_us(self, hosts: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """The hosts that are better than we are. Addresses are compared when there are any to compare with."""
        for preference, host in hosts:
            ours = host in self._names
            if not ours and self._addresses:
                try:
                    addresses, _, _ = await self._addresses_of(host)
                except _NO_ANSWER:
                    continue  # its turn will tell
                ours = any(map(self._is_own_address, addresses))
            if ours:
                return [other for other in hosts if other[0] < preference]
        return hosts

    async def _addresses_of(self, name: str) -> tuple[list[str], float, bool]:
        """(addresses, seconds they are good for, whether the name does not exist at all).

        Raises what the resolver raises when neither question was answered.
        """
        found: list[str] = []
        seconds = LONGEST_KEPT
        unknown = 0
        failed: Exception | None = None
        for question in (self._resolver.lookupAddress, self._resolver.lookupIPV6Address):
            try:
                answers, _, _ = await question(name, timeout=LOOK_UP_TIMES)
            except DNSNameError:
                unknown += 1
                continue
            except _NO_ANSWER as error:
                failed = error
                continue
            for answer in answers[:MOST_HOSTS]:
                packed = getattr(answer.payload, "address", None)
                if packed and isinstance(answer.payload, dns.Record_A | dns.Record_AAAA):
                    found.append(_address(packed))
                    seconds = min(seconds, answer.ttl)
        if failed is not None and not found:
            raise failed
        return found, seconds, unknown == 2

    def _is_own_address(self, address: str) -> bool:
        return address in self._addresses

    def _in_order(self, hosts: Sequence[tuple[int, str]]) -> list[str]:
        ordered: list[str] = []
        for preference in sorted({preference for preference, _ in hosts}):
            equals = [host for other, host in hosts if other == preference]
            self._shuffle(equals)
            ordered += equals
        return ordered

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _failure(self, trouble: Trouble, text: str) -> _Kept:
        return _Kept(self._until(60.0), (), NoHosts(trouble, text))

    def _until(self, seconds: float) -> float:
        return self._clock.seconds() + max(SHORTEST_KEPT, min(seconds, LONGEST_KEPT))

    def _keep(self, name: str, kept: _Kept) -> None:
        self._kept.pop(name, None)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = kept


def _alias(answers: Iterable[Any]) -> str | None:
    """Where the last alias leads that a name server told without following it."""
    targets = [_spelling(_text(answer.payload.name)) for answer in answers if answer.type == dns.CNAME]
    return targets[-1] if targets and _is_host(targets[-1]) else None


def _text(name: dns.Name) -> str:
    return name.name.decode("ascii", "replace")


def _spelling(name: str) -> str:
    return name.rstrip(".").lower()


def _is_host(name: str) -> bool:
    """Whether it could be a host's name, and harms no log. An address in its place is no name (RFC 5321 5.1)."""
    labels = name.split(".")
    if len(name) > 253 or labels[-1].isdigit() or not all(0 < len(label) <= 63 for label in labels):
        return False
    return name.isascii() and all(c.isalnum() or c in "-_." for c in name)


def _ascii(domain: str) -> str:
    name = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    name = _spelling(name)
    if not _is_host(name):
        raise ValueError(domain)
    return name


def _address(given: str | bytes) -> str:
    """The one spelling of an address, text or packed; IPv4 in IPv6 clothes is IPv4."""
    address = ip_address(given)
    return str(getattr(address, "ipv4_mapped", None) or address)
