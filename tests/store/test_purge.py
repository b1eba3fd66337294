"""The purge by itself: one slice at a time, pauses, errors, the end."""

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError, StoreFull
from mailbridge.store.appender import Appender
from mailbridge.store.garbage import DropSegments, Free, ListSegments
from mailbridge.store.purge import AFTER_ERROR, IDLE, PAUSE, Purge
from mailbridge.store.room import Room
from mailbridge.store.segments import Segments


class PurgeTests(SynchronousTestCase):
    """A purge whose commits the test answers."""

    def setUp(self):
        """A purge with an empty folder of segments."""
        self.clock = Clock()
        self.asked = []
        folder = Path(self.mktemp())
        folder.mkdir()
        room = Room(folder, 0, 0, self.clock.seconds)
        self.segments = Segments(folder, Appender(folder, 1, room, lambda results: None))
        self.folder = folder
        self.purge = Purge(self.commit, self.segments, self.clock)

    def commit(self, change):
        """The store."""
        deferred = Deferred()
        self.asked.append((change, deferred))
        return deferred

    def answer(self, kind, receipt):
        """Answer the only commit in flight."""
        ((change, deferred),) = self.asked
        self.assertIsInstance(change, kind)
        self.asked.clear()
        if isinstance(receipt, Exception):
            deferred.errback(receipt)
        else:
            deferred.callback((receipt,))
        return change

    def test_slices(self):
        """Slices follow each other with a pause while there is garbage; never two at once."""
        self.purge.wake()
        self.purge.wake()
        self.assertEqual(self.asked, [])
        for _ in range(3):
            self.clock.advance(PAUSE)
            self.purge.wake()
            self.clock.advance(IDLE)
            self.answer(Free, True)
            self.assertEqual(self.asked, [])

    def test_idle(self):
        """Without garbage it looks again after a minute, or when it is woken."""
        self.purge.wake()
        for seconds in (PAUSE, IDLE):
            self.clock.advance(seconds)
            self.answer(Free, False)
            self.answer(ListSegments, {})
        self.purge.wake()
        self.clock.advance(PAUSE)
        self.answer(Free, False)

    def test_woken_in_a_turn(self):
        """Garbage that is made while it looks at segments is not left for a minute."""
        self.purge.wake()
        self.clock.advance(PAUSE)
        self.answer(Free, False)
        self.purge.wake()
        self.answer(ListSegments, {})
        self.clock.advance(PAUSE)
        self.answer(Free, True)

    def test_errors(self):
        """A full or failing disk is tried again later; a bug is logged and does not end the purge."""
        self.purge.wake()
        self.clock.advance(PAUSE)
        for error in (StoreFull("full"), StoreError("bad"), ZeroDivisionError()):
            self.answer(Free, error)
            self.assertEqual(self.asked, [])
            self.clock.advance(AFTER_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.answer(Free, True)

    def test_stop(self):
        """After the stop nothing is begun, whatever is answered or woken."""
        self.purge.wake()
        self.clock.advance(PAUSE)
        self.purge.stop()
        self.answer(Free, True)
        self.purge.wake()
        self.clock.advance(IDLE)
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), ([], []))

    def test_left_by_a_crash(self):
        """A segment file that the data base never knew, or emptied before a crash, goes; a living one stays."""
        for segment in (0xa0, 0xa1):
            (self.folder / f"{segment:012x}").write_bytes(b"x" * 100)
        (self.folder / "notes.txt").write_text("a stranger's")
        segments = Segments(self.folder, Appender(self.folder, 0xb0, Room(self.folder, 0, 0, self.clock.seconds),
                                                  lambda results: None))
        purge = Purge(self.commit, segments, self.clock)
        purge.wake()
        self.clock.advance(PAUSE)
        self.answer(Free, False)
        self.answer(ListSegments, {0xa1: 100})
        self.assertEqual(self.answer(DropSegments, (0xa0,)).segments, (0xa0,))
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["0000000000a1", "notes.txt"])
