"""The count of sessions, the sweep and the orderly end, for any protocol."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.session import Session, Sessions, client_key
from mailbridge.limits import Limits


class Plain(Session):
    """A session that notes what is asked of it."""

    def __init__(self, peer: str = "192.0.2.1", fails: bool = False) -> None:
        self.peer = peer
        self.expired = 0
        self.asked = 0
        self._fails = fails

    def expire(self) -> None:
        self.expired += 1
        if self._fails:
            raise ZeroDivisionError

    def shut_down(self) -> None:
        self.asked += 1
        if self._fails:
            raise ZeroDivisionError


class SessionsTests(SynchronousTestCase):
    """Sessions of all listeners together."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = Sessions(self.clock, Limits(connections=4, connections_per_client=2))

    def test_counts(self) -> None:
        """Per client and in all; leaving twice, or never having been admitted, does no harm."""
        first, second, third = Plain(), Plain(), Plain()
        self.assertTrue(self.sessions.admit(first) and self.sessions.admit(second))
        self.assertFalse(self.sessions.admit(third))
        self.sessions.leave(third)
        self.assertEqual(len(self.sessions), 2)
        self.sessions.leave(first)
        self.sessions.leave(first)
        self.assertTrue(self.sessions.admit(third))
        self.assertTrue(self.sessions.admit(Plain("192.0.2.2")))
        self.assertTrue(self.sessions.admit(Plain("192.0.2.3")))
        self.assertFalse(self.sessions.admit(Plain("192.0.2.4")))

    def test_one_client(self) -> None:
        """An IPv6 customer counts by the /64; IPv4 inside IPv6 counts as IPv4."""
        for peer, key in [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
                          ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), ("", "")]:
            self.assertEqual(client_key(peer), key)

    def test_sweep(self) -> None:
        """Sessions past their deadline are told, one that fails at it does not save the others."""
        self.sessions.start()
        bad, good, later = Plain(fails=True), Plain(), Plain("192.0.2.2")
        bad.deadline, good.deadline, later.deadline = 0.5, 0.5, 10
        for session in (bad, good, later):
            self.sessions.admit(session)
        self.clock.advance(1)
        self.assertEqual((bad.expired, good.expired, later.expired), (1, 1, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.pump([1] * 10)
        self.assertEqual(later.expired, 1)
        self.flushLoggedErrors(ZeroDivisionError)
        self.sessions.stop()
        self.sessions.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_goodbye(self) -> None:
        """Every session is asked to end, also after one that fails; it is over when the last has gone."""
        bad, good = Plain(fails=True), Plain()
        self.sessions.admit(bad)
        self.sessions.admit(good)
        over = self.sessions.goodbye()
        self.assertEqual((bad.asked, good.asked), (1, 1))
        again = self.sessions.goodbye()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.sessions.leave(bad)
        self.assertNoResult(over)
        self.sessions.leave(good)
        self.successResultOf(over)
        self.successResultOf(again)
        self.assertFalse(self.sessions.admit(Plain("192.0.2.9")))
