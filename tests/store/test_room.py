"""A full disk: new mail is refused in time, deleting and purging go on."""

import os
import subprocess
from pathlib import Path

import apsw
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailbridge.errors import StartError, StoreFull
from mailbridge.limits import KIB, MIB
from mailbridge.store.changes import Accept, AddUser, RemoveUser, Unlink
from mailbridge.store.check import check_store
from mailbridge.store.database import Lock
from mailbridge.store.room import Room, statvfs_free, warning
from tests.store.test_sqlite import OpenStore
from tests.store.test_writer import Faults
from tests.store.values import CREDENTIALS, envelope, mail


class RoomTests(SynchronousTestCase):
    """Room by itself."""

    def setUp(self):
        """Room of a folder whose free octets the test sets."""
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.free = 1000
        self.asked = 0
        self.room = Room(self.folder, 100, 50, self.clock.seconds, self.answer)

    def answer(self, folder):
        """The seam."""
        self.asked += 1
        return self.free

    def test_short(self):
        """What is missing to min_free is known within a second, and the system is asked once a second."""
        self.assertEqual([self.room.short() for _ in range(100)], [0] * 100)
        self.free = 30
        self.clock.advance(1)
        self.assertEqual([self.room.short() for _ in range(100)], [70] * 100)
        self.assertEqual(self.asked, 2)

    def test_ballast(self):
        """The reserve is laid when there is room, given up once, and laid again when there is room again."""
        self.room.short()
        self.assertEqual((self.folder / "ballast").stat().st_size, 50)
        self.assertTrue(self.room.drop_ballast())
        self.assertFalse(self.room.drop_ballast())
        self.free = 120  # enough for mail, not for mail and the reserve
        self.clock.advance(1)
        self.assertEqual(self.room.short(), 0)
        self.assertFalse((self.folder / "ballast").exists())
        self.free = 150
        self.clock.advance(1)
        self.room.short()
        self.assertTrue((self.folder / "ballast").exists())

    def test_what_was_written_counts(self):
        """Between two looks at the disk the mail that was taken counts: min_free is not passed within a second."""
        self.assertEqual([self.room.short(400) for _ in range(2)], [0, 0])
        self.free = 250  # as it is after them
        self.assertEqual((self.room.short(100), self.asked), (0, 2))
        self.free = 150
        self.assertEqual(self.room.short(100), 50)
        self.assertEqual(self.room.short(50), 0)

    def test_small_ballast(self):
        """Where the reserve has no room the ballast is a quarter of what is free, or 256 KiB; mail keeps its room."""
        for free, min_free, expected in (
            (4 * MIB, 0, MIB), (MIB, 0, 256 * KIB), (400 * KIB, 0, 200 * KIB), (20 * KIB, 0, 0),
            (40 * MIB, 64 * MIB, 8 * MIB), (66 * MIB, 64 * MIB, 2 * MIB), (64 * MIB, 64 * MIB, 256 * KIB),
            (72 * MIB, 64 * MIB, 8 * MIB),
        ):
            folder = self.folder / f"{free}"
            folder.mkdir(exist_ok=True)
            room = Room(folder, min_free, 8 * MIB, self.clock.seconds, lambda _, free=free: free)
            room.short()
            laid = folder / "ballast"
            self.assertEqual(laid.stat().st_size if laid.exists() else 0, expected, free)
            room.drop_ballast()

    def test_small_ballast_given_up(self):
        """What was given up stays given up until there is room for as much again; with more room it grows."""
        free = [2 * MIB]
        room = Room(self.folder, 0, 8 * MIB, self.clock.seconds, lambda _: free[0])
        sizes = []
        for now in (2 * MIB, None, 600 * KIB, 2 * MIB, 8 * MIB, MIB):
            if now is None:
                room.drop_ballast()
            else:
                free[0] = now
            self.clock.advance(1)
            room.short()
            laid = self.folder / "ballast"
            sizes.append(laid.stat().st_size // KIB if laid.exists() else 0)
            free[0] = 500 * KIB
        self.assertEqual(sizes, [512, 0, 0, 512, 8192, 8192])

    def test_warning(self):
        """Too little room is told with the folder, what it means and what to do, also before there is a state."""
        self.assertIsNone(warning(self.folder / "not" / "yet", 0, 1))
        told = warning(self.folder / "not" / "yet", 2**60)
        self.assertIn(str(self.folder), told)
        self.assertIn("make room", told)

    def test_no_link_is_followed(self):
        """Ballast and lock never overwrite a file elsewhere that somebody linked into the folder."""
        victim = self.folder / "victim"
        victim.write_bytes(b"precious")
        for name in ("ballast", "lock"):
            (self.folder / name).symlink_to(victim.absolute())
        self.room.short()
        self.assertRaises(OSError, Lock, self.folder / "lock")
        self.assertEqual(victim.read_bytes(), b"precious")


class FullTests(OpenStore, SynchronousTestCase):
    """A store whose disk fills up."""

    def test_min_free(self):
        """Below min_free mail of any size is refused with StoreFull; users, deleting and reading go on."""
        free = [10 * MIB]
        store = self.open(min_free=MIB, free=lambda folder: free[0])
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        (receipt,) = self.wait(store.commit(mail(user)))
        free[0] = MIB - 100 * KIB
        self.clock.advance(2)
        self.assertRaises(StoreFull, self.wait, store.commit(mail(user)))
        writer = store.content()
        writer.write(b"x" * 100_000)
        self.assertRaises(StoreFull, self.wait, writer.finish())
        self.wait(store.commit(AddUser("clyde", CREDENTIALS)))
        self.assertEqual(len(store.messages([receipt.message])), 1)
        self.wait(store.commit(Unlink(user, (receipt.message,))))
        self.settle()
        self.assertEqual(store.messages([receipt.message]), {})
        free[0] = 10 * MIB
        self.clock.advance(2)
        self.wait(store.commit(mail(user)))

    def test_one_long_message(self):
        """A message longer than the room above min_free is refused within it, not when it has filled the disk."""
        free = [10 * MIB]
        store = self.open(min_free=9 * MIB, free=lambda folder: free[0])
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        writer = store.content()
        with self.assertRaises(StoreFull):
            for _ in range(40):
                writer.write(b"x" * 65536)
                self.clock.settle()
                free[0] = 10 * MIB - sum(path.stat().st_size for path in (self.folder / "segments").iterdir())
            self.wait(writer.finish())
        self.assertGreaterEqual(free[0], 9 * MIB)
        free[0] = 10 * MIB
        self.wait(store.commit(mail(user)))

    def test_one_batch(self):
        """A burst of messages within one second does not pass min_free."""
        store = self.open(min_free=9 * MIB, free=lambda folder: 10 * MIB - (folder / "mail.db-wal").stat().st_size)
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        full = []
        for _ in range(200):
            store.commit(mail(user, octets=b"x" * 15_000)).addErrback(full.append)
        self.clock.settle()
        self.assertTrue(full)
        self.assertGreaterEqual(store.free_octets(), 9 * MIB)

    def test_room_inside(self):
        """Room that deleting made inside the data base counts: what was deleted can come again."""
        free = [10 * MIB]
        store = self.open(min_free=MIB, free=lambda folder: free[0])
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        receipts = self.wait(store.commit(*[mail(user, octets=b"x" * 16_000)] * 50))
        free[0] = MIB - 100 * KIB
        self.clock.advance(2)
        self.assertRaises(StoreFull, self.wait, store.commit(mail(user)))
        self.wait(store.commit(Unlink(user, tuple(receipt.message for receipt in receipts))))
        self.settle()
        self.wait(store.commit(mail(user)))

    def test_ballast_for_deletes(self):
        """When not even a delete fits the disk, the reserve is given up and the delete goes on."""
        faults = Faults()
        store = self.open(min_free=0, reserve=64 * KIB, connect=faults.connect)
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        (receipt,) = self.wait(store.commit(mail(user)))
        ballast = self.folder / "ballast"
        self.assertTrue(ballast.exists())
        faults.fail["COMMIT"] = lambda: apsw.FullError("full") if ballast.exists() else None
        self.assertRaises(StoreFull, self.wait, store.commit(mail(user)))
        self.assertTrue(ballast.exists())  # not for new mail
        self.wait(store.commit(Unlink(user, (receipt.message,))))
        self.assertFalse(ballast.exists())

    def test_start_on_a_full_disk(self):
        """A restart on a full disk gives the reserve up: the mail that is there can be read and deleted."""
        faults = Faults()
        store = self.open(min_free=0, reserve=64 * KIB, connect=faults.connect)
        (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        (receipt,) = self.wait(store.commit(mail(user)))
        ballast = self.folder / "ballast"
        faults.fail["UPDATE counter"] = lambda: apsw.FullError("full") if ballast.exists() else None
        store = self.reopen(min_free=0, reserve=64 * KIB, connect=faults.connect)
        self.assertFalse(ballast.exists())
        self.wait(store.commit(Unlink(user, (receipt.message,))))

    def test_start_without_a_reserve(self):
        """Where there is no reserve to give up, the start fails with one line that says the disk is full."""
        faults = Faults()
        faults.fail["UPDATE counter"] = lambda: apsw.FullError("full")
        with self.assertRaises(StartError) as caught:
            self.open(connect=faults.connect)
        self.assertIn("mail.db: the disk is full: make room on it", str(caught.exception))


class SmallDiskTests(OpenStore, SynchronousTestCase):
    """Real file systems that are really full."""

    def mount(self, megabytes):
        """A tmpfs."""
        mount = Path(self.mktemp()).absolute()
        mount.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "store", str(mount)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            raise SkipTest("needs the right to mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", str(mount)], check=True)
        return mount

    def fill(self, mount):
        """A stranger takes what is left, to the last octet."""
        with open(mount / "stranger", "ab", buffering=0) as stranger:
            try:
                while True:
                    stranger.write(bytes(4096))
            except OSError:
                pass
        self.assertEqual(statvfs_free(mount), 0)

    def test_tiny(self):
        """On 1 to 4 MiB there is a ballast too: when nothing is left at all, deleting goes on and makes room."""
        for megabytes in (1, 2, 4):
            mount = self.mount(megabytes)
            store = self.open(mount / "state", min_free=0, reserve=8 * MIB)
            (user,) = self.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
            stored = []
            with self.assertRaises(StoreFull):
                while True:
                    self.clock.advance(1)
                    stored += self.wait(store.commit(mail(user, octets=b"x" * 5000)))
            self.assertGreater(len(stored), 10 * megabytes)
            ballast = mount / "state" / "ballast"
            self.assertGreaterEqual(ballast.stat().st_size, 64 * KIB)
            uids = [receipt.message for receipt in stored]
            self.fill(mount)
            while len(uids) > 5:
                self.clock.advance(2)
                self.wait(store.commit(Unlink(user, tuple(uids[:2]))))
                del uids[:2]
            self.settle()
            self.assertEqual(list(self.wait(store.snapshot(user)).uids), uids)
            (mount / "stranger").unlink()
            self.clock.advance(2)
            self.wait(store.commit(mail(user)))

    def test_full_and_emptied(self):
        """Filled to the last octet by mail and strangers: no acknowledged mail is lost, deleting makes room."""
        mount = self.mount(24)
        store = self.open(mount / "state", min_free=64 * KIB, reserve=4 * MIB)
        user, other = self.wait(store.commit(AddUser("bonnie", CREDENTIALS), AddUser("clyde", CREDENTIALS)))
        stored = []
        try:
            while True:
                self.clock.advance(1)
                stored += self.wait(store.commit(*[mail(user, octets=b"x" * 15_000)] * 20))
                writer = store.content()
                for _ in range(3):
                    writer.write(b"y" * 65536)
                stored += self.wait(store.commit(Accept(envelope(self.wait(writer.finish())), (user,))))
        except StoreFull:
            self.assertGreater(len(stored), 100)
        self.fill(mount)
        self.clock.advance(2)
        self.assertRaises(StoreFull, self.wait, store.commit(mail(user)))
        uids = tuple(receipt.message for receipt in stored)
        self.assertEqual(tuple(self.wait(store.snapshot(user)).uids), uids)
        self.assertEqual(len(store.messages(uids[-16:])), 16)
        half = len(uids) // 2
        self.wait(store.commit(Unlink(user, uids[:half])))
        self.wait(store.commit(RemoveUser(other)))
        self.settle()
        self.assertEqual(tuple(self.wait(store.snapshot(user)).uids), uids[half:])
        self.assertEqual(store.messages(uids[:16]), {})
        self.clock.advance(2)
        self.wait(store.commit(mail(user)))
        self.assertEqual(check_store(self.folder / "mail.db"), [])
        self.reopen()
        self.assertEqual(tuple(self.wait(self.store.snapshot(user)).uids)[:-1], uids[half:])
