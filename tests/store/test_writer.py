"""The writer: group commit, and errors that hurt only who caused them. Faults are injected through the connection."""

import threading

import apsw
from attrs import evolve
from twisted.internet.defer import gatherResults
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreConflict, StoreError, StoreFull
from mailbridge.store import database
from mailbridge.store.changes import Accept, AddUser, Remember, RemoveUser, SetAlias, Unlink
from mailbridge.store.check import check_store
from tests.store.test_sqlite import OpenStore
from tests.store.values import CREDENTIALS, envelope, mail


class Bug(BaseException):
    """What no code expects."""


class FaultyConnection(apsw.Connection):
    """A connection that counts statements, waits for a gate before each transaction, and raises what it is told to."""

    faults: "Faults"

    def execute(self, statements, bindings=None, **more):
        """Run it, unless it is to fail."""
        self.faults.before(statements)
        return super().execute(statements, bindings, **more)


class Faults:
    """Makes the connections of one store; `fail[start of a statement]` is the exception to raise, or a callable."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self.fail = {}
        self.statements = []
        self.writers = 0

    def connect(self, path, flags):
        """The seam of the store."""
        if flags == database.READ_ONLY:
            return database.connect(path, flags)
        self.writers += 1
        connection = FaultyConnection(path, flags=flags)
        connection.faults = self
        return connection

    def before(self, statement):
        """Called by the connection."""
        self.statements.append(statement)
        if statement.startswith("BEGIN"):
            self.began.set()
            self.gate.wait(20)
        for start, error in self.fail.items():
            if statement.startswith(start):
                if callable(error) and not isinstance(error, type):
                    error = error()
                if error is not None:
                    raise error

    def count(self, start):
        """How many statements began so."""
        return sum(statement.startswith(start) for statement in self.statements)


class WriterTests(OpenStore, SynchronousTestCase):
    """One store with a faulty connection."""

    def setUp(self):
        """A store with a user."""
        self.faults = Faults()
        self.open(min_free=0, connect=self.faults.connect, on_death=self.died)
        self.deaths = []
        (self.user,) = self.wait(self.store.commit(AddUser("bonnie", CREDENTIALS)))

    def died(self, failure):
        """The store's writer died."""
        self.deaths.append(failure)

    def together(self, *commits):
        """Make commits that go into one transaction; their results or exceptions."""
        self.faults.gate.clear()
        self.faults.began.clear()
        first = self.store.commit(Remember("first", "1"))
        self.faults.began.wait(20)
        deferreds = [self.store.commit(*changes) for changes in commits]
        self.faults.statements.clear()
        self.faults.gate.set()
        self.wait(first)
        results = []
        for deferred in deferreds:
            try:
                results.append(self.wait(deferred))
            except StoreError as error:
                results.append(error)
        return results

    def uids(self):
        """The maildrop."""
        return list(self.wait(self.store.snapshot(self.user)).uids)

    def test_group_commit(self):
        """What waits while a transaction is synced goes into one transaction, one statement a table."""
        results = self.together(*[(mail(self.user),)] * 50)
        self.assertEqual(self.uids(), [receipt.message for (receipt,) in results])
        self.assertEqual(self.faults.count("COMMIT"), 2)  # the first commit, and all others
        self.assertEqual(self.faults.count("INSERT INTO message"), 1)
        self.assertEqual(self.faults.count("INSERT INTO maildrop"), 1)

    def test_one_wake_up(self):
        """All results of a transaction reach the reactor in one call."""
        calls = []
        real = self.clock.callFromThread
        self.clock.callFromThread = lambda *call: (calls.append(call), real(*call))
        self.together(*[(mail(self.user),)] * 50)
        self.assertEqual(len(calls), 2)  # the first commit, and all others

    def test_conflict_alone(self):
        """A conflict in one of many commits fails that one; the others are stored, each once."""
        results = self.together(*[(mail(self.user),)] * 10, (mail(99), Remember("k", "v")), *[(mail(self.user),)] * 10)
        self.assertIsInstance(results[10], StoreConflict)
        stored = [result[0].message for index, result in enumerate(results) if index != 10]
        self.assertEqual(self.uids(), stored)
        self.assertIsNone(self.store.recall("k"))

    def test_constraint_alone(self):
        """A row that SQLite refuses fails its own commit only."""
        bad = Accept(evolve(envelope(), queue_id=None), (self.user,))
        results = self.together((mail(self.user),), (bad,), (Remember("k", object()),), (mail(self.user),))
        self.assertIsInstance(results[1], StoreError)
        self.assertIsInstance(results[2], StoreError)
        self.assertEqual(self.uids(), [results[0][0].message, results[3][0].message])

    def test_removed_meanwhile(self):
        """Mail for a user who is removed in the same moment is a conflict; mail that was before him is not."""
        results = self.together((mail(self.user),), (RemoveUser(self.user),), (mail(self.user),))
        self.assertEqual(results[1], (1,))
        self.assertIsInstance(results[2], StoreConflict)

    def test_disk_full(self):
        """A full disk refuses new mail with StoreFull and lets the rest through; with room again all is well."""
        self.faults.fail["INSERT INTO message"] = apsw.FullError("full")
        results = self.together((mail(self.user),), (SetAlias("a", ("b",)),), (mail(self.user),))
        self.assertIsInstance(results[0], StoreFull)
        self.assertEqual(results[1], (False,))
        self.assertIsInstance(results[2], StoreFull)
        self.faults.fail.clear()
        self.assertEqual(len(self.together((mail(self.user),))), 1)
        self.assertEqual(len(self.uids()), 1)

    def test_full_at_commit(self):
        """A disk that fills up at the COMMIT itself is the same."""
        self.faults.fail["COMMIT"] = apsw.FullError("full")
        self.assertRaises(StoreFull, self.wait, self.store.commit(mail(self.user)))
        self.faults.fail.clear()
        self.wait(self.store.commit(mail(self.user)))
        self.assertEqual(len(self.uids()), 1)

    def test_input_output_error(self):
        """After an I/O error the whole transaction fails, the connection is opened anew, and the store goes on."""
        self.wait(self.store.commit(mail(self.user)))
        before = self.uids()
        writers = self.faults.writers
        errors = [apsw.IOError("disk")]
        self.faults.fail["COMMIT"] = lambda: (
            errors.pop() if errors and self.faults.count("INSERT INTO message") else None)
        events = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        results = self.together((mail(self.user),), (SetAlias("a", ("b",)),))
        for result in results:
            self.assertIsInstance(result, StoreError)
            self.assertNotIsInstance(result, StoreFull)
        self.assertEqual([event["error"] for event in events if event["log_level"] is LogLevel.critical], ["disk"])
        self.assertEqual(self.uids(), before)
        (receipt,) = self.wait(self.store.commit(mail(self.user)))
        self.assertEqual(self.faults.writers, writers + 1)
        self.assertEqual(self.uids(), [*before, receipt.message])
        self.assertEqual(check_store(self.folder / "mail.db"), [])

    def test_failing_for_long(self):
        """While the disk cannot be opened every commit fails; when it can, they succeed again."""
        self.faults.fail["BEGIN"] = apsw.IOError("disk")
        self.faults.fail["SELECT json_group_array(id) FROM user"] = apsw.CantOpenError("disk")
        for _ in range(3):
            self.assertRaises(StoreError, self.wait, self.store.commit(mail(self.user)))
        self.faults.fail.clear()
        self.wait(self.store.commit(mail(self.user)))
        self.assertEqual(self.deaths, [])

    def test_death(self):
        """A bug in the writer's thread fails all who wait, and the process is told to exit."""
        self.faults.gate.clear()
        self.faults.fail["BEGIN"] = Bug()
        waiting = [self.store.commit(mail(self.user)) for _ in range(5)]
        self.faults.gate.set()
        for deferred in waiting:
            self.assertRaises(StoreError, self.wait, deferred)
        while not self.deaths:
            self.assertTrue(self.clock.turn())
        self.assertTrue(self.deaths[0].check(Bug))
        self.assertRaises(StoreError, self.wait, self.store.commit(mail(self.user)))

    def test_close_finishes(self):
        """What was given before the close is committed before it."""
        waiting = gatherResults([self.store.commit(mail(self.user)) for _ in range(600)])
        closed = self.store.close()
        self.assertEqual(len(self.wait(waiting)), 600)
        self.wait(closed)

    def test_long_unlink_lets_others_in(self):
        """A commit that comes while thousands are deleted does not wait for all of them."""
        receipts = self.wait(self.store.commit(*[mail(self.user, octets=b"x")] * 9000))
        order = []
        long = self.store.commit(Unlink(self.user, tuple(receipt.message for receipt in receipts)))
        long.addCallback(lambda _: order.append("long"))
        self.store.commit(Remember("k", "v")).addCallback(lambda _: order.append("short"))
        self.wait(long)
        self.assertEqual(order, ["short", "long"])
