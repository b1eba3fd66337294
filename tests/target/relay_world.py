"""A relay on a network in memory, with scripted servers and a fake name server."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.python.failure import Failure

from mailbridge.content import Content
from mailbridge.edge.sending import Manner, Server
from mailbridge.outcome import Outcome
from mailbridge.store.changes import Delivery, Lane, LaneState, Message, Wishes
from mailbridge.store.memory import MemoryStore
from mailbridge.target.mx import MailExchangers
from mailbridge.target.pool import PoolLimits
from mailbridge.target.relay import Relay, RelayPlan
from mailbridge.testing.hostile import HostileFactory, Script
from mailbridge.testing.network import Network


class Names:
    """A resolver that answers from a table: (kind, name) to records, an exception, or None for never."""

    def __init__(self, **_: object) -> None:
        self.table: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str]] = []

    def mx(self, domain: str, *hosts: tuple[int, str], ttl: int = 300) -> None:
        """MX records."""
        self.table["MX", domain] = [(dns.Record_MX(preference, host, ttl), ttl) for preference, host in hosts]

    def null_mx(self, domain: str) -> None:
        """RFC 7505."""
        self.table["MX", domain] = [(dns.Record_MX(0, b"", 300), 300)]

    def a(self, name: str, *addresses: str, ttl: int = 300) -> None:
        """A records."""
        self.table["A", name] = [(dns.Record_A(address, ttl), ttl) for address in addresses]

    def aaaa(self, name: str, *addresses: str, ttl: int = 300) -> None:
        """AAAA records."""
        self.table["AAAA", name] = [(dns.Record_AAAA(address, ttl), ttl) for address in addresses]

    def lookupMailExchange(self, name: str, timeout: object = None) -> Deferred[Any]:
        return self._answer("MX", name)

    def lookupAddress(self, name: str, timeout: object = None) -> Deferred[Any]:
        return self._answer("A", name)

    def lookupIPV6Address(self, name: str, timeout: object = None) -> Deferred[Any]:
        return self._answer("AAAA", name)

    def _answer(self, kind: str, name: str) -> Deferred[Any]:
        self.asked.append((kind, name))
        found = self.table.get((kind, name), [])
        if found is None:
            return Deferred()
        if isinstance(found, Exception):
            return fail(found)
        return succeed(([dns.RRHeader(name, payload.TYPE, dns.IN, ttl, payload) for payload, ttl in found], [], []))


class RelayWorld:
    """Servers by name, a relay to those of `servers` (none: by MX), and messages to send."""

    def __init__(self, servers: tuple[str, ...] = ("one.example",), scripts: dict[str, Script] | None = None,
                 limits: PoolLimits | None = None, timeout: float = 1800.0, **more: Any) -> None:
        self.network = Network()
        self.peers: dict[str, HostileFactory] = {}
        for name in {*servers, *(scripts or {})}:
            self.serve(name, (scripts or {}).get(name, {}))
        self.store = MemoryStore(self.network)
        self.names = Names()
        self.exchangers = MailExchangers(self.names, self.network, lambda hosts: hosts.sort(), ["us.example"],
                                         ["127.0.0.1", "192.0.2.1"])
        plan = RelayPlan(
            "office", Manner("us.example"), tuple(Server(name, tls="off") for name in servers),
            limits=limits or PoolLimits(), timeout=timeout, **more,
        )
        self.relay = Relay(evolve(plan, stranger=evolve(plan.stranger, tls="off")), self.network, self.store,
                           self.exchangers)
        self._number = 0

    def serve(self, name: str, script: Script | None = None) -> HostileFactory:
        """A server of that name."""
        self.peers[name] = self.network.servers[name, 25] = HostileFactory(self.network, script or {})
        return self.peers[name]

    def begin(self, *recipients: str, content: bytes = b"Subject: x\r\n\r\nbody\r\n", sender: str = "a@us.example",
              destination: str = "", wishes: Wishes | None = None, origin: str = "{}") -> Deferred[dict[int, Outcome]]:
        """Start an attempt for one message; deliveries are numbered from 1."""
        self._number += 1
        message = Message(self._number, f"{self._number:020x}", sender, origin, 0.0, Content.of(content))
        deliveries = [
            Delivery(number, message.id, recipient, 7, 0, 1, wishes or Wishes())
            for number, recipient in enumerate(recipients or ("b@there.example",), 1)
        ]
        lane = Lane(7, self.relay.name, destination, LaneState.OPEN, "", 0.0, None, 0)
        attempt = self.relay.attempt(message, deliveries, lane)
        self.network.settle()
        return attempt

    def send(self, *recipients: str, **more: Any) -> dict[int, Outcome]:
        """An attempt that ends within two seconds (connections are given up in steps of 0.3): its outcomes."""
        attempt = self.begin(*recipients, **more)
        for _ in range(6 if not attempt.called else 0):
            self.network.advance(0.35)
        return result(attempt)


def result(attempt: Deferred[dict[int, Outcome]]) -> dict[int, Outcome]:
    """What an attempt that is over came to."""
    found: list[Any] = []
    attempt.addBoth(found.append)
    assert found, "the attempt is not over"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    outcomes: dict[int, Outcome] = found[0]
    return outcomes
