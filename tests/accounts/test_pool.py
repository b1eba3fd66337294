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
        """Work runs in other threads, no more waits than the queue takes, and errors come back."""
        pool = BoundedPool(reactor, threads=2, queue=1)  # type: ignore[arg-type]
        self.addCleanup(pool.stop)
        go = threading.Event()
        here = threading.get_ident()

        def work() -> int:
            go.wait(10)
            return threading.get_ident()

        running = [pool.run(work, "192.0.2.1") for _ in range(3)]
        with self.assertRaises(PoolFull):
            await pool.run(work, "192.0.2.1")
        go.set()
        for ident in await gatherResults(running):
            self.assertNotEqual(here, ident)
        with self.assertRaises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0, "192.0.2.1")

    async def test_a_guesser_and_the_owner(self) -> None:
        """Five addresses that fill every place neither keep the owner out nor hold the owner up."""
        pool = BoundedPool(reactor, threads=1, queue=64)  # type: ignore[arg-type]
        self.addCleanup(pool.stop)
        go = threading.Event()
        begun: list[str] = []

        def work(who: str) -> str:
            go.wait(10)
            begun.append(who)
            return who

        for number in range(100):
            guess = pool.run(lambda: work("guesser"), f"192.0.2.{number % 5}", b"%d" % number)
            guess.addErrback(lambda failure: failure.trap(PoolFull))
        owner = pool.run(lambda: work("owner"), "198.51.100.7", b"bonnie")
        go.set()
        self.assertEqual(await owner, "owner")
        self.assertLessEqual(begun.index("owner"), 6)

    async def test_stop_while_work_waits(self) -> None:
        """At the end what runs is finished, and what waits is told that it will not be done."""
        pool = BoundedPool(reactor, threads=1)  # type: ignore[arg-type]
        go = threading.Event()
        running, waiting = (pool.run(lambda: go.wait(10), "192.0.2.1") for _ in range(2))
        go.set()
        pool.stop()
        with self.assertRaises(PoolFull):
            await waiting
        self.assertTrue(await running)

    def test_stop_without_work(self) -> None:
        """A pool that was never needed has no threads to stop."""
        BoundedPool(reactor).stop()  # type: ignore[arg-type]
