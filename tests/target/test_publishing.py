"""Publishing in stages: over a crash anywhere no job is lost, halved or published twice."""

from __future__ import annotations

import shutil
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.store.changes import Allocate, Remember, Settle, Verdict
from mailbridge.target.jobwork import Prepare, Publish, Request, Sweep
from tests.target.job_world import LANE, TEXT, JobWorld


def staging(change: object) -> bool:
    """Whether this is the word that a job was written."""
    return isinstance(change, Remember) and change.key.startswith("staged:") and change.value is not None


class PublishingCase(SynchronousTestCase):
    """A world on a temporary folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.world = JobWorld(self.folder)


class PlainTests(PublishingCase):
    """Without a crash."""

    def test_job(self) -> None:
        """A message becomes a data file and a control file, and the reader gets both."""
        outcome = self.world.attempt()
        self.assertIsInstance(outcome, Delivered)
        self.assertEqual(outcome.detail, "sms_0000000001.CTL")
        self.assertEqual(self.world.names(), ["sms_0000000001.CTL", "sms_0000000001.txt"])
        self.world.reader.poll()
        [(_, control, text)] = self.world.reader.taken
        self.assertEqual((control[:26], text), (b"[to]\r\nnumber=+420603280030"[:26], TEXT))

    def test_mode(self) -> None:
        """Files are for their owner and the group only."""
        self.world.attempt()
        for name in self.world.names():
            self.assertEqual((self.folder / name).stat().st_mode & 0o137, 0, name)

    def test_attachments(self) -> None:
        """Attachments lie beside the text before the control file appears."""
        self.world.attempt(TEXT + b"ATTACH")
        self.assertEqual(self.world.names(), ["sms_0000000001.CTL", "sms_0000000001.txt", "sms_0000000001_1.pdf"])

    def test_json(self) -> None:
        """A control file of another kind has its own suffix."""
        recipe = evolve(self.world.plan.recipe, suffix=".json")  # type: ignore[misc]
        world = JobWorld(self.folder, recipe=recipe, outlet=evolve(self.world.plan.outlet, suffix=".json"))
        self.assertEqual(world.attempt().detail, "sms_0000000001.json")  # type: ignore[union-attr]
        self.assertEqual(world.names(), ["sms_0000000001.json"])

    def test_each_recipient(self) -> None:
        """Each recipient has a job of its own, with a number of its own and its own outcome."""
        message, deliveries = self.world.message(recipients=("1@sms", "2@sms", "nobody@sms", "3@sms"))
        outcomes = self.world.result(self.world.target.attempt(message, deliveries, LANE))
        kinds = [type(outcomes[each.id]) for each in deliveries]
        self.assertEqual(kinds, [Delivered, Delivered, TransientFailure, Delivered])
        self.assertEqual(len({outcomes[each.id].detail for each in deliveries if each.recipient != "nobody@sms"}), 3)

    def test_settled(self) -> None:
        """With the end of its delivery a job is forgotten."""
        outcome = self.world.attempt()
        self.assertEqual(len(self.world.result(self.world.store.remembered("staged:", "", 10))), 1)
        self.world.settle(outcome)
        self.assertEqual(self.world.result(self.world.store.remembered("staged:", "", 10)), {})

    def test_refused(self) -> None:
        """What cannot become a job comes back to its sender; a fault of ours is tried again, without its words."""
        refused = self.world.attempt(TEXT + b"REFUSE")
        self.assertIsInstance(refused, PermanentFailure)
        self.assertEqual(str(refused.reply), "550 5.6.0 no text in it")  # type: ignore[union-attr]
        failed = self.world.attempt(TEXT + b"CRASH")
        self.assertIsInstance(failed, TransientFailure)
        self.assertIn("RuntimeError", self.world.links[-1].complaints[0])
        self.assertNotIn("7781", repr(failed) + "".join(self.world.links[-1].complaints))
        self.assertEqual(self.world.names(), [])

    def test_name_taken(self) -> None:
        """After a restore of the store names may be in use: nothing is overwritten, a later number is taken."""
        (self.folder / "sms_0000000001.txt").write_text("old")
        (self.folder / "sms_0000000002.writing").write_text("old")
        (self.folder / "sms_0000000002.CTL").write_text("old")
        self.assertEqual(self.world.attempt().detail, "sms_0000000003.CTL")  # type: ignore[union-attr]
        self.assertEqual((self.folder / "sms_0000000001.txt").read_text(), "old")
        self.assertEqual((self.folder / "sms_0000000002.CTL").read_text(), "old")

    def test_link(self) -> None:
        """A symbolic link with the name of a job is not followed."""
        victim = self.folder / "victim"
        (self.folder / "sms_0000000001.txt").symlink_to(victim)
        self.assertEqual(self.world.attempt().detail, "sms_0000000002.CTL")  # type: ignore[union-attr]
        self.assertFalse(victim.exists())

    def test_folder_missing(self) -> None:
        """While the folder is missing the route pauses with an alarm, and goes on when it is there again."""
        shutil.rmtree(self.folder)
        outcome = self.world.attempt()
        self.assertIsInstance(outcome, RouteFailure)
        self.assertIn(f"{self.folder}: No such file or directory: make it", outcome.reason)  # type: ignore[union-attr]
        self.folder.mkdir()
        self.assertIsInstance(self.world.attempt(), Delivered)

    def test_folder_is_a_file(self) -> None:
        """A wrong output_folder is our own fault: the route pauses, and no mail bounces."""
        shutil.rmtree(self.folder)
        self.folder.write_text("")
        self.assertIsInstance(self.world.attempt(), RouteFailure)

    def test_store_fails(self) -> None:
        """A job that the store did not take is removed again, and made later."""
        world = self.world
        commit = world.store.commit

        def failing(*changes: object) -> Deferred[object]:
            return fail(StoreError("disk")) if any(map(staging, changes)) else commit(*changes)

        world.store.commit = failing
        message, deliveries = world.message()
        outcomes = world.result(world.target.attempt(message, deliveries, LANE))
        self.assertIsInstance(outcomes[deliveries[0].id], TransientFailure)
        self.assertEqual(world.names(), [])
        world.store.commit = commit
        outcomes = world.result(world.target.attempt(message, world.again(deliveries), LANE))
        self.assertIsInstance(outcomes[deliveries[0].id], Delivered)


class CrashTests(PublishingCase):
    """The bridge dies, is started again, and attempts the delivery once more."""

    def crash(self, kind: type[Request], where: str) -> None:  # type: ignore[valid-type]
        """Die before or after a request of this kind is carried out, its answer unheard; start and attempt again."""
        world = self.world
        world.cut = lambda request: where if isinstance(request, kind) else ""
        world.start()
        message, deliveries = world.message()
        first = world.target.attempt(message, deliveries, LANE)
        self.assertNoResult(first)
        self.restart(message, deliveries)

    def restart(self, message: object, deliveries: object) -> None:
        """Start, attempt, settle, and check that the reader got the job exactly once."""
        world = self.world
        world.reader.poll()
        world.cut = lambda request: ""
        world.start()
        outcomes = world.result(world.target.attempt(message, world.again(deliveries), LANE))  # type: ignore[arg-type]
        [outcome] = outcomes.values()
        self.assertIsInstance(outcome, Delivered)
        world.settle(outcome)
        world.reader.poll()
        self.assertEqual([text for _, _, text in world.reader.taken], [TEXT])
        self.assertEqual(world.names(), [])
        self.assertEqual(world.result(world.store.remembered("staged:", "", 10)), {})

    def test_requests(self) -> None:
        """Before and after everything that the worker is asked to do."""
        for kind in (Sweep, Prepare, Publish):
            for where in ("before", "after"):
                self.world = JobWorld(self.folder)
                self.crash(kind, where)

    def test_before_the_commit(self) -> None:
        """The job was written, and the store does not know of it: it is removed and made anew."""
        self.commit_lost(done=False)

    def test_after_the_commit(self) -> None:
        """The store knows of the job, and nobody heard it: it is published as it lies there."""
        self.commit_lost(done=True)

    def commit_lost(self, done: bool) -> None:
        """Die while the staging is committed."""
        world = self.world
        commit = world.store.commit

        def cut(*changes: object) -> Deferred[object]:
            if not any(map(staging, changes)):
                return commit(*changes)
            if done:
                commit(*changes)
            return Deferred()

        world.store.commit = cut
        message, deliveries = world.message()
        self.assertNoResult(world.target.attempt(message, deliveries, LANE))
        self.assertEqual(world.names(), ["sms_0000000001.txt", "sms_0000000001.writing"])
        world.store.commit = commit
        self.restart(message, deliveries)

    def test_before_the_settling(self) -> None:
        """Published and consumed, but the end of the delivery was not stored: nothing is written again."""
        message, deliveries = self.world.message()
        self.world.result(self.world.target.attempt(message, deliveries, LANE))
        self.restart(message, deliveries)

    def test_another_folder(self) -> None:
        """Another folder at the same place cannot say what became of a staged job: it is written there again."""
        world = self.world
        world.cut = lambda request: "before" if isinstance(request, Publish) else ""
        world.start()
        message, deliveries = world.message()
        world.target.attempt(message, deliveries, LANE)
        self.folder.rename(self.folder.with_suffix(".old"))
        self.folder.mkdir()
        self.restart(message, deliveries)

    def test_nobody_waits_any_more(self) -> None:
        """A staged job whose delivery an operator has removed meanwhile is taken away."""
        world = self.world
        world.cut = lambda request: "before" if isinstance(request, Publish) else ""
        world.start()
        message, deliveries = world.message()
        world.target.attempt(message, deliveries, LANE)
        world.result(world.store.commit(Settle(deliveries[0].id, deliveries[0].fence, Verdict.DONE)))
        world.cut = lambda request: ""
        world.start()
        self.assertIsInstance(world.attempt(), Delivered)
        self.assertEqual(world.names(), ["sms_0000000101.CTL", "sms_0000000101.txt"])

    def test_others_stay(self) -> None:
        """The sweep takes nothing but unfinished jobs of its own: not what is published, of others, or data alone."""
        kept = ["fax_0000000001.writing", "note.writing", "sms_0000000001.CTL", "sms_0000000001.txt",
                "sms_0000000002.txt", "sms_0000000003.CTL", "sms_0000000003.writing", "sms_0000000101.writing",
                "sms_1.writing", "sms_x_0000000001.writing"]
        gone = ["sms_0000000004.txt", "sms_0000000004.writing", "sms_0000000004_1.pdf"]
        for name in kept + gone:
            (self.folder / name).write_text("")
        self.world.result(self.world.store.commit(Allocate("job", 99)))
        self.world.attempt()
        self.assertEqual([name for name in self.world.names() if "0000000100" not in name], sorted(kept))

    def test_worker_dies(self) -> None:
        """A worker that dies takes only its attempts with it, for now; the next one sweeps and goes on."""
        world = self.world
        world.cut = lambda request: "after" if isinstance(request, Prepare) else ""
        world.start()
        message, deliveries = world.message()
        attempt = world.target.attempt(message, deliveries, LANE)
        link = world.links[-1]
        link.lost = True
        world.cut = lambda request: ""
        self.assertIsInstance(world.attempt(), Delivered)
        self.assertNoResult(attempt)
        self.assertIn("sms_0000000001.writing", world.names())  # still held: its attempt has not ended
        attempt.cancel()
        self.assertIsInstance(world.result(attempt)[deliveries[0].id], TransientFailure)

