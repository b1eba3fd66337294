"""Content in segments: group sync, faults of the disk, torn tails, pins."""

import errno
import os
import threading
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.content import Content, Extent
from mailbridge.errors import StoreError, StoreFull
from mailbridge.limits import KIB
from mailbridge.store import appender
from mailbridge.store.changes import Accept, AddUser, Unlink
from mailbridge.store.check import check_store
from mailbridge.store.segments import CROWDED, IN_FLIGHT, IN_FLIGHT_CROWDED
from tests.store.test_sqlite import OpenStore
from tests.store.values import CREDENTIALS, envelope


class Disk:
    """Counts and faults of the appender's system calls; `gate` holds the thread before it writes."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.events = []
        self.sync_error = None
        self.write_error = None

    def write(self, descriptor, octets, offset):
        """os.pwrite."""
        self.gate.wait(20)
        self.events.append(("write", descriptor))
        if self.write_error:
            os.pwrite(descriptor, octets[:100], offset)
            raise self.write_error
        return os.pwrite(descriptor, octets, offset)

    def sync(self, descriptor):
        """os.fdatasync."""
        self.events.append(("sync", descriptor))
        if self.sync_error:
            raise self.sync_error
        os.fdatasync(descriptor)

    def syncs(self):
        """How many."""
        return sum(event == "sync" for event, _ in self.events)


def open_files():
    """How many descriptors this process has open; 0 where the system does not tell."""
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


class SegmentTests(OpenStore, SynchronousTestCase):
    """A store whose appender's disk the test commands."""

    def setUp(self):
        """A store with segments of 1 MiB."""
        self.disk = Disk()
        self.again()
        (self.user,) = self.wait(self.store.commit(AddUser("bonnie", CREDENTIALS)))

    def again(self, folder=None, roll=1024):
        """Open the store; segments of `roll` KiB."""
        self.open(folder, min_free=0, appender=partial(
            appender.Appender, roll=roll * KIB, sync=self.disk.sync, write=self.disk.write))

    def written(self, octets, step=64 * KIB):
        """A writer that has taken `octets`."""
        writer = self.store.content()
        for start in range(0, len(octets), step):
            pause = writer.write(octets[start:start + step])
            if pause is not None:
                self.wait(pause)
        return writer

    def finished(self, octets):
        """Content, synced."""
        return self.wait(self.written(octets).finish())

    def stored(self, octets):
        """The id of a message with this content."""
        (receipt,) = self.wait(self.store.commit(Accept(envelope(self.finished(octets)), (self.user,))))
        return receipt.message

    def read(self, message):
        """The octets of a stored message."""
        content = self.store.messages([message])[message].content
        return b"".join(self.store.read(content, offset, 64 * KIB) for offset in range(0, content.size, 64 * KIB))

    def files(self):
        """The segment files."""
        return sorted(path.name for path in (self.folder / "segments").iterdir())

    def test_small_content_touches_no_file(self):
        """Up to 16 KiB content comes at once and no segment is made."""
        writer = self.written(b"x" * 16 * KIB)
        self.assertIsInstance(writer.finish(), Content)
        self.assertEqual((self.files(), self.disk.events), ([], []))

    def test_one_extent(self):
        """Blocks that follow each other in the file are one extent."""
        content = self.finished(b"x" * 500 * KIB)
        self.assertEqual([extent.length for extent in content.extents], [500 * KIB])

    def test_blocks_interleaved(self):
        """Two messages written at once share a file and keep their octets."""
        one, two = self.store.content(), self.store.content()
        for _ in range(3):
            self.wait_all(one.write(b"1" * 64 * KIB), two.write(b"2" * 64 * KIB))
        contents = [self.wait(one.finish()), self.wait(two.finish())]
        self.assertEqual([self.store.read(content, 64 * KIB, 1) for content in contents], [b"1", b"2"])
        self.assertTrue(all(len(content.extents) > 1 for content in contents))
        for content, digit in zip(contents, (b"1", b"2"), strict=True):
            self.assertEqual(self.store.read(content, 0, 1000 * KIB), digit * 192 * KIB)
            self.assertEqual(self.store.read(content, 100 * KIB, 50 * KIB), digit * 50 * KIB)
            self.assertEqual(self.store.read(content, 192 * KIB, 10), b"")

    def wait_all(self, *pauses):
        """Wait for those that are no None."""
        for pause in pauses:
            if pause is not None:
                self.wait(pause)

    def test_group_sync(self):
        """One sync covers all content that is finished while another sync runs."""
        self.disk.gate.clear()
        finishing = [self.written(b"x" * 20 * KIB).finish() for _ in range(30)]
        self.disk.gate.set()
        for deferred in finishing:
            self.wait(deferred)
        self.assertLess(self.disk.syncs(), 5)
        kinds = [kind for kind, _ in self.disk.events]
        self.assertEqual(kinds[-1], "sync")

    def test_back_pressure(self):
        """A writer that is faster than the disk is asked to wait after a few blocks, and goes on later."""
        self.disk.gate.clear()
        writer = self.store.content()
        *free, last = [writer.write(b"x" * 64 * KIB) for _ in range(IN_FLIGHT + 1)]
        self.assertEqual(free, [None] * IN_FLIGHT)
        self.assertFalse(last.called)
        self.disk.gate.set()
        self.wait(last)
        self.assertEqual(self.wait(writer.finish()).size, (IN_FLIGHT + 1) * 64 * KIB)

    def test_back_pressure_of_a_crowd(self):
        """Where many write at once each may be less far ahead of the disk: all of them together are bounded."""
        self.disk.gate.clear()
        block = b"x" * 64 * KIB
        crowd = [self.store.content() for _ in range(CROWDED // IN_FLIGHT)]
        pauses = [writer.write(block) for writer in crowd for _ in range(IN_FLIGHT)]
        self.assertEqual(pauses[:-1], [None] * (CROWDED - 1))
        late = self.store.content()
        *free, last = [late.write(block) for _ in range(IN_FLIGHT_CROWDED + 1)]
        self.assertEqual(free, [None] * IN_FLIGHT_CROWDED)
        self.assertFalse(last.called)
        for writer in crowd:
            writer.abort()
        self.disk.gate.set()
        self.wait(last)
        self.assertEqual(self.wait(late.finish()).size, (IN_FLIGHT_CROWDED + 1) * 64 * KIB)

    def test_roll(self):
        """A message can begin in one segment and end in the next; every size across the border is whole."""
        for size in (1000, 1023, 1024, 1025, 2500):
            octets = os.urandom(size * KIB)
            self.assertEqual(self.read(self.stored(octets)), octets)
        self.assertGreater(len(self.files()), 3)
        self.assertTrue(all((self.folder / "segments" / name).stat().st_size <= 1024 * KIB for name in self.files()))
        self.assertEqual(check_store(self.folder / "mail.db"), [])

    def test_new_segment_at_every_start(self):
        """After a start nothing is written to an old segment; a torn tail there is left alone and harms nothing."""
        octets = os.urandom(100 * KIB)
        message = self.stored(octets)
        (old,) = self.files()
        self.close(self.store, self.clock)
        with open(self.folder / "segments" / old, "ab") as file:
            file.write(b"torn")
        self.again(self.folder)
        self.assertEqual(self.read(message), octets)
        self.stored(b"y" * 100 * KIB)
        self.assertEqual(len(self.files()), 2)
        self.assertEqual((self.folder / "segments" / old).stat().st_size, 100 * KIB + 4)
        self.assertEqual(check_store(self.folder / "mail.db"), [])

    def test_sync_fails(self):
        """Content whose sync failed is refused, with all other content of that file, which is never synced again."""
        begun = self.written(b"a" * 64 * KIB)
        self.disk.sync_error = OSError(errno.EIO, "bad disk")
        error = self.assertRaises(StoreError, self.finished, b"b" * 20 * KIB)
        self.assertNotIsInstance(error, StoreFull)
        (bad,) = self.files()
        self.disk.sync_error = None
        self.disk.events.clear()
        self.assertRaises(StoreError, self.wait, begun.finish())
        octets = os.urandom(50 * KIB)
        self.assertEqual(self.read(self.stored(octets)), octets)
        self.assertEqual(len(self.files()), 2)
        self.assertEqual((self.folder / "segments" / bad).stat().st_size, 84 * KIB)

    def test_write_fails(self):
        """A write that failed half-way refuses its content only; the next message takes its place."""
        self.disk.write_error = OSError(errno.ENOSPC, "no room")
        writer = self.written(b"x" * 64 * KIB)
        self.assertRaises(StoreFull, self.wait, writer.finish())
        self.assertRaises(StoreFull, writer.write, b"more")
        self.disk.write_error = OSError(errno.EIO, "bad disk")
        self.assertRaises(StoreError, self.finished, b"x" * 64 * KIB)
        self.disk.write_error = None
        octets = os.urandom(50 * KIB)
        self.assertEqual(self.read(self.stored(octets)), octets)

    def test_failure_ends_a_pause(self):
        """A writer that waits for room is let go when a block fails, and told at its next call."""
        self.disk.gate.clear()
        self.disk.write_error = OSError(errno.ENOSPC, "no room")
        writer = self.store.content()
        *_, last = [writer.write(b"x" * 64 * KIB) for _ in range(IN_FLIGHT + 1)]
        self.disk.gate.set()
        self.wait(last)
        self.assertRaises(StoreFull, writer.write, b"more")
        self.assertRaises(StoreFull, self.wait, writer.finish())

    def test_synced_before_commit(self):
        """When the content is handed over, its sync has happened after its last write."""
        self.finished(b"x" * 300 * KIB)
        kinds = [kind for kind, _ in self.disk.events]
        self.assertEqual(kinds, ["write"] * 5 + ["sync"])

    def test_closed(self):
        """Large content for a store that was closed meanwhile is an error, not a wait without end."""
        writer = self.written(b"x" * 20 * KIB)
        self.wait(self.store.close())
        self.assertRaises(StoreError, self.wait, writer.finish())

    def test_gone_segment(self):
        """Content of a segment that does not exist is a StoreError, for a pin and for a read."""
        content = Content(10, None, (Extent(12345, 0, 10),))
        self.assertRaises(StoreError, self.store.pin, content)
        self.assertRaises(StoreError, self.store.read, content, 0, 10)

    def test_cut_segment(self):
        """A segment that lost its end is a StoreError, not short content."""
        message = self.stored(b"x" * 100 * KIB)
        os.truncate(self.folder / "segments" / self.files()[0], 50 * KIB)
        self.assertRaises(StoreError, self.read, message)

    def test_many_segments_read(self):
        """Reading from more segments than descriptors are kept open works."""
        self.close(self.store, self.clock)
        self.again(self.folder, 32)
        before = open_files()
        messages = [self.stored(b"%03d" % number * 7 * KIB) for number in range(80)]
        self.assertEqual(len(self.files()), 80)
        for _ in range(2):
            self.assertEqual([self.read(message)[:3] for message in messages], [b"%03d" % n for n in range(80)])
        self.assertLess(open_files() - before, 70)

    # --- what becomes of dead content

    def test_dead_segments_go(self):
        """When all content of a segment is deleted its file goes, but never the current one."""
        messages = [self.stored(os.urandom(700 * KIB)) for _ in range(3)]
        self.assertEqual(len(self.files()), 3)
        self.wait(self.store.commit(Unlink(self.user, tuple(messages))))
        self.clock.settle()
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(check_store(self.folder / "mail.db"), [])
        self.close(self.store, self.clock)
        self.again(self.folder)
        self.clock.settle()
        self.assertEqual(self.files(), [])

    def test_pinned_reader(self):
        """A reader who pinned a message can read it to its end, though it is deleted meanwhile; then the file goes."""
        octets = os.urandom(1024 * KIB)
        message = self.stored(octets)
        self.stored(os.urandom(1024 * KIB))
        content = self.store.messages([message])[message].content
        pin = self.store.pin(content)
        self.wait(self.store.commit(Unlink(self.user, (message,))))
        self.clock.settle()
        self.assertEqual(self.store.messages([message]), {})
        blocks = [self.store.read(content, at, 64 * KIB) for at in range(0, 1024 * KIB, 64 * KIB)]
        self.assertEqual(b"".join(blocks), octets)
        self.assertEqual(len(self.files()), 2)
        pin.release()
        self.clock.advance(61)
        self.clock.settle()
        self.assertEqual(len(self.files()), 1)
        self.assertRaises(StoreError, self.store.pin, content)

    def test_uncommitted_content_is_kept(self):
        """Content that was finished and not committed yet keeps its segment, until it is committed or aborted."""
        kept = self.written(os.urandom(1024 * KIB))
        content = self.wait(kept.finish())
        dropped = self.written(os.urandom(1024 * KIB))
        self.wait(dropped.finish())
        last = self.stored(os.urandom(1024 * KIB))
        self.clock.advance(61)
        self.clock.settle()
        self.assertEqual(len(self.files()), 3)
        self.wait(self.store.commit(Accept(envelope(content), (self.user,))))
        dropped.abort()
        kept.abort()
        self.clock.advance(61)
        self.clock.settle()
        self.assertEqual(len(self.files()), 2)
        self.assertEqual(len(self.store.messages([last])), 1)

    def test_compaction(self):
        """What lives in a segment that is less than half alive is moved, unchanged, and the file goes."""
        keep = [(self.stored(octets), octets) for octets in (os.urandom(100 * KIB),)]
        dead = self.stored(os.urandom(800 * KIB))
        keep += [(self.stored(octets), octets) for octets in (os.urandom(90 * KIB), os.urandom(900 * KIB))]
        first = self.files()[0]
        self.wait(self.store.commit(Unlink(self.user, (dead,))))
        self.clock.settle()
        self.assertNotIn(first, self.files())
        for message, octets in keep:
            self.assertEqual(self.read(message), octets)
        self.assertEqual(check_store(self.folder / "mail.db"), [])
        self.close(self.store, self.clock)
        self.again(self.folder)
        self.assertEqual([self.read(message) for message, _ in keep], [octets for _, octets in keep])

    def test_unreadable_segment_stays(self):
        """Content that cannot be read is not moved and stops nothing: the next sparse segment is worked off."""
        kept, sparse = [], []
        for _ in range(2):
            sparse.append(self.stored(os.urandom(896 * KIB)))
            kept.append(self.stored(os.urandom(128 * KIB)))
        self.stored(b"x" * 1024 * KIB)
        first, second, _ = self.files()
        os.truncate(self.folder / "segments" / first, 950 * KIB)
        self.wait(self.store.commit(Unlink(self.user, tuple(sparse))))
        self.clock.settle()
        self.assertEqual(self.files()[0], first)
        self.assertNotIn(second, self.files())
        self.assertEqual(len(self.store.messages(kept)), 2)

    def test_deleted_while_moved(self):
        """A message that is deleted while it is being moved stays deleted, and its new place is freed too."""
        small = self.stored(os.urandom(100 * KIB))
        dead = self.stored(os.urandom(800 * KIB))
        self.stored(os.urandom(900 * KIB))
        self.disk.gate.clear()
        self.wait(self.store.commit(Unlink(self.user, (dead,))))
        self.clock.settle()  # the move waits for the disk
        self.wait(self.store.commit(Unlink(self.user, (small,))))
        self.disk.gate.set()
        self.clock.settle()
        self.assertEqual(self.store.messages([small, dead]), {})
        self.assertEqual(check_store(self.folder / "mail.db"), [])
