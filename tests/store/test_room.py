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
from mailbridge.store.room import Room
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
    """A real file system that is really full."""

    def setUp(self):
        """A tmpfs of 24 MiB."""
        self.mount = Path(self.mktemp()).absolute()
        self.mount.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "store", str(self.mount)],
                                               capture_output=True).returncode:
            raise SkipTest("needs the right to mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.mount)], check=True)

    def test_full_and_emptied(self):
        """Filled to the last octet by mail and strangers: no acknowledged mail is lost, deleting makes room."""
        store = self.open(self.mount / "state", min_free=64 * KIB, reserve=4 * MIB)
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
        with open(self.mount / "stranger", "wb", buffering=0) as stranger:
            try:
                while True:
                    stranger.write(bytes(4096))
            except OSError:
                pass
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
