"""Which messages may become jobs: expiry, daily limits; and the numbers of jobs."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.store.memory import MemoryStore
from mailbridge.target.jobnumbers import BLOCK, JobNumbers
from mailbridge.target.jobwork import Publish
from tests.target.job_world import LANE, JobWorld

DAY = 86400.0


class AdmissionTests(SynchronousTestCase):
    """With an application."""

    def world(self, **plan: object) -> JobWorld:
        """One with these settings."""
        folder = Path(self.mktemp())
        folder.mkdir()
        return JobWorld(folder, **plan)

    def refusal(self, outcome: Outcome) -> str:
        """Its words."""
        self.assertIsInstance(outcome, PermanentFailure)
        return str(outcome.reply)  # type: ignore[union-attr]

    def test_expiry(self) -> None:
        """A message that has become too old is no job any more, and its sender hears why."""
        world = self.world(expiry=7200.0)
        self.assertIsInstance(world.attempt(), Delivered)
        message, deliveries = world.message()
        world.clock.advance(7201.0)
        outcomes = world.result(world.target.attempt(message, deliveries, LANE))
        words = self.refusal(outcomes[deliveries[0].id])
        self.assertIn("550 5.4.7", words)
        self.assertIn("after 2 hours", words)

    def test_expiry_while_nothing_can_be_written(self) -> None:
        """The sender of a message that is too old hears of it also while the folder is missing from the start on."""
        world = self.world(expiry=60.0)
        world.folder.rmdir()
        message, deliveries = world.message()
        for seconds, kind in ((30.0, RouteFailure), (31.0, PermanentFailure)):
            world.clock.advance(seconds)
            outcomes = world.result(world.target.attempt(message, deliveries, LANE))
            self.assertIsInstance(outcomes[deliveries[0].id], kind)

    def test_staged_does_not_expire(self) -> None:
        """A job that was written in time is published, however long the bridge was down."""
        world = self.world(expiry=60.0)
        world.cut = lambda request: "before" if isinstance(request, Publish) else ""
        world.start()
        message, deliveries = world.message()
        world.target.attempt(message, deliveries, LANE)
        world.clock.advance(DAY)
        world.cut = lambda request: ""
        world.start()
        outcomes = world.result(world.target.attempt(message, world.again(deliveries), LANE))
        self.assertIsInstance(outcomes[deliveries[0].id], Delivered)

    def test_daily_limit(self) -> None:
        """A sender may send so many a day; another has his own count, and a new day (UTC) begins at none."""
        world = self.world(daily_limit=3)
        kinds = [type(world.attempt(sender=sender)) for sender in ("A@b.example", "a@b.example", "a@B.example",
                                                                   "a@b.example", "c@b.example")]
        self.assertEqual(kinds, [Delivered] * 3 + [PermanentFailure, Delivered])
        self.assertIn("You may send 3 messages a day to sms", self.refusal(world.attempt(sender="a@b.example")))
        world.clock.advance(DAY)
        self.assertIsInstance(world.attempt(sender="a@b.example"), Delivered)

    def test_limit_over_a_restart(self) -> None:
        """The count outlives the bridge, and counts of past days are removed."""
        world = self.world(daily_limit=2)
        world.attempt(sender="a@b.example")
        world.start()
        kinds = [type(world.attempt(sender="a@b.example")) for _ in range(2)]
        self.assertEqual(kinds, [Delivered, PermanentFailure])
        world.clock.advance(DAY)
        world.attempt(sender="x@b.example")
        kept = self.successResultOf(world.store.remembered("daily:", "", 10))
        self.assertEqual([key.rpartition(":")[2] for key in kept], ["x@b.example"])

    def test_only_jobs_count(self) -> None:
        """What did not become a job does not count."""
        world = self.world(daily_limit=1)
        for text in (b"Subject: x\r\n\r\nREFUSE\r\n", b"Subject: x\r\n\r\nCRASH\r\n"):
            world.attempt(text, sender="a@b.example")
        self.assertIsInstance(world.attempt(sender="a@b.example"), Delivered)

    def test_limit_at_once(self) -> None:
        """Many recipients of one message share the limit."""
        world = self.world(daily_limit=5)
        message, deliveries = world.message(recipients=[f"{n}@sms" for n in range(9)], sender="a@b.example")
        outcomes = world.result(world.target.attempt(message, deliveries, LANE))
        kinds = [type(outcome) for outcome in outcomes.values()]
        self.assertEqual((kinds.count(Delivered), kinds.count(PermanentFailure)), (5, 4))


class JobNumbersTests(SynchronousTestCase):
    """The counter."""

    def take(self, numbers: JobNumbers) -> int:
        """One."""
        return self.successResultOf(Deferred.fromCoroutine(numbers.take()))

    def test_numbers(self) -> None:
        """Numbers go up from the configured start and are never given twice, also over a restart."""
        store = MemoryStore(Clock())
        numbers = JobNumbers(store, 43)
        taken = [self.take(numbers) for _ in range(BLOCK + 5)]
        self.assertEqual(taken, list(range(43, 43 + BLOCK + 5)))
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(numbers.following())), 43 + BLOCK + 5)
        self.assertEqual(self.take(JobNumbers(store, 1)), 43 + 2 * BLOCK)

    def test_all_who_wait(self) -> None:
        """Many who ask at once share the next block; when the store fails each hears of it and may ask again."""
        store = MemoryStore(Clock())
        commit, asked = store.commit, []

        def slow(*changes: object) -> Deferred[object]:
            asked.append((Deferred(), changes))
            return asked[-1][0]

        store.commit = slow  # type: ignore[method-assign, assignment]
        numbers = JobNumbers(store)
        waiting = [Deferred.fromCoroutine(numbers.take()) for _ in range(5)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0])
        asked[0][0].errback(StoreError("disk"))
        for each in waiting[1:]:
            self.failureResultOf(each, StoreError)
        waiting = [Deferred.fromCoroutine(numbers.take()) for _ in range(5)]
        self.assertEqual(len(asked), 2)
        asked[1][0].callback(self.successResultOf(commit(*asked[1][1])))
        self.assertEqual([self.successResultOf(each) for each in waiting], [1, 2, 3, 4, 5])


class OtherTests(SynchronousTestCase):
    """The rest of the target."""

    def world(self, **plan: object) -> JobWorld:
        """One with these settings."""
        folder = Path(self.mktemp())
        folder.mkdir()
        return JobWorld(folder, **plan)

    def test_unknown_recipient(self) -> None:
        """A recipient that the patterns no longer know waits: whoever changed them may change them back."""
        outcome = self.world().attempt(recipient="someone@sms")
        self.assertIsInstance(outcome, TransientFailure)

    def test_store_cannot_be_asked(self) -> None:
        """While the store fails a delivery waits."""
        world = self.world()
        message, deliveries = world.message()
        world.store.commit = lambda *changes: fail(StoreError("disk"))
        [outcome] = world.result(world.target.attempt(message, deliveries, LANE)).values()
        self.assertIsInstance(outcome, TransientFailure)

    def test_follow(self) -> None:
        """After a reload jobs go to the new folder; the worker of the old plan ends after its last attempt."""
        world = self.world()
        world.attempt()
        other = Path(self.mktemp())
        other.mkdir()
        world.target.follow(world.plan)
        self.assertFalse(world.links[0].closed)
        world.target.follow(evolve(world.plan, outlet=evolve(world.plan.outlet, path=other)))
        self.assertTrue(world.links[0].closed)
        self.assertIsInstance(world.attempt(), Delivered)
        self.assertEqual(len(list(other.iterdir())), 2)
