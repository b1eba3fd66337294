"""Large maildrops and queues: slices, and statements that use an index however much there is."""

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.store import garbage, lanes, maildrops, operating, queue, schema, selecting
from mailbridge.store.apply import APPLY
from mailbridge.store.batch import Batch, Known
from mailbridge.store.changes import (
    Accept,
    AddUser,
    Delivery,
    Queued,
    RemoveUser,
    RetryNow,
    Selection,
    Settle,
    Unlink,
    Verdict,
)
from tests.store.values import CREDENTIALS, envelope, mail

MANY = 120_000


class Tables(apsw.Connection):
    """A data base in memory that notes the plan of every statement."""

    plans: list[tuple[str, str]]

    def execute(self, statements, bindings=None, **more):
        """Explain it, then run it."""
        if statements.split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE", "WITH"):
            for row in super().execute("EXPLAIN QUERY PLAN " + statements, bindings):
                self.plans.append((statements, row[3]))
        return super().execute(statements, bindings, **more)


class LargeTests(SynchronousTestCase):
    """Tables with a user and some rows, without threads."""

    def setUp(self):
        """An empty data base with a user."""
        self.connection = Tables(":memory:")
        self.connection.plans = []
        self.addCleanup(self.connection.close)
        schema.prepare(self.connection)
        self.known = Known(self.connection)
        (self.user,) = self.apply(AddUser("bonnie", CREDENTIALS))
        self.connection.plans.clear()

    def apply(self, *changes):
        """The receipts of one transaction."""
        batch = Batch(self.connection, self.known, 100.0)
        receipts = []
        for change in changes:
            APPLY[type(change)](batch, change, receipts)
        queue.settle_all(batch)
        batch.flush()
        return receipts

    def fill(self, count):
        """Entries of a maildrop without messages."""
        self.connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                                "INSERT INTO maildrop SELECT ?, i * 3, i FROM n", (count, self.user))

    def test_snapshot_in_slices(self):
        """A maildrop larger than a slice is read whole and in order."""
        for count in (0, 1, maildrops.SNAPSHOT_SLICE, MANY):
            self.connection.execute("DELETE FROM maildrop")
            if count:
                self.fill(count)
            self.connection.plans.clear()
            snapshot = maildrops.snapshot(self.connection, self.user)
            self.assertEqual(list(snapshot.uids), list(range(3, 3 * count + 1, 3)))
            self.assertEqual(list(snapshot.sizes), list(range(1, count + 1)))

    def test_leaving_in_slices(self):
        """The maildrop of a removed user is unlinked a slice at a time; nothing of it is seen meanwhile."""
        self.fill(5000)
        self.assertEqual(self.apply(RemoveUser(self.user)), [5000])
        self.assertEqual(len(maildrops.snapshot(self.connection, self.user).uids), 0)
        self.assertEqual(self.apply(garbage.Free(100)), [True])
        self.assertEqual(self.connection.execute("SELECT count(*) FROM garbage").get, maildrops.SLICE)
        slices = 0
        while self.apply(garbage.Free(100)) == [True]:
            slices += 1
        self.assertGreater(slices, 50)
        for table in ("maildrop", "garbage", "leaving"):
            self.assertIsNone(self.connection.execute(f"SELECT 1 FROM {table}").get, table)

    def test_no_scans(self):
        """No statement of a running store reads a whole table of messages, entries, deliveries or garbage."""
        accepted = self.apply(mail(self.user), Accept(envelope(), (), (Queued("a@b", "relay:x", "b", 5.0),) * 3, "key"))
        (claimed,) = self.apply(queue.Claim("me", 1, 2, 60.0))
        self.apply(queue.Renew("me", claimed, 60.0), queue.Claim("me", 1, 1, -1.0), lanes.ListLanes())
        self.apply(lanes.ListReady(10))
        for selection in (Selection(queue_id="q1"), Selection(target="relay:x"), Selection(recipient="a@b")):
            search = selecting.Search(selection, 0, 10)
            while not search.step(self.connection):
                pass
            self.assertEqual(len(search.found), 3)
            selecting.entries(self.connection, search.found, 0.0)
            self.apply(operating.Operate(RetryNow(selection), tuple(search.found)))
        self.apply(*(Settle(delivery.id, delivery.fence, verdict, 7.0) for delivery, verdict in
                     zip(claimed, Verdict, strict=True)), Settle(99, 1, Verdict.DONE))
        maildrops.messages(self.connection, [receipt.message for receipt in accepted])
        maildrops.snapshot(self.connection, self.user)
        self.apply(Unlink(self.user, (accepted[0].message,)))
        self.apply(garbage.Free(100))
        self.apply(garbage.DropSegments((1, 2)), garbage.Residents(5, 10), garbage.Relocate(1, (), ()))
        self.apply(RemoveUser(self.user))
        self.apply(garbage.Free(100))
        large = ("message", "m", "maildrop", "delivery", "d", "placement")
        scans = [(plan, statement) for statement, plan in self.connection.plans
                 if plan.startswith("SCAN") and plan.split()[1] in large
                 and "LIMIT ?) AS d" not in statement]  # a slice of a search reads what it was given
        self.assertEqual(scans, [])
        plans = " ".join(plan for _, plan in self.connection.plans)
        for index in ("message_queued", "delivery_lane", "delivery_waiting", "delivery_claimed", "lane_ready"):
            self.assertIn(index, plans)
        self.assertGreater(len(self.connection.plans), 40)
        self.assertIsInstance(claimed[0], Delivery)

    def test_recovery_reads_claims_only(self):
        """Start-up reads claimed deliveries by their index, not the whole queue."""
        queue.recover(self.connection)
        scans = [plan for _, plan in self.connection.plans if plan.startswith("SCAN")]
        self.assertEqual([plan for plan in scans if "delivery" in plan and "delivery_claimed" not in plan], [])
