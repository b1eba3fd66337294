"""How long a client must wait after wrong passwords: per (address, user) and per address, never per user alone.

| who                      | free tries      | then                                       |
|--------------------------|-----------------|--------------------------------------------|
| one address, one user    | `allowed` (5)   | 1 s, doubling with each failure to 15 min  |
| one address, any user    | 4 x `allowed`   | the same: an office shares one address     |
| loopback, one user       | `allowed`       | 1 s, doubling to 10 s; no limit per address |

So nobody locks an owner out who logs in from another address. An IPv6 address counts by its /64, which one customer
has. What was not added to for a day is forgotten, a right password clears its (address, user), and the address gets one
failure forgiven every five minutes. Memory is bounded: the entries that were longest untouched go first.
Pure: `seconds()` is the clock.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from attrs import define, frozen

SHARED = 4
FIRST_DELAY = 1.0
LONGEST_DELAY = 900.0
LONGEST_DELAY_ON_LOOPBACK = 10.0
FORGIVEN_EVERY = 300.0
FORGOTTEN_AFTER = 86_400.0
LARGEST = 20_000


@define
class _Record:
    failures: float
    last: float
    until: float = 0.0


class Throttle:
    """Counts wrong passwords. `peer` is an IP address as text (anything else counts as it is), `user` a folded name."""

    def __init__(self, seconds: Callable[[], float], allowed: int = 5, largest: int = LARGEST) -> None:
        self._seconds = seconds
        self.allowed = allowed
        self._pairs = _Records(largest)
        self._addresses = _Records(largest)

    def blocked(self, peer: str, user: str) -> float:
        """Seconds to wait before the next try; 0 when it may be now."""
        source, now = source_of(peer), self._seconds()
        until = max(self._pairs.until((source.key, user)), self._addresses.until(source.key))
        return max(0.0, until - now)

    def failed(self, peer: str, user: str) -> None:
        """A wrong password was tried."""
        source, now = source_of(peer), self._seconds()
        longest = LONGEST_DELAY_ON_LOOPBACK if source.loopback else LONGEST_DELAY
        self._pairs.add((source.key, user), now, self.allowed, longest, forgive=0.0)
        if not source.loopback:
            self._addresses.add(source.key, now, SHARED * self.allowed, longest, forgive=1 / FORGIVEN_EVERY)

    def succeeded(self, peer: str, user: str) -> None:
        """The right password came: what this user got wrong from this address is forgotten."""
        self._pairs.forget((source_of(peer).key, user))

    def __len__(self) -> int:
        return len(self._pairs) + len(self._addresses)


@frozen
class Source:
    """Where a client is, as far as guessing goes."""

    key: str
    loopback: bool


def source_of(peer: str) -> Source:
    """The network a peer counts as: its IPv4 address or IPv6 /64; mapped IPv4 addresses are IPv4."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return Source(peer[:64], loopback=False)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            if address.is_loopback:
                return Source("::1", loopback=True)
            return Source((int(address) >> 64).to_bytes(8, "big").hex(), loopback=False)
        address = address.ipv4_mapped
    return Source(str(address), address.is_loopback)


class _Records:
    """At most `largest` records, the longest untouched go first."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._records: OrderedDict[object, _Record] = OrderedDict()

    def until(self, key: object) -> float:
        record = self._records.get(key)
        return record.until if record is not None else 0.0

    def add(self, key: object, now: float, allowed: int, longest: float, forgive: float) -> None:
        record = self._records.get(key)
        if record is None or now - record.last > FORGOTTEN_AFTER:
            record = self._records[key] = _Record(0.0, now)
        record.failures = max(0.0, record.failures - forgive * (now - record.last)) + 1
        record.last = now
        over = record.failures - allowed
        if over >= 0:
            record.until = now + min(longest, FIRST_DELAY * 2 ** min(over, 30.0))
        self._records.move_to_end(key)
        if len(self._records) > self._largest:
            self._records.popitem(last=False)

    def forget(self, key: object) -> None:
        self._records.pop(key, None)

    def __len__(self) -> int:
        return len(self._records)
