"""Which hosts take a domain's mail: order, fallbacks, loops, bounded answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.queue.verdict import Trouble
from mailbridge.target.mx import MOST_HOSTS, MOST_KEPT, MailExchangers, NoHosts
from tests.target.relay_world import Names

US, OURS = "us.example", ("127.0.0.1", "192.0.2.1", "2001:db8::1")


class World:
    """A name server and who asks it; equals come in reverse."""

    def __init__(self) -> None:
        self.names, self.clock = Names(), Clock()
        self.exchangers = MailExchangers(self.names, self.clock, lambda hosts: hosts.reverse(), [US], OURS)

    def ask(self, domain: str) -> Any:
        """Hosts, or what went wrong."""
        found: list[Any] = []
        asking = Deferred.fromCoroutine(self.exchangers.hosts(domain))
        asking.addCallbacks(found.append, lambda failure: found.append(failure.value))
        answer = found[0] if found else None
        return answer.trouble if isinstance(answer, NoHosts) else answer


class AnswerTests(SynchronousTestCase):
    """One look-up."""

    def test_order(self) -> None:
        """The lowest number first, equals in the order that chance gives them, in lower case without the last dot."""
        world = World()
        world.names.mx("d.example", (20, "C.example"), (10, "a.example"), (10, "b.example"), (10, "a.example"))
        self.assertEqual(world.ask("d.example"), ["b.example", "a.example", "c.example"])
        self.assertEqual(world.ask("D.Example."), ["b.example", "a.example", "c.example"])

    def test_null_mx(self) -> None:
        """A domain that says it takes no mail is believed, but not when it names hosts as well."""
        world = World()
        world.names.null_mx("d.example")
        self.assertEqual(world.ask("d.example"), Trouble.NULL_MX)
        world.names.mx("e.example", (10, "a.example"))
        world.names.table["MX", "e.example"].append((dns.Record_MX(0, b"", 300), 300))
        self.assertEqual(world.ask("e.example"), ["a.example"])

    def test_without_mx(self) -> None:
        """A domain without MX takes mail at its address, of either kind."""
        world = World()
        world.names.a("four.example", "203.0.113.4")
        world.names.aaaa("six.example", "2001:db8::6")
        self.assertEqual(world.ask("four.example"), ["four.example"])
        self.assertEqual(world.ask("six.example"), ["six.example"])
        self.assertEqual(world.ask("none.example"), Trouble.NO_DOMAIN)
        world.names.a("half.example", "203.0.113.4")
        world.names.table["AAAA", "half.example"] = DNSServerError()
        self.assertEqual(world.ask("half.example"), ["half.example"])

    def test_no_such_domain(self) -> None:
        """NXDOMAIN, for the MX or for everything, is for good."""
        world = World()
        for kind in ("MX", "A", "AAAA"):
            world.names.table[kind, "gone.example"] = DNSNameError()
        self.assertEqual(world.ask("gone.example"), Trouble.NO_DOMAIN)
        for domain in ("a..b", "", "x" * 300, "-" * 64 + ".example", "a b.example", "\u2603" * 80):
            self.assertEqual(world.ask(domain), Trouble.NO_DOMAIN, domain)

    def test_name_server_fails(self) -> None:
        """A name server that fails or is silent says nothing about the domain."""
        for error in (DNSServerError(), DNSQueryTimeoutError(1)):
            world = World()
            world.names.table["MX", "d.example"] = error
            self.assertIs(world.ask("d.example"), error)
            world.names.table.clear()
            world.names.table["A", "d.example"] = error
            self.assertIs(world.ask("d.example"), error)
            world.names.mx("d.example", (10, "a.example"))
            self.assertEqual(world.ask("d.example"), ["a.example"])

    def test_literals(self) -> None:
        """An address in brackets is its own host, unless it is ours."""
        world = World()
        for domain, expected in [
            ("[203.0.113.4]", ["203.0.113.4"]), ("[IPv6:2001:db8::5]", ["2001:db8::5"]), ("[192.0.2.1]", Trouble.LOOP),
            ("[IPv6:2001:DB8::1]", Trouble.LOOP), ("[IPv6:::ffff:192.0.2.1]", Trouble.LOOP),
            ("[x]", Trouble.NO_DOMAIN),
        ]:
            self.assertEqual(world.ask(domain), expected, domain)
        self.assertEqual(world.names.asked, [])

    def test_international(self) -> None:
        """A UTF-8 domain is asked for in ASCII."""
        world = World()
        world.names.mx("xn--bcher-kva.example", (10, "a.example"))
        self.assertEqual(world.ask("bücher.example"), ["a.example"])


class LoopTests(SynchronousTestCase):
    """Ourselves."""

    def test_by_name(self) -> None:
        """Hosts that are no better than we are are left out."""
        world = World()
        world.names.mx("d.example", (10, "a.example"), (20, "US.example."), (20, "b.example"), (30, "c.example"))
        self.assertEqual(world.ask("d.example"), ["a.example"])

    def test_by_address(self) -> None:
        """A host with one of our addresses is ourselves, whatever it is called."""
        for name, addresses in (("a", ("203.0.113.4", "192.0.2.1")), ("aaaa", ("2001:db8::1",))):
            world = World()
            world.names.mx("d.example", (10, "a.example"), (20, "alias.example"))
            getattr(world.names, name)("alias.example", *addresses)
            self.assertEqual(world.ask("d.example"), ["a.example"])

    def test_nobody_better(self) -> None:
        """When we are the best host, mail would go round in a circle."""
        world = World()
        world.names.mx("d.example", (10, US), (20, "b.example"))
        self.assertEqual(world.ask("d.example"), Trouble.LOOP)
        world.names.a("e.example", "127.0.0.1")
        self.assertEqual(world.ask("e.example"), Trouble.LOOP)


class KeptTests(SynchronousTestCase):
    """Answers that are kept."""

    def test_time_to_live(self) -> None:
        """An answer is kept for its time to live, ten minutes at the most, and a moment at least."""
        for ttl, kept in ((60, 60), (86400, 600), (0, 5)):
            world = World()
            world.names.mx("d.example", (10, "a.example"), ttl=ttl)
            world.ask("d.example")
            asked = world.names.asked.count(("MX", "d.example"))
            world.clock.advance(kept - 1)
            world.ask("d.example")
            self.assertEqual(world.names.asked.count(("MX", "d.example")), asked)
            world.clock.advance(2)
            world.ask("d.example")
            self.assertEqual(world.names.asked.count(("MX", "d.example")), asked + 1)

    def test_bounded(self) -> None:
        """However many domains there are, only so many answers are kept."""
        world = World()
        for number in range(MOST_KEPT + 50):
            world.ask(f"d{number}.example")
        self.assertEqual(len(world.exchangers._kept), MOST_KEPT)

    def test_many_hosts(self) -> None:
        """Of a domain with very many hosts, the best ones are used."""
        world = World()
        world.names.mx("d.example", *((number, f"h{number}.example") for number in range(200)))
        self.assertEqual(world.ask("d.example"), [f"h{number}.example" for number in range(MOST_HOSTS)])


class PropertyTests(SynchronousTestCase):
    """Whatever name servers say."""

    hosts = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(
        ["a.example", "b.example", "C.example", US, "alias.example", "127.0.0.1"])), max_size=8)
    names = st.binary(max_size=70)

    @property_settings(deadline=None)
    @given(hosts, st.lists(st.tuples(st.integers(0, 65535), names), max_size=3))
    def test_any_answer(self, hosts: list[tuple[int, str]], odd: list[tuple[int, bytes]]) -> None:
        """The hosts are sound names, each once, sorted, never ourselves nor worse than ourselves."""
        world = World()
        world.names.a("alias.example", "192.0.2.1")
        world.names.mx("d.example", *hosts)
        world.names.table["MX", "d.example"] += [(dns.Record_MX(number, name, 1), 1) for number, name in odd]
        found = world.ask("d.example")
        ours = min((preference for preference, host in hosts if host in (US, "alias.example")), default=70000)
        if isinstance(found, Trouble):
            return
        best = {}
        for preference, host in sorted(hosts, reverse=True):
            best[host.lower()] = preference
        known = [host for host in found if host in best]
        self.assertEqual(len(found), len(set(found)))
        self.assertTrue(all(best[host] < ours for host in known))
        self.assertEqual([best[host] for host in known], sorted(best[host] for host in known))
        for host in found:
            self.assertRegex(host, r"\A[a-z0-9._-]+\Z")
