"""A user's maildrop over a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.address import NULL, parse_mailbox
from mailbridge.content import Content, Extent
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import MaildropInUse, StoreError
from mailbridge.interfaces import IMaildrop
from mailbridge.received import maildrop_size
from mailbridge.store.changes import Accept, AddUser, Credentials, Message, Unlink
from mailbridge.store.memory import MemoryStore
from mailbridge.target import maildrop as module
from mailbridge.target.maildrop import Maildrop

ORIGIN = Origin("smtp[0]", "192.0.2.1", "client", None, None, 0.0, "SMTP")


class Pin:
    """Counts what is pinned."""

    def __init__(self, pins: list[Pin]) -> None:
        self._pins = pins
        pins.append(self)

    def release(self) -> None:
        """No longer."""
        self._pins.remove(self)


class RecordingStore(MemoryStore):
    """A store in memory that counts reads, can fail, and has large content in one file."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.file = b""
        self.reads: list[list[int]] = []
        self.commits: list[tuple[object, ...]] = []
        self.pins: list[Pin] = []
        self.failing = False
        self.leasing: Deferred[bool] | None = None

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """Recorded."""
        if self.failing:
            return fail(StoreError("the disk is gone"))
        self.commits.append(changes)
        return super().commit(*changes)

    def messages(self, ids: Sequence[int]) -> dict[int, Message]:
        """Recorded."""
        self.reads.append(list(ids))
        return super().messages(ids)

    def read(self, content: Content, offset: int, length: int) -> bytes:
        """From the file, which may be too short."""
        return self.file[offset:min(content.size, offset + length)] if content.extents else \
            super().read(content, offset, length)

    def pin(self, content: Content) -> Any:
        """Recorded."""
        return Pin(self.pins)

    def lease(self, name: str, owner: str, ttl: float) -> Deferred[bool]:
        """At once, or when the test says."""
        taken = super().lease(name, owner, ttl)
        return taken if self.leasing is None else self.leasing.addCallback(lambda _: taken)


def deposit(store: MemoryStore, user: int, content: Content, sender: str = "a@x.example") -> None:
    """Put a message into a maildrop, as the intake does."""
    address = parse_mailbox(sender.encode()) if sender else NULL
    envelope = Envelope("Q1", address, (parse_mailbox(b"bonnie@x.example"),), ORIGIN, content)
    store.commit(Accept(envelope, (user,), maildrop_size=maildrop_size(address, content)))


class MaildropTests(SynchronousTestCase):
    """One session's view."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = RecordingStore(self.clock)
        (self.user,) = self.successResultOf(self.store.commit(AddUser("bonnie", Credentials("", ""))))  # type: ignore
        self.store.commits.clear()

    def maildrop(self, owner: str = "one") -> Maildrop:
        """A maildrop that is not open yet."""
        return Maildrop(self.store, self.user, self.clock, owner)

    def opened(self, messages: int = 0) -> Maildrop:
        """An open maildrop with so many small messages."""
        for number in range(messages):
            deposit(self.store, self.user, Content.of(b"Subject: %d\r\n\r\nx\r\n" % number))
        maildrop = self.maildrop()
        self.sizes = self.successResultOf(maildrop.open())
        self.store.commits.clear()
        return maildrop

    def test_interface(self) -> None:
        """It is what a POP3 session wants."""
        self.assertTrue(verifyObject(IMaildrop, self.maildrop()))

    def test_sizes_are_octets_sent(self) -> None:
        """The size of each message is exactly what is sent of it, with Return-Path and a missing line end."""
        deposit(self.store, self.user, Content.of(b"a: b\r\n\r\nx\r\n"))
        deposit(self.store, self.user, Content.of(b"a: b\r\n\r\nno end"), sender="")
        maildrop = self.opened()
        first, second = maildrop.retrieve(0), maildrop.retrieve(1)
        self.assertEqual(first, b"Return-Path: <a@x.example>\r\na: b\r\n\r\nx\r\n")
        self.assertEqual(second, b"Return-Path: <>\r\na: b\r\n\r\nno end")
        self.assertEqual(list(self.sizes), [len(first), len(second) + 2])

    def test_uids(self) -> None:
        """A unique id names the store and the message, and stays with the message."""
        maildrop = self.opened(3)
        uids = [maildrop.uid(index) for index in range(3)]
        self.assertEqual(len(set(uids)), 3)
        for uid in uids:
            self.assertTrue(uid.startswith(self.store.epoch.encode() + b"."))
            self.assertLessEqual(len(uid), 70)
        self.successResultOf(maildrop.delete(iter([0])))
        self.successResultOf(maildrop.close())
        again = self.opened()
        self.assertEqual([again.uid(0), again.uid(1)], uids[1:])

    def test_one_session(self) -> None:
        """A second session is refused until the first has closed."""
        first = self.opened()
        self.failureResultOf(self.maildrop("two").open(), MaildropInUse)
        self.successResultOf(first.close())
        self.successResultOf(first.close())
        self.successResultOf(self.maildrop("two").open())

    def test_lease_is_renewed(self) -> None:
        """A long session keeps the maildrop; one that died gives it up after two minutes."""
        first = self.opened()
        self.clock.pump([10.0] * 100)
        self.failureResultOf(self.maildrop("two").open(), MaildropInUse)
        first.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.store.lease(f"maildrop:{self.user}", "dead", module.LEASE_TIME)
        self.failureResultOf(self.maildrop("two").open(), MaildropInUse)
        self.clock.advance(module.LEASE_TIME + 1)
        self.successResultOf(self.maildrop("two").open())

    def test_stolen_lease_deletes_nothing(self) -> None:
        """A session that lost its lease removes nothing any more."""
        maildrop = self.opened(1)
        self.store.release(f"maildrop:{self.user}", "one")
        self.store.lease(f"maildrop:{self.user}", "two", 1000.0)
        self.clock.advance(module.RENEW_EVERY)
        self.failureResultOf(maildrop.delete(iter([0])), StoreError)
        self.assertEqual(self.store.commits, [])

    def test_closed_while_opening(self) -> None:
        """A client that goes while its maildrop is opened leaves no lock behind."""
        self.store.leasing = Deferred()
        maildrop = self.maildrop()
        opening = maildrop.open()
        self.successResultOf(maildrop.close())
        self.store.leasing.callback(True)
        self.failureResultOf(opening, StoreError)
        self.store.leasing = None
        self.successResultOf(self.maildrop("two").open())
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # the renewal of the second

    def test_reads_ahead(self) -> None:
        """A client that reads in order costs one read in 16 messages; one that jumps reads only what it wants."""
        maildrop = self.opened(40)
        for index in range(40):
            self.assertIn(b"Subject: %d\r\n" % index, maildrop.retrieve(index))
        self.assertEqual([len(read) for read in self.store.reads], [16, 16, 8])
        self.store.reads.clear()
        for index in (39, 39, 5, 2):
            self.assertIn(b"Subject: %d\r\n" % index, maildrop.retrieve(index))
        self.assertEqual([len(read) for read in self.store.reads], [1, 1])

    def test_reads_on_while_the_client_is_busy(self) -> None:
        """A client that reads in order waits for the first read only; the end of the session ends the reading on."""
        maildrop = self.opened(40)
        for index in range(16):
            maildrop.retrieve(index)
        self.clock.advance(0)
        self.assertEqual([len(read) for read in self.store.reads], [16, 16])
        for index in range(16, 32):
            maildrop.retrieve(index)
        self.assertEqual(len(self.store.reads), 2)
        self.successResultOf(maildrop.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_large(self) -> None:
        """A large message comes in chunks, pinned until it is read or given up."""
        self.store.file = bytes(range(65, 91)) * 10_000
        size = len(self.store.file)
        deposit(self.store, self.user, Content(size, None, (Extent(1, 0, size),), False))
        maildrop = self.opened()
        chunks = list(maildrop.retrieve(0))
        self.assertEqual(b"".join(chunks), b"Return-Path: <a@x.example>\r\n" + self.store.file)  # type: ignore
        self.assertLess(max(map(len, chunks)), 66_000)  # type: ignore[arg-type]
        self.assertEqual(self.store.pins, [])
        half = maildrop.retrieve(0)
        next(half)  # type: ignore[arg-type]
        self.assertEqual(len(self.store.pins), 1)
        half.close()  # type: ignore[union-attr]
        self.assertEqual(self.store.pins, [])

    def test_cut_short(self) -> None:
        """A message that is shorter on disk than it should be is an error, not a shorter message."""
        self.store.file = b"x" * 70_000
        deposit(self.store, self.user, Content(80_000, None, (Extent(1, 0, 80_000),), True))
        maildrop = self.opened()
        self.assertRaises(StoreError, lambda: list(maildrop.retrieve(0)))
        self.assertEqual(self.store.pins, [])

    def test_delete_in_slices(self) -> None:
        """Many messages are removed in commits of a bounded size, and only those."""
        maildrop = self.opened(2500)
        self.successResultOf(maildrop.delete(iter(range(1, 2500))))
        uids = [change.uids for (change,) in self.store.commits if isinstance(change, Unlink)]
        self.assertEqual([len(piece) for piece in uids], [2000, 499])
        maildrop.close()
        self.assertEqual(len(self.successResultOf(self.maildrop().open())), 1)

    def test_delete_fails(self) -> None:
        """When the store fails, the messages are still there."""
        maildrop = self.opened(2)
        self.store.failing = True
        self.failureResultOf(maildrop.delete(iter([0, 1])), StoreError)
        self.store.failing = False
        maildrop.close()
        self.assertEqual(len(self.successResultOf(self.maildrop().open())), 2)

    def test_gone(self) -> None:
        """A message the operator has removed meanwhile is a LookupError."""
        maildrop = self.opened(1)
        self.store.commit(Unlink(self.user, (int(maildrop.uid(0).partition(b".")[2]),)))
        self.assertRaises(LookupError, maildrop.retrieve, 0)
