"""The queue at work on the store it will have: threads, commits that take their time, a restart."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.queue.runner import Runner
from mailbridge.queue.schedule import Schedule
from mailbridge.store.changes import Accept, Queued
from mailbridge.store.check import check_store
from tests.queue.world import DOWN, LATER, LOGIN, NEVER, OK, FakeBounce, FakeRouter, FakeTarget, made
from tests.store.test_sqlite import OpenStore


class OnDiskTests(OpenStore, SynchronousTestCase):
    """Runner and SQLiteStore."""

    def runner(self):
        """A queue on the open store."""
        return Runner(self.store, FakeRouter(), {"relay:office": self.target}, self.bounce, self.clock, lambda: 0.5,
                      "me", Schedule(retry=10.0, longest=20.0, pause=10.0))

    def test_nothing_lost_nothing_twice(self):
        """Each recipient gets each message once or a bounce, through failures, pauses and restarts."""
        self.open(min_free=0)
        self.bounce, self.target = FakeBounce(), FakeTarget(self.clock, allowed=3)
        delivered, good = [], False
        turn = iter(range(10**6))

        def answer(message, deliveries, lane):
            outcomes = {}
            for each in deliveries:
                outcomes[each.id] = OK if good else (OK, LATER, OK, DOWN, OK, LOGIN, OK, NEVER)[next(turn) % 8]
                if outcomes[each.id] in (OK, NEVER):
                    delivered.append((message.queue_id, each.recipient))
            return outcomes

        self.target.answer = answer
        to = ("a@x", "b@y", "c@x")
        for number in range(60):
            self.wait(self.store.commit(Accept(made(f"m{number}", time=self.clock.seconds()), (), tuple(
                Queued(recipient, "relay:office", recipient[2:]) for recipient in to))))
        for last in (False, False, True):
            good = last
            runner = self.runner()
            runner.start()
            for _ in range(60):
                self.clock.advance(5)
                while self.clock.turn(0.01):
                    self.clock.advance(0)
            self.wait(runner.stop())
            now = self.clock.rightNow
            self.reopen(min_free=0)
            self.clock.rightNow = now
        waiting = [lane.waiting for lane in self.wait(self.store.lanes()) if lane.target == "relay:office"]
        self.assertEqual(waiting, [0, 0])
        self.assertEqual(sorted(delivered), sorted((f"m{number}", recipient) for number in range(60)
                                                   for recipient in to))
        self.assertTrue(any(kind == "failed" for kind, _, _ in self.bounce.told))
        self.settle()
        self.assertEqual(check_store(Path(self.folder) / "mail.db"), [])
