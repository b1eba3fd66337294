"""The pick-up watch: one notice for a job that nobody takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.outcome import Delivered
from mailbridge.queue.bounce import Bounce, BounceSettings
from mailbridge.routing.table import Table
from mailbridge.store.changes import Wishes
from tests.edge.smtp_world import World
from tests.target.job_world import TEXT, JobWorld

LOCAL = "bonnie@example.org"


class PickupTests(SynchronousTestCase):
    """Jobs are late after ten minutes."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.edge = World()
        self.world = JobWorld(folder, self.edge.clock, self.edge.store, pickup=600.0)
        table = Table((), self.edge.directory)
        self.world.bounce = Bounce(self.edge.store, table, BounceSettings("bridge.example.org"), self.edge.clock, bytes)
        self.restart()

    def restart(self) -> None:
        """Start again."""
        self.world.target.close()
        self.world.start()
        self.world.target.start()

    def publish(self, **more: Any) -> None:
        """A job whose delivery has ended."""
        outcome = self.world.attempt(**{"sender": LOCAL, **more})
        self.assertIsInstance(outcome, Delivered)
        self.world.settle(outcome)

    def minutes(self, count: int) -> None:
        """Time passes."""
        for _ in range(count):
            self.edge.clock.advance(60.0)

    def notices(self) -> list[bytes]:
        """What bonnie has been told."""
        user = next(user.id for user in self.edge.store.people().result.users  # type: ignore[union-attr]
                    if user.name == "bonnie")
        uids = self.successResultOf(self.edge.store.snapshot(user)).uids
        messages = self.edge.store.messages(list(uids))
        return [message.content.octets or b"" for message in messages.values()]

    def watched(self) -> int:
        """How many jobs are watched."""
        return len(self.successResultOf(self.world.store.remembered("pickup:", "", 100)))

    def test_taken(self) -> None:
        """A job that the reader takes is forgotten at the next look, and nobody hears of it."""
        self.publish()
        self.assertEqual(self.watched(), 1)
        self.world.reader.poll()
        self.minutes(1)
        self.assertEqual(self.watched(), 0)
        self.minutes(20)
        self.assertEqual(self.notices(), [])

    def test_not_taken(self) -> None:
        """Its sender hears once, after its time, also when the bridge was started again meanwhile."""
        self.publish()
        self.minutes(5)
        self.restart()
        self.minutes(4)
        self.assertEqual(self.notices(), [])
        self.minutes(3)
        self.restart()
        self.minutes(30)
        [notice] = self.notices()
        for words in (b"Subject: Your message has not been picked up\r\n", b"+420603280030@sms", b"Action: delayed",
                      b"Status: 4.4.1", b"    Subject:   Alarm", b"has been waiting there for 10 minutes",
                      b"Subject: Alarm\r\nFrom: Lamp <lamp@plant.example>\r\n"):
            self.assertIn(words, notice)
        self.assertNotIn(b"Will-Retry", notice)
        self.assertNotIn(b"tried again", notice)
        self.assertNotIn(b"7781", notice)
        self.assertEqual(self.watched(), 0)

    def test_nobody_to_tell(self) -> None:
        """Mail from <>, and of senders who want to hear nothing, is not watched."""
        self.publish(wishes=Wishes(("NEVER",)))
        self.assertEqual(self.watched(), 0)
        self.publish(wishes=Wishes(("FAILURE",)))
        self.assertEqual(self.watched(), 1)

    def test_many(self) -> None:
        """All of many jobs are looked at."""
        for _ in range(450):
            self.publish(text=TEXT)
        self.world.reader.poll()
        self.minutes(1)
        self.assertEqual(self.watched(), 0)

    def test_store_fails(self) -> None:
        """While the store fails nobody is told; later once."""
        self.publish()
        commit = self.world.store.commit

        def failing(*changes: object) -> Deferred[Any]:
            return fail(StoreError("disk"))

        self.world.store.commit = failing
        self.minutes(12)
        self.assertEqual(self.notices(), [])
        self.world.store.commit = commit
        self.minutes(3)
        self.assertEqual(len(self.notices()), 1)

    def test_folder_gone(self) -> None:
        """While the folder cannot be seen nothing is said of it."""
        self.publish()
        aside = self.world.folder.with_suffix(".aside")
        self.world.folder.rename(aside)
        self.minutes(15)
        self.assertEqual((self.notices(), self.watched()), ([], 1))
        aside.rename(self.world.folder)
        self.minutes(1)
        self.assertEqual(len(self.notices()), 1)

    def test_small(self) -> None:
        """What is kept of a message with a large header is small."""
        self.publish(text=b"Subject: " + b"x" * 9000 + b"\r\nTo: a@b.example\r\n\r\nbody\r\n")
        [value] = self.successResultOf(self.world.store.remembered("pickup:", "", 100)).values()
        self.assertEqual(json.loads(value)["header"], "To: a@b.example\r\n\r\n")
