"""The check of a store finds every kind of damage and nothing in a sound store."""

import os
import shutil
from pathlib import Path

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.store.changes import Accept, AddUser, Queued, RemoveUser, SetAlias, Unlink
from mailbridge.store.check import check_store, orphan_octets
from tests.store.test_sqlite import OpenStore
from tests.store.values import CREDENTIALS, envelope, mail


class CheckTests(OpenStore, SynchronousTestCase):
    """check_store on stores that were made and then damaged."""

    def setUp(self):
        """A store with two users, small and large messages, a delivery, and garbage."""
        self.open(min_free=0)
        self.path = self.folder / "mail.db"
        self.one, self.two = self.wait(self.store.commit(AddUser("one", CREDENTIALS), AddUser("two", CREDENTIALS)))
        writer = self.store.content()
        writer.write(b"x" * 100_000)
        large = self.wait(writer.finish())
        more = self.store.content()
        more.write(b"y" * 50_000)
        other = self.wait(more.finish())
        self.receipts = self.wait(self.store.commit(
            mail(self.one, self.two), mail(self.one), Accept(envelope(large), (self.two,)),
            Accept(envelope(other), (self.two,), (Queued("a@b", "relay:x", "b", 5.0),)), SetAlias("a", ("b",))))

    def damage(self, *statements):
        """Close the store, change its tables behind its back, and check."""
        self.close(self.store, self.clock)
        connection = apsw.Connection(str(self.path))
        for statement in statements:
            connection.execute(statement)
        connection.close()
        return check_store(self.path)

    def test_sound_while_running(self):
        """A store in use is sound, before and after the purge."""
        self.assertEqual(check_store(self.path), [])
        self.wait(self.store.commit(Unlink(self.one, (self.receipts[0].message,)), RemoveUser(self.two)))
        self.assertEqual(check_store(self.path), [])
        self.settle()
        self.assertEqual(check_store(self.path), [])

    def test_sound_when_stopped(self):
        """A store that was closed is sound; the check does not need the daemon."""
        self.assertEqual(self.damage(), [])

    def test_damage(self):
        """Each kind of damage is found, and the line names the thing."""
        cases = (
            ("DELETE FROM message WHERE id = 2", "message 2, which does not exist"),
            ("DELETE FROM user WHERE id = 1", "user 1, who does not exist"),
            ("UPDATE message SET refs = 9 WHERE id = 1", "message 1 counts 9 references and has 2"),
            ("INSERT INTO message VALUES (700, 'q', '', '{}', 0, 0, 1, 0, NULL, x'')", "700 is held by nothing"),
            ("UPDATE message SET octets = x'00' WHERE id = 1", "message 1 has 1 octets"),
            ("UPDATE delivery SET message = 800", "delivery 1 is of message 800"),
            ("UPDATE delivery SET state = 7", "delivery 1 has state 7"),
            ("UPDATE message SET traits = 1", "message 4 has deliveries and cannot be found"),
            ("UPDATE delivery SET lane = 900", "lane 900, which does not exist"),
            ("UPDATE lane SET waiting = 4", "lane 1 counts 4 waiting and has 1"),
            ("UPDATE lane SET due = 1", "lane 1 is due at 1.0"),
            ("UPDATE counter SET next = 2 WHERE name = 'message'", "counter message is at 2"),
            ("UPDATE message SET extents = 'what' WHERE id = 3", "extents that cannot be read"),
            ("UPDATE message SET size = 5 WHERE id = 3", "message 3 has 100000 octets in segments and says 5"),
            ("UPDATE message SET extents = replace(extents, ':0:', ':9999999:') WHERE id = 3", "message 3 reaches to"),
            ("UPDATE message SET extents = replace(extents, ':100000:', ':99999:') WHERE id = 4", "overlap"),
            ("DELETE FROM placement WHERE message = 3", "placements differ"),
            ("UPDATE segment SET live = 1", "counts 1 live octets"),
        )
        self.close(self.store, self.clock)
        for statement, expected in cases:
            copy = Path(self.mktemp())
            copy.mkdir()
            os.symlink(self.folder.absolute() / "segments", copy / "segments")
            shutil.copy(self.path, copy / "mail.db")
            connection = apsw.Connection(str(copy / "mail.db"))
            connection.execute(statement)
            connection.close()
            found = check_store(copy / "mail.db")
            self.assertTrue(any(expected in line for line in found), (statement, found))

    def test_missing_segment(self):
        """A segment file that is gone is found."""
        self.close(self.store, self.clock)
        for file in (self.folder / "segments").iterdir():
            file.unlink()
        self.assertTrue(any("is missing; 2 messages" in line for line in check_store(self.path)))

    def test_many_findings(self):
        """A thousand faults of one kind are not a thousand lines."""
        self.wait(self.store.commit(*[mail(self.one)] * 100))
        found = self.damage("UPDATE message SET refs = 9")
        self.assertTrue(any(line.startswith("and more") for line in found))
        self.assertLess(len(found), 25)

    def test_orphans_are_information(self):
        """Octets in segments that belong to nothing are counted, and are no fault."""
        before = orphan_octets(self.path)
        (self.folder / "segments" / "0000000000ff").write_bytes(b"x" * 1234)
        self.assertEqual(orphan_octets(self.path), before + 1234)
        self.assertEqual(check_store(self.path), [])

    def test_no_store(self):
        """A file that is missing, of another program, of another version or no data base is one line."""
        self.assertEqual(len(check_store(Path(self.mktemp()))), 1)
        for octets, statement in ((b"not a data base " * 100, None), (b"", "CREATE TABLE t (x)"),
                                  (b"", "PRAGMA user_version = 3")):
            path = Path(self.mktemp())
            path.write_bytes(octets)
            if statement:
                connection = apsw.Connection(str(path))
                connection.execute(statement)
                connection.close()
            self.assertEqual(len(check_store(path)), 1)
        self.assertIn("version 99", self.damage("PRAGMA user_version = 99")[0])
