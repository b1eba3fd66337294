"""The pool: places, kept sessions, and when they go."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.target import pool
from mailbridge.target.pool import Pool, PoolLimits


class Session:
    """A session that does as it is told."""

    def __init__(self, transactions: int = 1) -> None:
        self.transactions = transactions
        self.usable = True
        self.ended = ""
        self.leaving: Deferred[None] | None = None

    async def quit(self) -> None:
        """Say goodbye."""
        self.ended = "quit"
        if self.leaving is not None:
            await self.leaving

    def close(self) -> None:
        """Close."""
        self.ended = "closed"


class PoolTests(SynchronousTestCase):
    """One pool."""

    def make(self, *limits: Any) -> Pool:
        """A pool with a clock."""
        self.clock = Clock()
        return Pool(self.clock, PoolLimits(*limits))

    def test_places(self) -> None:
        """Who comes too late for a place waits for its turn, or gives up waiting."""
        made = self.make(2)
        self.assertEqual([made.enter("a"), made.enter("a"), made.enter("b")], [None, None, None])
        first, second, third = made.enter("a"), made.enter("a"), made.enter("a")
        assert first is not None and second is not None and third is not None
        second.cancel()
        self.failureResultOf(second, CancelledError)
        made.leave("a")
        self.successResultOf(first)
        self.assertNoResult(third)
        made.leave("a")
        self.successResultOf(third)
        made.leave("a")
        made.leave("a")
        self.assertIsNone(made.enter("a"))

    def test_last_used_first(self) -> None:
        """The session that was in use last is the next; those that died are passed over."""
        made = self.make()
        sessions = [Session() for _ in range(3)]
        for session in sessions:
            made.keep("a", session)
        sessions[2].usable = False
        self.assertIsNone(made.take("b"))
        self.assertIs(made.take("a"), sessions[1])
        self.assertEqual(sessions[2].ended, "closed")
        self.assertEqual(len(made), 1)

    def test_not_kept(self) -> None:
        """Worn out, dead, not wanted or too many: such a session goes at once."""
        made = self.make(10, 5)
        worn, dead = Session(5), Session()
        dead.usable = False
        made.keep("a", worn)
        made.keep("a", dead)
        self.assertEqual((worn.ended, dead.ended, len(made)), ("quit", "closed", 0))
        for number in range(pool.MOST_KEPT + 1):
            session = Session()
            made.keep(str(number), session)
        self.assertEqual((session.ended, len(made)), ("quit", pool.MOST_KEPT))
        never, session = self.make(10, 5, 0), Session()
        never.keep("a", session)
        self.assertEqual(session.ended, "quit")

    def test_idle(self) -> None:
        """Idle sessions go after their time, dead ones at the next sweep, and then the sweep ends."""
        made = self.make(10, 100, 10)
        early, late, dead = Session(), Session(), Session()
        made.keep("a", early)
        made.keep("b", dead)
        dead.usable = False
        self.clock.advance(5)
        made.keep("a", late)
        self.assertEqual(dead.ended, "quit")
        self.clock.pump([1] * 6)
        self.assertEqual((early.ended, late.ended), ("quit", ""))
        self.clock.pump([1] * 6)
        self.assertEqual((late.ended, len(made)), ("quit", 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """At the end all say goodbye, and those in use when they come back."""
        made = self.make()
        kept, used = Session(), Session()
        kept.leaving = Deferred()
        made.keep("a", kept)
        closed = made.close()
        self.assertNoResult(closed)
        kept.leaving.callback(None)
        self.successResultOf(closed)
        made.keep("a", used)
        self.assertEqual((kept.ended, used.ended), ("quit", "quit"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
