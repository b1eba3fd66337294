"""Opening a store: versions, locks, file modes, and one line for everything that stops it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StartError
from mailbridge.store import database, schema
from mailbridge.store.changes import Accept, AddUser, Allocate, Queued, Remember
from tests.store.test_sqlite import OpenStore
from tests.store.values import CREDENTIALS, envelope, mail

HOLDER = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, b"%d" % os.getpid())
print("held", flush=True)
sys.stdin.read()
"""


class OpenTests(OpenStore, SynchronousTestCase):
    """open_store."""

    def refused(self, folder, *words):
        """The store in `folder` does not open, and the line holds all words."""
        error = self.assertRaises(StartError, self.open, folder)
        self.assertNotIn("\n", str(error))
        for word in words:
            self.assertIn(word, str(error))

    def test_modes(self):
        """The state is for its owner only, whatever the umask."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        folder = Path(self.mktemp())
        folder.mkdir(mode=0o755)
        store = self.open(folder, min_free=0, reserve=4096)
        writer = store.content()
        writer.write(b"x" * 100_000)
        self.wait(writer.finish())
        self.wait(store.commit(Remember("k", "v")))
        for path in [folder, *folder.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode, 0o700 if path.is_dir() else 0o600, path)

    def test_pragmas(self):
        """A commit is synced, the log is bounded, and nothing is mapped into memory."""
        connection = database.open_writer(Path(self.mktemp()), database.connect)
        self.addCleanup(connection.close)
        self.assertEqual([connection.pragma(name) for name in
                          ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size")], ["wal", 2, 4000, 0])

    def test_pragma_refused(self):
        """A file system where WAL does not work stops the start."""
        error = self.assertRaises(StartError, self.open, connect=lambda path, flags: apsw.Connection(":memory:"))
        self.assertIn("journal_mode=wal (it stays memory)", str(error))
        self.assertIn("local disk", str(error))

    def test_all_is_there_again(self):
        """Mail, users, numbers, values and the epoch survive; ids go on where they were."""
        store = self.open(min_free=0)
        user, _ = self.wait(store.commit(AddUser("bonnie", CREDENTIALS), Remember("k", "v")))
        message, number = self.wait(store.commit(mail(user), Allocate("n")))
        epoch, people = store.epoch, self.wait(store.people())
        store = self.reopen(min_free=0)
        self.assertEqual((store.epoch, store.recall("k")), (epoch, "v"))
        self.assertEqual(self.wait(store.people()), people)
        self.assertEqual(list(self.wait(store.snapshot(user)).uids), [message.message])
        again, following, other = self.wait(store.commit(mail(user), Allocate("n"), AddUser("clyde", CREDENTIALS)))
        self.assertGreater(again.message, message.message)
        self.assertGreater(other, user)
        self.assertEqual(following, number + 1)

    def test_epochs_differ(self):
        """A new store has a new epoch."""
        self.assertNotEqual(self.open().epoch, self.open().epoch)

    def test_claims_of_a_dead_daemon(self):
        """What a daemon had claimed when it died waits again at the next start; its fence is stale."""
        store = self.open(min_free=0)
        self.wait(store.commit(Accept(envelope(), (), (Queued("a@b", "relay:x", "b", 5.0),))))
        (lane,) = self.wait(store.lanes())
        (first,) = self.wait(store.claim("dead", lane.id, 1, 1e6))
        store = self.reopen(min_free=0)
        (lane,) = self.wait(store.lanes())
        self.assertEqual((lane.waiting, lane.due), (1, 5.0))
        (second,) = self.wait(store.claim("new", lane.id, 1, 60))
        self.assertGreater(second.fence, first.fence)

    def test_second_daemon(self):
        """A second daemon on one state is told which process uses it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder / "lock")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.stdin.close)
        holder.stdout.readline()
        self.refused(folder, str(folder), f"process {holder.pid} uses", "stop it")

    def test_lock_of_the_dead(self):
        """A lock file that a dead process left does not matter; after a close another can open."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "lock").write_text("4000000")
        self.open(folder)
        self.reopen()

    def test_lock_given_back(self):
        """A start that failed does not keep the lock."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "mail.db").write_bytes(b"not a data base" * 100)
        self.refused(folder)
        (folder / "mail.db").unlink()
        self.open(folder)

    def test_not_a_folder(self):
        """A state that is a file, or below one, names the path and the remedy."""
        path = Path(self.mktemp())
        path.write_text("")
        self.refused(path, str(path), "make it a folder")
        self.refused(path / "below", str(path), "make it a folder")

    def test_unwritable(self):
        """A state that this user cannot write names it."""
        if os.geteuid() == 0:
            folder = Path("/proc/mailbridge-state")  # where root cannot write either
        else:
            folder = Path(self.mktemp())
            folder.mkdir(mode=0o500)
            folder = folder / "state"
        self.refused(folder, str(folder), "may write")

    def test_not_a_database(self):
        """A file that is no data base is told from one that is damaged."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "mail.db").write_bytes(b"From harold@example.org\r\n" * 500)
        self.refused(folder, "mail.db", "not a data base", "move it away")

    def test_another_program(self):
        """The data base of another program is left alone."""
        folder = Path(self.mktemp())
        folder.mkdir()
        connection = apsw.Connection(str(folder / "mail.db"))
        connection.execute("CREATE TABLE song (title)")
        connection.close()
        self.refused(folder, "another program", "store.url")

    def test_newer(self):
        """A store of a newer mailbridge is refused with its version."""
        self.open()
        self.close(self.store, self.clock)
        connection = apsw.Connection(str(self.folder / "mail.db"))
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.refused(self.folder, "99", "upgrade mailbridge")

    def test_damaged(self):
        """A data base with overwritten pages names the remedy."""
        self.open()
        self.close(self.store, self.clock)
        with open(self.folder / "mail.db", "r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 60_000)
        self.refused(self.folder, "mail.db", "damaged", "backup")


class MigrationTests(SynchronousTestCase):
    """schema.prepare."""

    def older(self):
        """A made-up store of version 1 with one row."""
        connection = apsw.Connection(":memory:")
        self.addCleanup(connection.close)
        connection.execute(f"CREATE TABLE note (text); INSERT INTO note VALUES ('kept'); PRAGMA user_version = 1; "
                           f"PRAGMA application_id = {schema.APPLICATION_ID}")
        return connection

    def test_forward(self):
        """An older store goes through every version up to ours and keeps its rows."""
        connection = self.older()
        schema.prepare(connection, {1: "ALTER TABLE note ADD COLUMN size; UPDATE note SET size = 4",
                                    2: "ALTER TABLE note RENAME TO memo"}, 3)
        self.assertEqual(connection.execute("SELECT * FROM memo").fetchall(), [("kept", 4)])
        self.assertEqual(connection.pragma("user_version"), 3)
        schema.prepare(connection, {}, 3)

    def test_failing_step(self):
        """A step that fails leaves the version before it whole."""
        connection = self.older()
        steps = {1: "ALTER TABLE note ADD COLUMN size", 2: "DELETE FROM note; DROP TABLE missing"}
        self.assertRaises(apsw.SQLError, schema.prepare, connection, steps, 3)
        self.assertEqual(connection.pragma("user_version"), 2)
        self.assertEqual(connection.execute("SELECT * FROM note").fetchall(), [("kept", None)])

    def test_too_old(self):
        """A version from which no way leads is refused."""
        error = self.assertRaises(StartError, schema.prepare, self.older(), {2: ""}, 3)
        self.assertIn("version 1", str(error))
