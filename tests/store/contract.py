"""The contract of IStore: run on every back end by a TestCase that provides `store`, `clock`, `wait` and `settle`."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mailbridge.content import Content
from mailbridge.errors import StoreConflict, StoreError
from mailbridge.interfaces import IContentWriter, IStore
from mailbridge.store.changes import (
    Accept,
    Accepted,
    AddUser,
    Alias,
    Allocate,
    ChangeUser,
    Credentials,
    LaneState,
    Queued,
    Remember,
    RemoveUser,
    SetAlias,
    SetLane,
    Unlink,
)
from tests.store.values import CREDENTIALS, ORIGIN, envelope, mail

TO_OFFICE = Queued("bob@example.com", "relay:office", "example.com")


class Contract:
    """What the tests of the contract share."""

    store: Any
    clock: Clock

    def wait(self, deferred: Deferred[Any]) -> Any:
        """The result of `deferred`; raises its failure."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let the background work of the store come to an end."""
        raise NotImplementedError

    def commit(self, *changes: object) -> Any:
        """The receipts."""
        return self.wait(self.store.commit(*changes))

    def user(self, name: str = "bonnie") -> int:
        """The id of a new user."""
        return self.commit(AddUser(name, CREDENTIALS))[0]

    def uids(self, user: int) -> list[int]:
        """The uids of a maildrop."""
        return list(self.wait(self.store.snapshot(user)).uids)


class StoreContract(Contract):
    """Tests of what every store does with mail, users and values."""

    # --- the interface

    def test_interface(self):
        """The store and its content writers have every method of their interfaces."""
        verifyObject(IStore, self.store)
        verifyObject(IContentWriter, self.store.content())
        self.assertTrue(self.store.epoch.isalnum())
        self.assertGreater(self.store.free_octets(), 0)

    # --- messages and maildrops

    def test_accept(self):
        """A message that was accepted can be read back, octet for octet, with what is known of its origin."""
        user = self.user()
        octets = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
        (receipt,) = self.commit(Accept(envelope(octets, "abc"), (user,)))
        message = self.store.messages([receipt.message])[receipt.message]
        self.assertEqual((message.id, message.queue_id, message.sender, message.received),
                         (receipt.message, "abc", "harold@example.org", ORIGIN.time))
        self.assertEqual(self.store.read(message.content, 0, 65536), octets)
        self.assertTrue(message.content.ends_in_newline)
        self.assertEqual(json.loads(message.origin)["user"], "bonnie")
        snapshot = self.wait(self.store.snapshot(user))
        self.assertEqual((list(snapshot.uids), list(snapshot.sizes)), ([receipt.message], [len(octets)]))

    def test_ends_without_newline(self):
        """That a message has no final line end is remembered."""
        user = self.user()
        (receipt,) = self.commit(mail(user, octets=b"no end"))
        self.assertFalse(self.store.messages([receipt.message])[receipt.message].content.ends_in_newline)

    def test_empty_message(self):
        """A message without a single octet is a message."""
        user = self.user()
        (receipt,) = self.commit(mail(user, octets=b""))
        message = self.store.messages([receipt.message])[receipt.message]
        self.assertEqual(self.store.read(message.content, 0, 10), b"")

    def test_several_maildrops(self):
        """One message in two maildrops leaves one of them without leaving the other; listed twice, it is there once."""
        one, two = self.user("one"), self.user("two")
        (receipt,) = self.commit(mail(one, two, one))
        self.assertEqual((self.uids(one), self.uids(two)), ([receipt.message], [receipt.message]))
        self.commit(Unlink(one, (receipt.message,)))
        self.settle()
        self.assertEqual((self.uids(one), self.uids(two)), ([], [receipt.message]))
        self.assertIn(receipt.message, self.store.messages([receipt.message]))
        self.commit(Unlink(two, (receipt.message,)))
        self.settle()
        self.assertEqual(self.store.messages([receipt.message]), {})

    def test_order_of_arrival(self):
        """A snapshot lists messages in the order in which they came, with growing uids."""
        user = self.user()
        receipts = [self.commit(mail(user, octets=b"x" * size))[0].message for size in (5, 1, 3)]
        snapshot = self.wait(self.store.snapshot(user))
        self.assertEqual((list(snapshot.uids), list(snapshot.sizes)), (receipts, [5, 1, 3]))
        self.assertEqual(receipts, sorted(receipts))

    def test_snapshot_shows_the_size_for_pop3(self) -> None:
        """A snapshot shows the size that was given with the message, which counts what POP3 adds to it."""
        user = self.user()
        self.commit(evolve(mail(user, octets=b"12345"), maildrop_size=39))
        self.assertEqual(list(self.wait(self.store.snapshot(user)).sizes), [39])

    def test_uids_not_reused(self):
        """The uid of a message that was deleted never comes back."""
        user = self.user()
        first = self.commit(mail(user))[0].message
        self.commit(Unlink(user, (first,)))
        self.settle()
        self.assertGreater(self.commit(mail(user))[0].message, first)

    def test_unlink_strangers(self):
        """Unlinking uids that are not in the maildrop does nothing, also to other maildrops."""
        one, two = self.user("one"), self.user("two")
        (receipt,) = self.commit(mail(two))
        self.commit(Unlink(one, (receipt.message, 99999, -1)))
        self.settle()
        self.assertEqual(self.uids(two), [receipt.message])

    def test_unlink_many(self):
        """Deleting more messages than fit one transaction deletes them all."""
        user = self.user()
        keep = self.commit(mail(user))[0].message
        gone = tuple(receipt.message for receipt in self.commit(*[mail(user, octets=b"x")] * 4500))
        self.assertEqual(self.commit(Unlink(user, gone)), (None,))
        self.assertEqual(self.uids(user), [keep])

    def test_unlink_in_the_same_commit(self):
        """Two changes of one commit see each other."""
        user = self.user()
        first = self.commit(mail(user))[0].message
        _, receipt = self.commit(Unlink(user, (first,)), mail(user))
        self.assertEqual(self.uids(user), [receipt.message])

    def test_idempotency_key(self):
        """A second Accept with the key of a first stores nothing and says so, also in one commit and after a delete."""
        user = self.user()
        keyed = Accept(envelope(), (user,), key="pop:1")
        first, second = self.commit(keyed, keyed)
        self.assertEqual(second, Accepted(first.message, repeated=True))
        self.assertEqual(self.commit(keyed), (second,))
        self.assertEqual(self.uids(user), [first.message])
        self.commit(Unlink(user, (first.message,)))
        self.settle()
        self.assertEqual(self.commit(keyed), (second,))
        self.assertEqual(self.uids(user), [])

    def test_nobody_wants_it(self):
        """A message without maildrop and delivery is accepted and freed."""
        (receipt,) = self.commit(mail())
        self.settle()
        self.assertEqual(self.store.messages([receipt.message]), {})

    def test_messages_bounded(self):
        """More than 64 messages at once are refused; ids that do not exist are passed over."""
        self.assertRaises(ValueError, self.store.messages, range(65))
        self.assertEqual(self.store.messages([]), {})
        self.assertEqual(self.store.messages([1, 2]), {})

    # --- content

    def test_content_sizes(self):
        """Content of every size around the limits of rows and blocks is read back as it was written."""
        user = self.user()
        kib = 1024
        for size in (0, 1, 16 * kib - 1, 16 * kib, 16 * kib + 1, 64 * kib - 1, 64 * kib, 64 * kib + 1, 200_000):
            for step in (7001, 64 * kib, 300_000):
                octets = (b"%d:" % size + bytes(i & 0x7f | 0x40 for i in range(251)) * (size // 251 + 1))[:size]
                writer = self.store.content()
                for start in range(0, size, step):
                    pause = writer.write(octets[start:start + step])
                    if pause is not None:
                        self.wait(pause)
                self.assertEqual(writer.size, size)
                content = self.finish(writer)
                self.assertEqual(content.size, size)
                (receipt,) = self.commit(Accept(envelope(content), (user,)))
                stored = self.store.messages([receipt.message])[receipt.message].content
                self.assertEqual(stored, content)
                self.assertEqual(self.whole(stored), octets)
                self.assertEqual(self.store.read(stored, max(0, size - 5), 100), octets[-5:])

    def finish(self, writer: Any) -> Content:
        """The finished content, now or later."""
        content = writer.finish()
        return content if isinstance(content, Content) else self.wait(content)

    def whole(self, content: Content) -> bytes:
        """All octets of `content`, read in small steps."""
        pin = self.store.pin(content)
        octets = b"".join(self.store.read(content, offset, 5000) for offset in range(0, content.size, 5000))
        pin.release()
        pin.release()
        return octets

    def test_final_newline_of_large_content(self):
        """Whether large content ends in a line end is known, also when its last two octets came apart."""
        for parts, expected in (([b"x" * 70000, b"\r", b"\n"], True), ([b"x" * 70000 + b"\r\n"], True),
                                ([b"x" * 70000], False), ([b"x" * 65535 + b"\r", b"\n"], True)):
            writer = self.store.content()
            for part in parts:
                writer.write(part)
            self.assertIs(self.finish(writer).ends_in_newline, expected)

    def test_abort(self):
        """Content can be aborted at any time and more than once; it takes nothing afterwards."""
        for octets in (b"small", b"x" * 100_000):
            writer = self.store.content()
            writer.write(octets)
            writer.abort()
            writer.abort()
            self.assertRaises(StoreError, writer.write, b"more")
            self.assertRaises(StoreError, self.wait, writer.finish())
            done = self.store.content()
            done.write(octets)
            self.finish(done)
            done.abort()
            done.abort()

    # --- all or nothing

    def test_all_or_nothing(self):
        """When one change of a commit is refused, none of them happened; the next commit works."""
        user = self.user()
        for bad in (AddUser("Bonnie", CREDENTIALS), mail(99), SetLane(77, LaneState.HELD), ChangeUser(99),
                    RemoveUser(99), Allocate("n", 0)):
            before = self.wait(self.store.people())
            self.assertRaises(StoreConflict, self.commit, mail(user), AddUser("other", CREDENTIALS),
                              SetAlias("a", ("b",)), Remember("k", "v"), bad)
            self.assertEqual(self.wait(self.store.people()), before)
            self.assertEqual(self.uids(user), [])
            self.assertIsNone(self.store.recall("k"))
        self.commit(mail(user))
        self.assertEqual(len(self.uids(user)), 1)

    def test_unknown_change(self):
        """What is no change is refused with an error, not with a stop."""
        self.assertRaises(StoreError, self.commit, "not a change")
        self.user()

    def test_nothing_to_commit(self):
        """A commit of nothing succeeds."""
        self.assertEqual(self.commit(), ())

    # --- users and aliases

    def test_people(self):
        """Users and aliases come back as they were given, names in lower case."""
        bonnie = self.commit(AddUser("Bonnie", Credentials("a", "b", "c"), ("*@x.org", "y@z"), 12.5))[0]
        self.assertEqual(self.commit(SetAlias("Sales@Example.org", ("bonnie", "x@y")), SetAlias("@x.org", ("bonnie",))),
                         (False, False))
        people = self.wait(self.store.people())
        (user,) = people.users
        self.assertEqual((user.id, user.name, user.send_as, user.created), (bonnie, "bonnie", ("*@x.org", "y@z"), 12.5))
        self.assertEqual(user.credentials, Credentials("a", "b", "c"))
        self.assertEqual(people.aliases, (Alias("@x.org", ("bonnie",)),
                                          Alias("sales@example.org", ("bonnie", "x@y"))))

    def test_names_unique(self):
        """A name is taken whatever its case; after the user is removed it is free, with another id."""
        first = self.user("harold")
        self.assertRaises(StoreConflict, self.user, "HAROLD")
        self.assertEqual(self.commit(RemoveUser(first)), (0,))
        self.assertGreater(self.user("Harold"), first)

    def test_change_user(self):
        """Credentials and send_as are replaced one without the other."""
        user = self.user()
        self.commit(ChangeUser(user, credentials=Credentials("n", "m")))
        self.commit(ChangeUser(user, send_as=("z@z",)))
        (found,) = self.wait(self.store.people()).users
        self.assertEqual((found.credentials, found.send_as), (Credentials("n", "m"), ("z@z",)))

    def test_aliases_replaced(self):
        """An alias is replaced and removed; the receipt says whether it was there."""
        self.assertEqual(self.commit(SetAlias("a", ("b",)), SetAlias("A", ("c",))), (False, True))
        self.assertEqual(self.wait(self.store.people()).aliases, (Alias("a", ("c",)),))
        self.assertEqual(self.commit(SetAlias("a", ()), SetAlias("a", ())), (True, False))
        self.assertEqual(self.wait(self.store.people()).aliases, ())

    def test_remove_user(self):
        """Removing a user empties his maildrop only, and says how many messages were in it."""
        one, two = self.user("one"), self.user("two")
        shared = self.commit(mail(one, two))[0].message
        own = [self.commit(mail(one))[0].message for _ in range(3)]
        self.assertEqual(self.commit(RemoveUser(one)), (4,))
        self.assertEqual(self.uids(one), [])
        self.assertRaises(StoreConflict, self.commit, mail(one))
        self.settle()
        self.assertEqual(self.uids(two), [shared])
        self.assertEqual(list(self.store.messages([shared, *own])), [shared])

    def test_repr_without_secrets(self):
        """No secret shows when users are printed."""
        self.commit(AddUser("x", Credentials("hush1", "hush2", "hush3")))
        self.assertNotIn("hush", repr(self.wait(self.store.people())))

    # --- counters and remembered values

    def test_allocate(self):
        """Numbers of a counter are given out once; each counter has its own; names of tables are no other's."""
        self.assertEqual(self.commit(Allocate("n", 3), Allocate("n"), Allocate("m", start=70), Allocate("message")),
                         (1, 4, 70, 1))
        self.assertEqual((self.store.counter("n"), self.store.counter("m"), self.store.counter("x")), (5, 71, None))
        self.assertEqual(self.commit(Allocate("n", start=500)), (5,))

    def test_remember(self):
        """A value is kept, replaced and forgotten."""
        self.assertIsNone(self.store.recall("k"))
        self.assertEqual(self.commit(Remember("k", "1"), Remember("k", "2")), (None, None))
        self.assertEqual(self.store.recall("k"), "2")
        self.commit(Remember("k", None), Remember("never", None))
        self.assertIsNone(self.store.recall("k"))

    def test_remembered(self):
        """Values are read in pages by the beginning of their keys, whatever letters those have."""
        self.commit(*(Remember(key, key.upper()) for key in ("a:1", "a:2", "a:\U0010fffe", "a%", "b:1", "a:3")))
        self.assertEqual(self.wait(self.store.remembered("a:", "", 2)), {"a:1": "A:1", "a:2": "A:2"})
        self.assertEqual(list(self.wait(self.store.remembered("a:", "a:2", 9))), ["a:3", "a:\U0010fffe"])
        self.assertEqual(self.wait(self.store.remembered("c", "", 9)), {})
        self.commit(Remember("a:1", None), Remember("a:1", "again"), Remember("a:2", "x"), Remember("a:2", None))
        self.assertEqual(self.wait(self.store.remembered("a:", "", 2)), {"a:1": "again", "a:3": "A:3"})

    # --- leases, watching, the end

    def test_leases(self):
        """A lease keeps others out until it is released or runs out; its owner renews it."""
        self.assertTrue(self.wait(self.store.lease("maildrop:1", "a", 10)))
        self.assertFalse(self.wait(self.store.lease("maildrop:1", "b", 10)))
        self.assertTrue(self.wait(self.store.lease("maildrop:2", "b", 10)))
        self.clock.advance(8)
        self.assertTrue(self.wait(self.store.lease("maildrop:1", "a", 10)))
        self.clock.advance(8)
        self.assertFalse(self.wait(self.store.lease("maildrop:1", "b", 10)))
        self.wait(self.store.release("maildrop:1", "b"))
        self.assertFalse(self.wait(self.store.lease("maildrop:1", "b", 10)))
        self.wait(self.store.release("maildrop:1", "a"))
        self.assertTrue(self.wait(self.store.lease("maildrop:1", "b", 10)))
        self.clock.advance(10)
        self.assertTrue(self.wait(self.store.lease("maildrop:1", "c", 10)))

    def test_watch(self):
        """Whoever watches people, lanes or a maildrop is told of changes to it, until he ends it."""
        user, other = self.user("one"), self.user("two")
        told: list[str] = []
        ends = [self.store.watch(topic, lambda topic=topic: told.append(topic))
                for topic in ("people", "lanes", f"maildrop:{user}")]
        for change, topic in ((mail(other), None), (mail(user), f"maildrop:{user}"), (SetAlias("a", ("b",)), "people"),
                              (Accept(envelope(), (), (TO_OFFICE,)), "lanes"), (Remember("k", "v"), None),
                              (Unlink(user, (1,)), f"maildrop:{user}")):
            told.clear()
            self.commit(change)
            self.settle()
            self.assertEqual(set(told), {topic} - {None}, change)
        for end in ends:
            end()
            end()
        told.clear()
        self.commit(mail(user), SetAlias("a", ()))
        self.assertEqual(told, [])

    def test_bad_watcher(self):
        """A watcher that fails hurts neither the commit nor the other watchers."""
        told = []
        self.store.watch("people", lambda: 1 // 0)
        self.store.watch("people", lambda: told.append(1))
        self.user()
        self.settle()
        self.assertEqual(told, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed(self):
        """A closed store says so."""
        self.wait(self.store.close())
        self.assertRaises(StoreError, self.commit, Remember("k", "v"))
        self.assertRaises(StoreError, self.wait, self.store.snapshot(1))
        self.wait(self.store.close())
