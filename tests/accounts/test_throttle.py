"""Guessing gets slow; owners elsewhere notice nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.throttle import Throttle, source_of


class ThrottleTests(SynchronousTestCase):
    """Wrong passwords over time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock.seconds)

    def fail(self, times: int, peer: str = "192.0.2.1", user: str = "bonnie") -> None:  # type: ignore[override]
        for _ in range(times):
            self.throttle.failed(peer, user)

    def test_five_are_free(self) -> None:
        """Four wrong passwords cost nothing; from the fifth on each doubles the delay, up to a quarter of an hour."""
        self.fail(4)
        self.assertEqual(0, self.throttle.blocked("192.0.2.1", "bonnie"))
        delays = []
        for _ in range(12):
            self.fail(1)
            delays.append(self.throttle.blocked("192.0.2.1", "bonnie"))
            self.clock.advance(delays[-1])
        self.assertEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900], delays)
        self.assertEqual(0, self.throttle.blocked("192.0.2.1", "bonnie"))

    def test_owner_elsewhere(self) -> None:
        """A thousand wrong passwords from one address do not keep the owner out at another."""
        self.fail(1000)
        self.assertEqual(0, self.throttle.blocked("192.0.2.2", "bonnie"))

    def test_many_names_from_one_address(self) -> None:
        """Trying one password with each of many names blocks the address after twenty."""
        for number in range(19):
            self.fail(1, user=f"user{number}")
        self.assertEqual(0, self.throttle.blocked("192.0.2.1", "somebody"))
        self.fail(1, user="another")
        self.assertEqual(1, self.throttle.blocked("192.0.2.1", "somebody"))

    def test_address_is_forgiven(self) -> None:
        """An office with a mistyped password now and then is never blocked as a whole."""
        for number in range(200):
            self.fail(1, user=f"user{number}")
            self.clock.advance(301)
        self.assertEqual(0, self.throttle.blocked("192.0.2.1", "bonnie"))

    def test_right_password(self) -> None:
        """The right password clears what the user got wrong there, but not what the address did to others."""
        self.fail(4)
        self.fail(16, user="clyde")
        self.throttle.succeeded("192.0.2.1", "bonnie")
        self.clock.advance(3)
        self.fail(1)
        self.assertEqual(2, round(self.throttle.blocked("192.0.2.1", "bonnie")))  # the address's 21st, not the pair's

    def test_forgotten_after_a_day(self) -> None:
        """Yesterday's failures do not count today."""
        self.fail(30)
        self.clock.advance(86_401)
        self.fail(1)
        self.assertEqual(0, self.throttle.blocked("192.0.2.1", "bonnie"))

    def test_loopback_is_gentle(self) -> None:
        """On this machine a guesser waits ten seconds at most, and other users are not blocked at all."""
        for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            self.fail(100, peer)
            self.assertEqual(10, self.throttle.blocked(peer, "bonnie"))
            self.assertEqual(0, self.throttle.blocked(peer, "clyde"))

    def test_ipv6_counts_by_network(self) -> None:
        """All addresses of one /64 are one guesser, the neighbouring /64 is another."""
        for number in range(1, 11):
            self.fail(1, f"2001:db8::{number:x}")
        self.assertLess(0, self.throttle.blocked("2001:db8::ffff", "bonnie"))
        self.assertEqual(0, self.throttle.blocked("2001:db8:0:1::1", "bonnie"))

    def test_memory_is_bounded(self) -> None:
        """A guesser with endless names and addresses cannot fill the memory."""
        throttle = Throttle(self.clock.seconds, largest=50)
        for number in range(1000):
            throttle.failed(f"192.0.{number % 250}.1", f"user{number}")
        self.assertEqual(100, len(throttle))

    def test_sources(self) -> None:
        """Mapped addresses are IPv4, zones are ignored, what is no address counts as it is."""
        for peer, key in (("::ffff:192.0.2.9", "192.0.2.9"), ("fe80::1%eth0", "fe80000000000000"),
                          ("", ""), ("unix", "unix")):
            self.assertEqual(key, source_of(peer).key)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=3), st.floats(0, 1e6)), max_size=20))
    def test_delays_stay_in_bounds(self, events: list[tuple[str, str, float]]) -> None:
        """Whatever happens, a delay is between nothing and a quarter of an hour."""
        for peer, user, passed in events:
            self.throttle.failed(peer, user)
            self.assertTrue(0 <= self.throttle.blocked(peer, user) <= 900)
            self.clock.advance(passed)
