"""A target that waits for a connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailbridge.interfaces import ITarget
from mailbridge.outcome import Delivered, TransientFailure
from mailbridge.target.gated import Gated


@implementer(ITarget)
class Delivers:
    """Delivers everything."""

    name = "relay:isp"

    def concurrency(self, lane: Any) -> int:
        return 7

    def attempt(self, message: Any, deliveries: Any, lane: Any) -> Deferred[Any]:
        return succeed({delivery.id: Delivered() for delivery in deliveries})


class One:
    """A delivery."""

    id = 5


class GatedTests(SynchronousTestCase):
    """Gated."""

    def test_waits(self) -> None:
        """Without the connection nothing is tried and the lane waits as a whole; with it everything goes on."""
        is_open = False
        target = Gated(Delivers(), lambda: is_open)
        verifyObject(ITarget, target)
        self.assertEqual((target.name, target.concurrency(None)), ("relay:isp", 7))  # type: ignore[arg-type]
        outcome = self.successResultOf(target.attempt(None, [One()], None))[5]  # type: ignore[arg-type, list-item]
        assert isinstance(outcome, TransientFailure)
        self.assertTrue(outcome.unreachable)
        self.assertIn("waits for the connection", str(outcome.reply))
        is_open = True
        outcomes = self.successResultOf(target.attempt(None, [One()], None))  # type: ignore[arg-type, list-item]
        self.assertEqual(outcomes, {5: Delivered()})
