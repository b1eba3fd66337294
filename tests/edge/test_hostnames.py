"""Host names on client lists: looked up forward, again and again, and kept when the look-up fails."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.hostnames import AT_ONCE, PATIENCE, REFRESH, HostNames
from mailbridge.routing.clients import Hosts


class Resolver:
    """Knows the addresses in `names`; with `slow` it keeps questions until `answer` is called."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.slow = False
        self._open: dict[str, Any] = {}

    def resolveHostName(self, receiver: Any, name: str, *_: object) -> Any:
        """Asked for a name."""
        self.asked.append(name)
        if name == "cannot-be-asked":
            raise UnicodeError(name)
        receiver.resolutionBegan(self)
        self._open[name] = receiver
        if not self.slow:
            self.answer(name)
        return self

    def answer(self, name: str) -> None:
        """Answer a question."""
        receiver = self._open.pop(name)
        for address in self.names.get(name, ()):
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


class HostNamesTests(SynchronousTestCase):
    """Names of one configuration."""

    def setUp(self) -> None:
        """A resolver, a clock, and what was published."""
        self.resolver, self.clock = Resolver(), Clock()
        self.published: list[Hosts] = []
        self.names = HostNames(self.resolver, self.clock, self.published.append)  # type: ignore[arg-type]
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)
        self.addCleanup(self.names.stop)

    def _observe(self, event: Any) -> None:
        if event.get("log_namespace", "").endswith("HostNames"):
            self.warnings.append(f"{event['log_level'].name}: {event['log_format'].format(**event)}")

    def test_first_look_up(self) -> None:
        """All names are looked up at once, in all address families; an IPv4 address has one spelling."""
        self.resolver.names = {"syscae": ["192.0.2.1", "2001:db8:0::1"], "mapped": ["::ffff:192.0.2.9"]}
        self.successResultOf(self.names.follow(["syscae", "mapped"]))
        self.assertEqual(dict(self.published[-1]), {
            "syscae": frozenset({"192.0.2.1", "2001:db8::1"}), "mapped": frozenset({"192.0.2.9"}),
        })

    def test_refresh(self) -> None:
        """Every five minutes the names are looked up again; only a change is published."""
        self.resolver.names = {"a": ["192.0.2.1"]}
        self.names.follow(["a"])
        self.clock.advance(REFRESH)
        self.assertEqual((self.resolver.asked, len(self.published)), (["a", "a"], 1))
        self.resolver.names = {"a": ["192.0.2.2"]}
        self.clock.advance(REFRESH)
        self.assertEqual(dict(self.published[-1]), {"a": frozenset({"192.0.2.2"})})

    def test_last_good_answer(self) -> None:
        """While a look-up fails the last answer stays; the log has one warning, and one line when all is well again."""
        self.resolver.names = {"a": ["192.0.2.1"]}
        self.names.follow(["a"])
        self.resolver.names = {}
        self.clock.pump([REFRESH] * 3)
        self.assertEqual(dict(self.names.hosts), {"a": frozenset({"192.0.2.1"})})
        self.assertEqual(self.warnings, ["warn: client lists: no address found for a; its last addresses stay in use"])
        self.resolver.names = {"a": ["192.0.2.1"]}
        self.clock.advance(REFRESH)
        self.assertEqual(self.warnings[1:], ["info: client lists: a was found again"])

    def test_unknown(self) -> None:
        """A name without an address matches nobody; the log says so."""
        self.names.follow(["nowhere", "cannot-be-asked"])
        self.assertEqual(dict(self.published[-1]), {"nowhere": frozenset(), "cannot-be-asked": frozenset()})
        self.assertEqual(self.warnings, [
            f"warn: client lists: no address found for {name}; it matches no client"
            for name in ("cannot-be-asked", "nowhere")
        ])

    def test_reload(self) -> None:
        """A reload forgets names that are gone and looks up all others at once."""
        self.resolver.names = {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}
        self.names.follow(["a"])
        self.resolver.names["b"] = ["192.0.2.3"]
        self.names.follow(["b"])
        self.assertEqual(dict(self.published[-1]), {"b": frozenset({"192.0.2.3"})})
        self.names.follow([])
        self.assertEqual((dict(self.published[-1]), self.clock.getDelayedCalls()), ({}, []))

    def test_no_answer(self) -> None:
        """A question without an answer counts as failed after a while, is not asked twice, and may be answered late."""
        self.resolver.slow = True
        self.resolver.names = {"a": ["192.0.2.1"]}
        told = self.names.follow(["a"])
        self.assertNoResult(told)
        self.assertEqual(self.published, [])
        self.clock.advance(PATIENCE)
        self.successResultOf(told)
        self.assertEqual(dict(self.published[-1]), {"a": frozenset()})
        self.clock.advance(REFRESH)
        self.assertEqual(self.resolver.asked, ["a"])
        self.resolver.answer("a")
        self.assertEqual(dict(self.published[-1]), {"a": frozenset({"192.0.2.1"})})

    def test_few_at_once(self) -> None:
        """However many names there are, only a few are asked for at a time, so that others find a thread free."""
        self.resolver.slow = True
        names = [f"host{number:02}" for number in range(20)]
        told = self.names.follow(names)
        self.assertEqual(self.resolver.asked, names[:AT_ONCE])
        for name in names:
            self.resolver.answer(name)
        self.assertEqual(self.resolver.asked, names)
        self.successResultOf(told)

    def test_many(self) -> None:
        """A thousand names that are all answered at once are no problem."""
        self.successResultOf(self.names.follow(f"host{number}" for number in range(1000)))
        self.assertEqual(len(self.names.hosts), 1000)

    def test_forgotten_while_asked(self) -> None:
        """An answer about a name that a reload has removed is not taken; nor is any after the end."""
        self.resolver.slow = True
        self.names.follow(["a", "b"])
        self.names.follow(["b"])
        self.resolver.answer("a")
        self.names.stop()
        self.resolver.answer("b")
        self.assertEqual((self.published, self.clock.getDelayedCalls()), ([], []))
