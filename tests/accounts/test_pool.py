"""Slow work beside the reactor."""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from mailbridge.accounts.pool import BoundedPool, PoolFull


class BoundedPoolTests(TestCase):
    """With real threads."""

    async def test_runs_elsewhere_and_stays_bounded(self) -> None:
        """Work runs in other threads, no more than the queue takes, and errors come back."""
        pool = BoundedPool(reactor, threads=2, queue=3)  # type: ignore[arg-type]
        self.addCleanup(pool.stop)
        go = threading.Event()
        here = threading.get_ident()

        def work() -> int:
            go.wait(10)
            return threading.get_ident()

        running = [pool.run(work) for _ in range(3)]
        with self.assertRaises(PoolFull):
            pool.run(work)
        go.set()
        for ident in await gatherResults(running):
            self.assertNotEqual(here, ident)
        with self.assertRaises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)

    def test_stop_without_work(self) -> None:
        """A pool that was never needed has no threads to stop."""
        BoundedPool(reactor).stop()  # type: ignore[arg-type]
