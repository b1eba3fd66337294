"""Mail out of the OCE into maildrops: store first, acknowledge then, nothing lost and nothing doubled."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError, StoreFull
from mailbridge.oce.collector import AT_ONCE
from mailbridge.oce.exchange import ExchangeError
from mailbridge.store.changes import RemoveUser
from tests.oce.oce_world import DONE, NOTHING, OCEWorld, answer, failing, usds

PULL, ACK = "osaAppPullMsg", "osaAppAckMsg"


class CollectorTests(SynchronousTestCase):
    """`Collector`."""

    def world(self, *answers: Any, poll: float = 300.0) -> OCEWorld:
        """One that has begun to pull."""
        world = OCEWorld(poll=poll)
        world.exchange.answers = list(answers)
        world.collector.start()
        world.clock.advance(0)
        return world

    def test_stored_then_acknowledged(self) -> None:
        """A message lies in its member's maildrop, with a trace line, before the OCE hears that it is safe."""
        seen: list[int] = []

        def acked(said: object) -> dict[str, Any]:
            seen.append(len(world.mails("harold")))
            return DONE

        world = OCEWorld()
        world.exchange.answers = [answer(7, [usds(1), usds(2, "HAROLD")]), acked]
        world.collector.start()
        world.clock.advance(0)
        self.assertEqual((seen, world.exchange.functions), ([2], [PULL, ACK, PULL]))
        self.assertEqual(world.exchange.arguments(1)["MsgKeys"], [f"{1:064X}", f"{2:064X}"])
        mail = world.mails("harold")[0]
        self.assertTrue(mail.startswith(b"Received: from oce (local)\r\n\tby bridge.example.org with USDP id "), mail)
        self.assertIn(b"\r\nFrom: edgar@friends.oce\r\n", mail)

    def test_acknowledgement_lost(self) -> None:
        """When the acknowledgement is lost, what comes again is dropped and acknowledged."""
        world = self.world(answer(7, [usds(1)]), ExchangeError("lost"), answer(7, [usds(1), usds(2)]), DONE)
        self.assertEqual(world.collector.fault, "lost")
        world.clock.advance(600)
        self.assertEqual(len(world.mails("harold")), 2)
        self.assertEqual(world.exchange.arguments(3)["MsgKeys"], [f"{1:064X}", f"{2:064X}"])
        counts = world.collector.counts
        self.assertEqual((counts.pulled, counts.stored, counts.repeated, counts.acknowledged), (3, 2, 1, 2))
        self.assertEqual(world.collector.fault, "")

    def test_duplicates_are_those_of_one_oce(self) -> None:
        """The same key from another OCE is another message."""
        other = usds(1)
        other["Source"] = {"OCE": "CCCC", "Member": "edgar"}
        world = self.world(answer(7, [usds(1), other]), DONE)
        self.assertEqual(len(world.mails("harold")), 2)

    def test_unreadable(self) -> None:
        """What is no USDS goes to postmaster as it came, with what is wrong, is acknowledged and blocks nothing."""
        for bad, words in ((usds(1, Object=[{"Type": "a/b", "Data": "%"}]), b"Object[0].Data: not base64"),
                           (usds(1, Summary="x" * 165), b"Summary: 165 characters"), (usds(1, Source=7), b"Source")):
            world = self.world(answer(7, [bad, usds(2)]), DONE)
            (report,) = world.mails("postmaster")
            self.assertIn(words, report)
            self.assertIn(b'filename="message.json"', report)
            self.assertEqual((len(world.mails("harold")), len(world.exchange.arguments(1)["MsgKeys"])), (1, 2))
            self.assertEqual(world.collector.counts.unreadable, 1)

    def test_stray(self) -> None:
        """What is for nobody here goes to postmaster and is acknowledged."""
        nobody = usds(2)
        del nobody["Dest"]
        world = self.world(answer(7, [usds(1, "gone"), nobody]), DONE)
        first, second = world.mails("postmaster")
        self.assertIn(b"Delivered-To: gone@oce\r\n", first)
        self.assertIn(b"Delivered-To: unknown@oce\r\n", second)
        self.assertEqual((world.collector.counts.strays, world.collector.counts.acknowledged), (2, 2))

    def test_nobody_at_all(self) -> None:
        """Without any user mail stays in the OCE, and the fault says what to do."""
        world = OCEWorld()
        world.users.clear()
        world.exchange.answers = [answer(7, [usds(1)])]
        world.collector.start()
        world.clock.advance(0)
        self.assertEqual(world.exchange.functions, [PULL])
        self.assertIn("mailbridge user add", world.collector.fault)

    def test_user_who_went(self) -> None:
        """A user who is removed at that moment: nothing is acknowledged, and the next pull finds another place."""
        world = OCEWorld()
        world.exchange.answers = [answer(7, [usds(1)]), answer(7, [usds(1)]), DONE]
        world.result(world.store.commit(RemoveUser(world.users["harold"].id)))
        world.collector.start()
        world.clock.advance(0)
        self.assertEqual(world.exchange.functions, [PULL])
        del world.users["harold"]
        world.clock.advance(600)
        self.assertEqual(len(world.mails("postmaster")), 1)

    def test_store_fails(self) -> None:
        """What could not be stored is not acknowledged; what could is. It comes again later."""
        for fault in (StoreFull("full"), StoreError("broken")):
            world = OCEWorld()
            world.store.commit = failing(world.store, fault)
            world.exchange.answers = [answer(7, [usds(1), usds(2)]), DONE, answer(7, [usds(1)]), DONE]
            world.collector.start()
            world.clock.advance(0)
            self.assertEqual(world.exchange.arguments(1)["MsgKeys"], [f"{2:064X}"])
            self.assertIn("could not be stored", world.collector.fault)
            world.clock.advance(600)
            self.assertEqual((len(world.mails("harold")), world.collector.fault), (2, ""))

    def test_more_waits(self) -> None:
        """Pull follows pull until nothing waits: an OCE may give fewer than we take at once."""
        many = [usds(number) for number in range(120)]
        world = self.world(answer(7, many[:50]), DONE, answer(7, many[50:60]), DONE, answer(7, many[60:]), DONE)
        self.assertEqual(len(world.mails("harold")), 110)
        self.assertEqual(world.exchange.functions, [*[PULL, ACK] * 3, PULL])

    def test_forgetful_oce(self) -> None:
        """An OCE that gives again what was just acknowledged is not asked in a circle, and the fault is told."""
        full = [usds(number) for number in range(AT_ONCE)]
        world = self.world(*([answer(7, full), DONE] * 5))
        self.assertEqual(world.exchange.functions, [PULL, ACK, PULL])
        self.assertIn("gives again", world.collector.fault)
        self.assertEqual(len(world.mails("harold")), AT_ONCE)

    def test_without_keys(self) -> None:
        """A message without MsgKey is stored once, however often it comes; that it must come again is told."""
        message = usds(1)
        del message["MsgKey"]
        world = self.world(answer(7, [message]), answer(7, [message]))
        world.clock.advance(600)
        self.assertEqual((len(world.mails("harold")), world.exchange.functions), (1, [PULL, PULL]))
        self.assertIn("without MsgKey", world.collector.fault)

    def test_odd_keys(self) -> None:
        """Keys are given back as they came, whatever an OCE makes them of."""
        messages = [usds(1, MsgKey="3f2c-77 é"), usds(2, MsgKey=77), usds(3, Summary=[], MsgKey="x/y")]
        world = self.world(answer(7, messages), DONE)
        self.assertEqual(world.exchange.arguments(1)["MsgKeys"], ["3f2c-77 é", "77", "x/y"])

    def test_pace(self) -> None:
        """Pulls come at the interval; after failures ever more seldom, up to an hour; after success at the interval."""
        world = self.world(*[ExchangeError("down")] * 6)
        for wait in (600, 1200, 2400, 3600, 3600):
            before = len(world.exchange.sent)
            self.assertEqual(world.collector.next - world.clock.seconds(), wait)
            world.clock.advance(wait - 1)
            self.assertEqual(len(world.exchange.sent), before)
            world.clock.advance(1)
            self.assertEqual(len(world.exchange.sent), before + 1)
        world.clock.advance(3600)
        self.assertEqual((world.collector.next - world.clock.seconds(), world.collector.fault), (300, ""))

    def test_wake(self) -> None:
        """Mail that is announced is pulled at once; when that is during a pull, right after it; never two at once."""
        world = self.world(NOTHING, None, NOTHING)
        world.collector.wake()
        world.clock.advance(0)
        self.assertEqual(len(world.exchange.sent), 2)
        world.collector.wake()
        world.clock.advance(0)
        self.assertEqual(len(world.exchange.sent), 2)
        world.exchange.running[0].callback(b'{"MsgNum":5}')
        world.clock.advance(0)
        self.assertEqual(len(world.exchange.sent), 3)

    def test_no_two_pulls(self) -> None:
        """While one pull hangs no other is begun."""
        world = self.world(None)
        world.clock.advance(10_000)
        self.assertEqual(len(world.exchange.sent), 1)

    def test_stop(self) -> None:
        """Stopping ends a pull that runs, and none follows; it is no fault. It can begin again."""
        world = self.world(None)
        ended = world.collector.stop()
        world.result(ended)
        world.clock.advance(10_000)
        world.collector.wake()
        world.clock.advance(1)
        self.assertEqual((len(world.exchange.sent), world.collector.fault, world.collector.next), (1, "", 0.0))
        self.assertEqual(self.flushLoggedErrors(), [])
        world.collector.start()
        world.clock.advance(0)
        self.assertEqual(len(world.exchange.sent), 2)
        world.result(world.collector.stop())
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_stopped_while_storing(self) -> None:
        """What is being stored when it stops is not acknowledged: it will come again, and be dropped."""
        world = OCEWorld()
        world.exchange.answers = [answer(7, [usds(1)])]
        world.store.commit = lambda *changes: Deferred()
        world.collector.start()
        world.clock.advance(0)
        world.result(world.collector.stop())
        self.assertEqual(world.exchange.functions, [PULL])

    def test_cannot_be_asked(self) -> None:
        """An OCE without the call for pulling is asked once; sending goes on."""
        world = self.world(answer(-100, "unknown function"))
        world.clock.advance(100_000)
        self.assertEqual(world.exchange.functions, [PULL])
        self.assertIn("INVFUNC", world.collector.fault)
        self.assertEqual((world.collector.next, world.collector.since), (0.0, 0.0))
        world.exchange.answers = [answer(1)]
        self.assertTrue(world.call(world.client.push(b'{"msgType":"qMsg"}')).succeeded)

    def test_kill(self) -> None:
        """After KILL there is no traffic; after the release the next pull goes out."""
        world = self.world(answer(-13, "stop"))
        world.clock.advance(7200)
        self.assertEqual(world.exchange.functions, [PULL])
        self.assertIn("KILL", world.collector.fault)
        self.assertEqual(world.clock.seconds() - world.collector.since, 7200)
        world.client.release()
        world.collector.wake()
        world.clock.advance(0)
        self.assertEqual((world.exchange.functions, world.collector.fault), ([PULL, PULL], ""))
        self.assertEqual(world.collector.since, 0.0)

    def test_fault_of_ours(self) -> None:
        """An exception nobody thought of is logged and told, and pulling goes on."""
        world = self.world(ProcessDone(0), NOTHING)
        self.assertIn("ProcessDone", world.collector.fault)
        self.assertEqual(len(self.flushLoggedErrors(ProcessDone)), 1)
        world.clock.advance(600)
        self.assertEqual(world.collector.fault, "")

    def test_large(self) -> None:
        """A message of megabytes is written in pieces, with turns of the reactor in between."""
        world = self.world(answer(7, [usds(1, Detail="x" * 500_000, Object=[
            {"Type": "text/plain", "Data": "eHh4" * 700_000}])]), DONE)
        for _ in range(40):
            world.clock.advance(0)
        self.assertEqual(len(world.mails("harold")), 1)
        self.assertEqual(len(world.tasks), 1)
