"""Several things under way."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.hand import Hand


class HandTests(SynchronousTestCase):
    """By hand."""

    def test_bounded(self) -> None:
        """Whoever waits for room goes on when enough has ended, well or badly."""
        failures: list[Failure] = []
        hand = Hand(failures.append)
        waits: list[Deferred[None]] = [Deferred() for _ in range(3)]

        async def work(on: Deferred[None]) -> None:
            await on

        for on in waits:
            hand.begin(work(on))
        self.successResultOf(Deferred.fromCoroutine(hand.below(4)))
        room = Deferred.fromCoroutine(hand.below(2))
        waits[0].callback(None)
        self.assertNoResult(room)
        waits[1].errback(ValueError("x"))
        self.successResultOf(room)
        self.assertEqual([each.type for each in failures], [ValueError])
        waits[2].callback(None)
        self.successResultOf(Deferred.fromCoroutine(hand.below(1)))
