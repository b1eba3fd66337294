"""Collecting an account: each message once, whatever the server does; deletes after commits only."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.fetch.collection import MOST_RECONNECTS, QUIT_TIME, WINDOW, Collection
from mailbridge.fetch.ledger import DAY
from mailbridge.fetch.poison import FAILURES, REST
from mailbridge.fetch.recipient import Addressing
from mailbridge.fetch.wayin import End, Stop
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.routing.rules import Rule
from tests.fetch.bridge_world import BridgeWorld
from tests.fetch.upstream import Mailbox, account, message


class CollectionTests(SynchronousTestCase):
    """A mailbox in memory into a bridge in memory."""

    def setUp(self) -> None:
        self.world = BridgeWorld()
        self.addCleanup(self.world.close)
        self.box = Mailbox()

    def subjects(self, user: str = "bonnie") -> list[int]:
        """The numbers of the messages in a maildrop, in order."""
        found = self.world.directory.user(user)
        assert found is not None
        contents = [each.envelope.content.octets or b"" for each in self.world.accepts() if found.id in each.deposits]
        return [int(octets.partition(b"Subject: ")[2].split(b"\r\n")[0]) for octets in contents]

    def ledger(self) -> dict[str, str]:
        """All entries, without what is the same in each."""
        page = self.successResultOf(self.world.store.remembered("fetch:", "", 1000))
        return {key.rpartition(":")[2]: value for key, value in page.items()}

    def test_collects(self) -> None:
        """All messages are delivered in order and deleted at QUIT; the tally says so."""
        collection = self.world.collect(self.box.fill(5))
        self.assertEqual(self.subjects(), [1, 2, 3, 4, 5])
        self.assertEqual((self.box.messages, self.box.quits), ({}, 1))
        counts = collection.tally.now
        self.assertEqual((counts.listed, counts.fetched, counts.delivered, counts.deleted), (5, 5, 5, 5))
        self.assertEqual(counts.octets, sum(len(message(n)) for n in range(1, 6)))
        self.assertEqual((collection.tally.error, collection.tally.running), ("", False))
        self.assertEqual(collection.tally.record()["last_success"], self.world.clock.seconds())

    def test_empty(self) -> None:
        """An empty mailbox is no error."""
        collection = self.world.collect(self.box)
        self.assertEqual((collection.tally.error, self.box.quits), ("", 1))

    def test_deletes_after_the_commit(self) -> None:
        """While the commit is not done nothing is deleted; after it all is. Many wait for one commit."""
        self.world.store.hold = True
        collection = self.world.collection(self.box.fill(WINDOW + 5))
        running = Deferred.fromCoroutine(collection.run())
        self.assertEqual((len(self.box.retrieved), collection.tally.now.deleted), (WINDOW, 0))
        self.world.store.let_go()
        self.successResultOf(running)
        self.assertEqual((len(self.box.deleted), len(self.subjects())), (WINDOW + 5, WINDOW + 5))

    def test_commit_fails(self) -> None:
        """A commit that fails ends the cycle: its message is neither deleted nor known, and comes with the next."""
        collection = self.world.collection(self.box.fill(3))
        self.world.store.commit_error = StoreError("broken")
        self.assertRaises(Stop, self.world.run, collection)
        self.assertEqual((list(self.box.messages), self.ledger()), (["uid1", "uid2", "uid3"], {}))
        self.world.store.commit_error = None
        self.world.run(collection)
        self.assertEqual(self.subjects(), [1, 2, 3])

    def test_forgetful_server(self) -> None:
        """A server that forgets deletions, or loses QUIT, never makes a second delivery."""
        for switch in ("forgets_deletions", "loses_quit"):
            box = Mailbox(name=f"{switch}.example").fill(3)
            setattr(box, switch, True)
            collection = self.world.collection(box)
            for _ in range(3):
                self.world.run(collection)
            self.assertEqual(len(box.retrieved), 3)
            setattr(box, switch, False)
            self.world.run(collection)
            self.assertEqual(box.messages, {})
        self.assertEqual(self.subjects(), [1, 2, 3, 1, 2, 3])

    def test_new_process(self) -> None:
        """What was delivered is known after a restart too: the ledger is in the store."""
        self.box.forgets_deletions = True
        self.world.collect(self.box.fill(3))
        self.world.collect(self.box)
        self.assertEqual((self.subjects(), len(self.box.retrieved)), ([1, 2, 3], 3))

    def test_cut_session(self) -> None:
        """A session that breaks anywhere costs nothing twice: what was committed is known, the rest is fetched."""
        for cut in range(6):
            box = Mailbox(name=f"cut{cut}.example", cut_after=cut).fill(5)
            self.world.collect(box)
            self.assertEqual((len(box.retrieved), box.messages), (5, {}), cut)
        self.assertEqual(self.subjects(), [1, 2, 3, 4, 5] * 6)

    def test_poison(self) -> None:
        """A message that breaks the session three times is passed over, and the others come in the same cycle."""
        self.box.fill(5).cut_in.add("uid3")
        collection = self.world.collect(self.box)
        self.assertEqual(self.subjects(), [1, 2, 4, 5])
        self.assertEqual(list(self.box.messages), ["uid3"])
        self.assertEqual((self.box.opened, self.box.retrieved.count("uid3")), (FAILURES + 1, FAILURES))
        self.assertEqual((collection.tally.now.poison, collection.tally.now.failures), (1, FAILURES))
        self.assertIn("uid3", collection.tally.error)
        self.world.run(collection)
        self.assertEqual(self.box.retrieved.count("uid3"), FAILURES)
        self.world.clock.advance(REST)
        self.box.cut_in.clear()
        self.world.run(collection)
        self.assertEqual(self.subjects(), [1, 2, 4, 5, 3])

    def test_always_cut(self) -> None:
        """A server that breaks every session is left alone after some tries."""
        self.box.fill(9).cut_in.update(self.box.messages)
        self.assertRaises(UpstreamError, self.world.run, self.world.collection(self.box))
        self.assertEqual(self.box.opened, MOST_RECONNECTS + 1)

    def test_refused_retrieval(self) -> None:
        """-ERR to one RETR leaves that message; after three cycles it is passed over."""
        self.box.fill(3).refused.add("uid2")
        collection = self.world.collection(self.box)
        for _ in range(5):
            self.world.run(collection)
        self.assertEqual((self.subjects(), self.box.retrieved.count("uid2")), ([1, 3], FAILURES))

    def test_size_limit(self) -> None:
        """Too large a message is passed over and told of; one that the server understates is cut."""
        self.box.messages = {"a": message(1), "b": message(2, size=5000), "c": message(3)}
        collection = self.world.collect(self.box, size_limit=2000)
        self.assertEqual((self.subjects(), collection.tally.now.too_large), ([1, 3], 1))
        self.box.sizes = lambda octets: 7
        self.box.messages["d"] = message(4)
        self.world.run(collection)
        self.assertEqual((self.subjects(), list(self.box.messages)), ([1, 3, 4], ["b"]))

    def test_keep(self) -> None:
        """keep delivers each message once and deletes none, over many cycles and 1,200 messages."""
        self.box.fill(1200)
        collection = self.world.collection(self.box, keep=True)
        for _ in range(3):
            self.world.run(collection)
        self.assertEqual((len(self.subjects()), len(self.box.messages), len(self.box.retrieved)), (1200, 1200, 1200))
        self.assertEqual(collection.tally.now.left, 1200)

    def test_delete_after(self) -> None:
        """delete_after takes away what was delivered so long ago."""
        collection = self.world.collection(self.box.fill(2), keep=True, delete_after=3 * DAY)
        self.world.run(collection)
        self.world.clock.advance(2 * DAY)
        self.box.messages["uid9"] = message(9)
        self.world.run(collection)
        self.world.clock.advance(DAY)
        self.world.run(collection)
        self.assertEqual((list(self.box.messages), self.subjects()), (["uid9"], [1, 2, 9]))

    def test_expunge(self) -> None:
        """After so many deletions the session is ended and another one begun, so that they are true."""
        self.world.collect(self.box.fill(10), expunge=4)
        self.assertEqual((self.subjects(), self.box.quits), (list(range(1, 11)), 3))
        box = Mailbox(name="forgets.example", forgets_deletions=True).fill(10)
        self.world.collect(box, expunge=4)
        self.assertEqual((len(box.retrieved), box.quits), (10, 3))

    def test_pruned(self) -> None:
        """What the server no longer has is forgotten the second time, what is kept not before a day."""
        collection = self.world.collection(self.box.fill(2))
        kept = Mailbox(name="kept.example").fill(1)
        keeping = self.world.collection(kept, keep=True)
        self.world.run(collection)
        self.world.run(keeping)
        self.assertEqual(sorted(self.ledger()), ["uuid1", "uuid1", "uuid2"][1:])
        kept.messages.clear()
        for _ in range(2):
            self.world.run(collection)
            self.world.run(keeping)
        self.assertEqual(list(self.ledger()), ["uuid1"])
        self.world.clock.advance(DAY)
        self.world.run(keeping)
        self.assertEqual(self.ledger(), {})

    def test_short_listing(self) -> None:
        """A mailbox that is shown empty for a while does not make what is kept new again."""
        collection = self.world.collection(self.box.fill(3), keep=True)
        self.world.run(collection)
        kept, self.box.messages = self.box.messages, {}
        for _ in range(5):
            self.world.run(collection)
        self.box.messages = kept
        self.world.run(collection)
        self.assertEqual(self.subjects(), [1, 2, 3])

    def test_uid_used_again(self) -> None:
        """A UID that comes back with another message is another message: nothing is deleted unseen."""
        self.box.forgets_deletions = True
        collection = self.world.collection(self.box.fill(1))
        self.world.run(collection)
        self.box.messages["uid1"] = message(2, size=9)
        self.world.run(collection)
        self.assertEqual(self.subjects(), [1, 2])

    def test_sizes_change(self) -> None:
        """A server that tells another size each time is not believed: the octets say that it is the same."""
        self.box.forgets_deletions = True
        collection = self.world.collection(self.box.fill(1))
        for size in (1, 2, 2, 10**17):
            self.box.sizes = lambda octets, size=size: size  # type: ignore[misc]
            self.world.run(collection)
        self.assertEqual((self.subjects(), len(self.box.retrieved), collection.tally.now.known), ([1], 4, 1))

    def test_sizes_differ(self) -> None:
        """A message of another size than listed is fetched again with one command at a time, and then believed."""
        self.box.sizes = lambda octets: len(octets) - (octets == message(2))
        collection = self.world.collect(self.box.fill(4))
        self.assertEqual((self.subjects(), self.box.opened, self.box.messages), ([1, 2, 3, 4], 2, {}))
        self.assertEqual(collection.tally.error, "")
        self.box.messages["b"] = message(2)
        self.world.run(collection)
        self.assertEqual(self.box.opened, 3)

    def test_nothing_sent(self) -> None:
        """A message of which nothing comes though it was listed with a size is not deleted."""
        self.box.messages = {"a": b"", "b": message(2)}
        self.box.sizes = lambda octets: len(octets) or 1000
        self.world.collect(self.box)
        self.assertEqual((self.subjects(), list(self.box.messages)), ([2], ["a"]))

    def test_without_uids(self) -> None:
        """Without UIDL a message is known by its octets: a lost QUIT makes no second copy."""
        self.box.fill(3).has_uidl = False
        self.box.loses_quit = True
        collection = self.world.collection(self.box)
        for _ in range(3):
            self.world.run(collection)
        self.box.loses_quit = False
        self.world.run(collection)
        self.assertEqual((self.subjects(), self.box.messages), ([1, 2, 3], {}))
        for _ in range(2):
            self.world.run(collection)
        self.assertEqual(self.ledger(), {})

    def test_bad_uids(self) -> None:
        """A message that is only in one of the lists is collected too; a UID of any length is one."""
        self.box.messages = {"x" * 500: message(1), "b": message(2)}
        self.box.without_uid.add("b")
        self.box.forgets_deletions = True
        collection = self.world.collection(self.box)
        self.world.run(collection)
        self.world.run(collection)
        self.assertEqual(self.subjects(), [1, 2])
        self.assertTrue(all(len(key) < 80 for key in self.ledger()))

    def test_open_fails(self) -> None:
        """A refused login is told and raised; the tally has its words."""
        self.box.error_at_open = UpstreamError(Kind.LOGIN, "the server refused the login")
        collection = self.world.collection(self.box)
        self.assertRaises(UpstreamError, self.world.run, collection)
        self.assertEqual(collection.tally.error, "the server refused the login")
        self.assertEqual(collection.tally.record()["last_success"], 0.0)

    def test_put_off(self) -> None:
        """A message whose recipient cannot be served for now stays, and the others come."""
        self.world = BridgeWorld(routes=(Rule.make("route[0]", "maildrop:ghost", r"later@example\.org"),))
        self.addCleanup(self.world.close)
        self.box.messages = {"a": message(1, b"later@example.org"), "b": message(2)}
        collection = self.world.collect(self.box)
        self.assertEqual((self.subjects(), list(self.box.messages), collection.tally.now.later), ([2], ["a"], 1))

    def test_fault_of_ours(self) -> None:
        """A bug in delivering one message is a Stop, not a hang, and deletes nothing."""
        self.world.intake.router = None  # type: ignore[assignment]
        self.assertRaises(Stop, self.world.run, self.world.collection(self.box.fill(2)))
        self.assertEqual(len(self.box.messages), 2)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)


class StopTests(SynchronousTestCase):
    """A stop while something is under way."""

    def setUp(self) -> None:
        self.world = BridgeWorld()
        self.addCleanup(self.world.close)
        self.box = Mailbox().fill(3)

    def start(self) -> tuple[Collection, Deferred[None]]:
        """A collection that is under way."""
        collection = self.world.collection(self.box)
        return collection, Deferred.fromCoroutine(collection.run())

    def test_ends_well(self) -> None:
        """What is under way has its time: the deletes that were earned are made true."""
        self.world.store.hold = True
        collection, running = self.start()
        collection.stop()
        self.assertNoResult(running)
        self.world.store.let_go()
        self.successResultOf(running)
        self.assertEqual((self.box.messages, self.world.clock.getDelayedCalls()), ({}, []))

    def test_is_cut(self) -> None:
        """A server that does not answer is cut after ten seconds, and its message is blamed for nothing."""
        self.box.hold_in.add("uid2")
        collection, running = self.start()
        collection.stop()
        self.world.clock.advance(QUIT_TIME)
        self.failureResultOf(running, UpstreamError)
        self.assertEqual(self.box.aborted, 1)
        self.assertEqual(collection.tally.now.failures, 1)
        self.box.hold_in.clear()
        self.world.run(collection)
        self.assertEqual(len(self.world.mail("bonnie")), 3)

    def test_while_connecting(self) -> None:
        """A connection that does not come about is given up at once."""
        opening: Deferred[Any] = Deferred()
        collection = Collection(account(), lambda of: opening, self.world.way, self.world.store, self.world.clock,
                                self.world.fates.append)
        running = Deferred.fromCoroutine(collection.run())
        collection.stop()
        self.successResultOf(running)
        self.assertFalse(collection.tally.running)

    def test_cancelled_otherwise(self) -> None:
        """A connection that was cancelled by nobody here is a failure."""
        collection = Collection(account(), lambda of: fail(CancelledError()), self.world.way, self.world.store,
                                self.world.clock, self.world.fates.append)
        self.assertRaises(CancelledError, self.world.run, collection)


class FateTests(SynchronousTestCase):
    """What is told of messages."""

    def test_told(self) -> None:
        """Each message's fate is told once: for pf_max_duds, and for the counts."""
        world = BridgeWorld()
        self.addCleanup(world.close)
        how = Addressing(local=frozenset({"example.org"}))
        box = Mailbox(messages={"a": message(1), "b": message(2, b"no@example.org"), "c": b""})
        collection = world.collect(box, addressing=how)
        self.assertEqual([fate.end for fate in world.fates], [End.DELIVERED, End.DUD, End.DUD])
        self.assertEqual((collection.tally.now.delivered, collection.tally.now.duds, box.messages), (1, 2, {}))
