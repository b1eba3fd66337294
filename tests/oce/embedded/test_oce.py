"""The embedded OCE as a whole, in memory: registration to acknowledgement, repeats, large messages, failures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.oce import strictjson, usds
from mailbridge.oce.calls import Answer, items, read_answer
from mailbridge.oce.embedded.oce import MOST_APPLICATIONS, OPENING_SECONDS
from mailbridge.oce.embedded.sender import Request
from mailbridge.oce.embedded.settings import OCESettings
from mailbridge.oce.keys import sign
from mailbridge.oce.usds import USDS, Dest, Object, Source
from mailbridge.store.changes import Selection
from mailbridge.store.memory import MemoryStore
from mailbridge.store.sqlite import open_store
from mailbridge.testing.fakeoce import FakeOCE
from tests.oce.embedded.values import APP_ID, FRIENDS, HAROLD, SETTINGS, asked, message, octets
from tests.store.pump import Pump

MEMBERS = {"harold": "secret", "bonnie": "other"}
SAID = {"UserName": "Harold", "UserPass": "secret", "AppName": "mailbridge", "AppId": APP_ID}
NEW = Source("harold", "1", APP_ID)


class InMemory(SynchronousTestCase):
    """A fake OCE in a store in memory."""

    settings: OCESettings = SETTINGS

    def setUp(self) -> None:
        """An OCE with harold and bonnie; harold is the operator."""
        self.clock: Any = self.make_clock()
        self.store: Any = self.make_store()
        self.fake = self.open()

    def make_clock(self) -> Any:
        """The time."""
        clock = Clock()
        clock.advance(1_763_730_000.0)
        return clock

    def make_store(self) -> Any:
        """Where it keeps things."""
        return MemoryStore(self.clock)

    def open(self) -> FakeOCE:
        """An OCE over the store, also a second time."""
        fake = FakeOCE(self.clock, self.store, MEMBERS, self.settings)
        self.wait(fake.start())
        self.addCleanup(fake.stop)
        return fake

    def wait(self, deferred: Deferred[Any]) -> Any:
        """The result."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def ask(self, asked_message: USDS | bytes, **how: Any) -> Answer:
        """The answer to a message."""
        body = asked_message if isinstance(asked_message, bytes) else octets(asked_message)
        return read_answer(strictjson.read(self.wait(self.fake.oce.answer(Request(body, **how)))))

    def register(self, **changes: Any) -> str:
        """Register; the key."""
        answer = self.ask(asked("osaAppReg", NEW, **{**SAID, **changes}))
        self.assertEqual(answer.num, 7, answer)
        return str(items(answer)[0]["AppKey"])

    def pull(self, source: Source, most: int = 50) -> list[USDS]:
        """What is handed out."""
        answer = self.ask(asked("osaAppPullMsg", source, Max=most))
        self.assertIn(answer.num, (5, 7), answer)
        return [usds.read(each) for each in items(answer)]

    def acknowledge(self, source: Source, *messages: USDS) -> None:
        """They have arrived."""
        self.assertEqual(self.ask(asked("osaAppAckMsg", source, MsgKeys=[each.msg_key for each in messages])).num, 7)


class ExchangeTests(InMemory):
    """Messages in and out."""

    def test_another_takes_over(self) -> None:
        """At a reload another OCE over the same store hands out at once what the one before had handed out."""
        source = evolve(HAROLD, app_key=self.register())
        for number in range(3):
            self.ask(message(source=source, msg_key=f"K{number}"))
        self.assertEqual(len(self.pull(source)), 3)
        new = FakeOCE(self.clock, self.store, MEMBERS, self.settings)
        early = new.oce.answer(Request(octets(message(source=source, msg_key="early"))))
        self.assertNoResult(early)
        self.wait(self.fake.stop())
        self.fake = new
        self.wait(new.start())
        self.addCleanup(new.stop)
        self.assertEqual(read_answer(strictjson.read(self.wait(early))).num, 1)
        self.assertEqual([each.msg_key for each in self.pull(source)], ["K0", "K1", "K2", "early"])

    def test_cancelled(self) -> None:
        """An acknowledgement is broken off by a stop: no fault in the log, and nothing waits for a claim to end."""
        source = evolve(HAROLD, app_key=self.register())
        self.ask(message(source=source))
        (got,) = self.pull(source)
        commit = self.store.commit
        self.store.commit = lambda *changes: Deferred()
        answer = self.fake.oce.answer(Request(octets(asked("osaAppAckMsg", source, MsgKeys=[got.msg_key]))))
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.store.commit = commit
        self.wait(self.fake.stop())
        self.fake = self.open()
        self.assertEqual(self.pull(source), [got])

    def test_never_started(self) -> None:
        """Who asks an OCE that does not get going is told so after a while."""
        new = FakeOCE(self.clock, MemoryStore(self.clock), MEMBERS, self.settings)
        answer = new.oce.answer(Request(octets(message())))
        self.clock.advance(OPENING_SECONDS)
        self.assertEqual(read_answer(strictjson.read(self.wait(answer))).num, 0)

    def test_whole_way(self) -> None:
        """Register, send, pull, acknowledge; then nothing waits any more."""
        source = evolve(HAROLD, app_key=self.register())
        self.assertEqual(self.pull(source), [])
        sent = message(source=source, objects=(Object("image/png", b"\x89PNG", "a.png"),))
        self.assertEqual(self.ask(sent).num, 1)
        (got,) = self.pull(source)
        self.assertEqual((got.summary, got.detail, got.objects, got.msg_key),
                         (sent.summary, sent.detail, sent.objects, sent.msg_key))
        self.assertEqual((got.source, got.dest), (Source("harold", "1", APP_ID), Dest(member="bonnie")))
        self.assertEqual(self.pull(source), [got])
        self.acknowledge(source, got)
        self.assertEqual(self.pull(source), [])
        self.assertEqual(self.wait(self.store.queue(Selection(), 0, 10)), ())

    def test_in_order(self) -> None:
        """Messages come oldest first, at most as many as were asked for, each again until it is acknowledged."""
        source = evolve(HAROLD, app_key=self.register())
        for number in range(150):
            self.ask(message(source=source, msg_key=f"{number:03}", summary=str(number)))
            self.clock.advance(0.001)
        first = self.pull(source, 3)
        self.assertEqual([each.msg_key for each in first], ["000", "001", "002"])
        self.acknowledge(source, first[1])
        self.assertEqual([each.msg_key for each in self.pull(source, 3)], ["000", "002", "003"])
        self.assertEqual([each.msg_key for each in self.pull(source, 1)], ["000"])
        rest = self.pull(source, 1000)
        self.assertEqual([each.msg_key for each in rest], ["000", *(f"{n:03}" for n in range(2, 150))])
        self.acknowledge(source, *rest)
        self.acknowledge(source, *rest)
        self.assertEqual(self.pull(source), [])

    def test_repeat(self) -> None:
        """A message that comes again is not taken again, also after it was acknowledged, and is called LOOP."""
        source = evolve(HAROLD, app_key=self.register())
        self.assertEqual([self.ask(message(source=source)).num for _ in range(3)], [1, -107, -107])
        self.acknowledge(source, *self.pull(source))
        self.assertEqual(self.ask(message(source=source)).num, -107)
        self.assertEqual(self.pull(source), [])

    def test_repeat_to_a_coterie(self) -> None:
        """A message to a group is one for each, and a repeat of it none."""
        source = evolve(HAROLD, app_key=self.register())
        to_all = message(Dest(coterie="1"), source)
        self.assertEqual([self.ask(to_all).num for _ in range(2)], [1, -107])
        self.assertEqual([each.dest and each.dest.member for each in self.pull(source)], ["bonnie"])

    def test_same_key_of_two_senders(self) -> None:
        """One tribe's key does not hide another's message: they are handed out one after the other."""
        source = evolve(HAROLD, app_key=self.register())
        abroad = message(source=Source("edgar", app_id=APP_ID, oce=FRIENDS.key), summary="from abroad")
        proof = sign(b"s" * 32, self.clock.seconds(), octets(abroad))
        self.assertEqual(self.ask(message(source=source)).num, 1)
        self.assertEqual(self.ask(abroad, peer="192.0.2.1", signature=proof).num, 1)
        (first,) = self.pull(source)
        self.acknowledge(source, first)
        self.clock.advance(61)
        (second,) = self.pull(source)
        self.assertEqual((first.summary, second.summary), ("Hi", "from abroad"))

    def test_restart(self) -> None:
        """What waits, the applications and the key of the OCE are there after a restart."""
        source = evolve(HAROLD, app_key=self.register())
        self.ask(message(source=source))
        key = self.fake.oce.tribe and self.fake.oce.tribe.key
        self.fake = self.open()
        self.assertEqual(self.fake.oce.tribe and self.fake.oce.tribe.key, key)
        self.clock.advance(3601)
        (got,) = self.pull(source)
        self.acknowledge(source, got)
        self.assertEqual(self.ask(message(source=source)).num, -107)

    def test_told_what_waits(self) -> None:
        """Whoever wants to know hears of a new message at once."""
        told: list[str] = []
        self.fake.oce.on_waiting = told.append
        source = evolve(HAROLD, app_key=self.register())
        self.ask(message(source=source))
        self.ask(message(source=source))
        self.assertEqual(told, ["SMTP:mailbridge/harold"])

    def test_wiki_spelling(self) -> None:
        """Answers can be spelled as the wiki's samples are."""
        self.fake.oce.wiki = True
        source = evolve(HAROLD, app_key=self.register())
        self.ask(message(source=source))
        raw = self.wait(self.fake.oce.answer(Request(octets(asked("osaAppPullMsg", source)))))
        self.assertTrue(raw.startswith(b'{"respCount":1,"MsgNum":"7","MsgId":"REQPROC","Mesg":[{"msgType":'), raw[:80])

    def test_deliver(self) -> None:
        """A test can let any octets wait."""
        source = evolve(HAROLD, app_key=self.register())
        abroad = message(source=Source("edgar", oce=FRIENDS.key), msg_key="K2")
        self.wait(Deferred.fromCoroutine(self.fake.deliver(abroad)))
        self.assertEqual(self.pull(source)[0].source, Source("edgar", oce=FRIENDS.key))


class ApplicationTests(InMemory):
    """Registration and what an operator does."""

    def test_new_key(self) -> None:
        """Who registers again gets a new key; the old one is void, and what waited is still there."""
        old = evolve(HAROLD, app_key=self.register())
        self.ask(message(source=old))
        new = evolve(HAROLD, app_key=self.register())
        self.assertEqual(self.ask(message(source=old)).num, -10)
        self.assertEqual(len(self.pull(new)), 1)
        self.assertEqual(len(self.fake.oce.registry), 1)

    def test_wrong_password(self) -> None:
        """A wrong password registers nothing."""
        self.assertEqual(self.ask(asked("osaAppReg", NEW, **{**SAID, "UserPass": "wrong"})).num, -11)
        self.assertEqual(len(self.fake.oce.registry), 0)

    def test_approval(self) -> None:
        """What another than the operator registers waits for approval, which can be taken back."""
        bonnie = Source("bonnie", "1", APP_ID)
        key = self.register(UserName="bonnie", UserPass="other")
        source = evolve(bonnie, app_key=key)
        self.assertEqual(self.ask(asked("osaAppPullMsg", source)).num, -8)
        (approved,) = self.wait(self.fake.approve(APP_ID))
        self.assertTrue(approved.approved)
        self.assertEqual(self.pull(source), [])
        source = evolve(bonnie, app_key=self.register(UserName="bonnie", UserPass="other"))
        self.assertEqual(self.pull(source), [])
        self.wait(self.fake.oce.approve("1", approved=False))
        self.assertEqual(self.ask(asked("osaAppPullMsg", source)).num, -8)

    def test_approval_for_one(self) -> None:
        """What was approved for one member waits again when it is registered anew for all of them."""
        mine = {"UserName": "bonnie", "UserPass": "other", "Multiuser": 0}
        self.register(**mine)
        self.wait(self.fake.approve(APP_ID))
        source = Source("bonnie", "1", APP_ID)
        self.assertEqual(self.pull(evolve(source, app_key=self.register(**mine))), [])
        wider = evolve(source, app_key=self.register(**{**mine, "Multiuser": 1}))
        self.assertEqual(self.ask(asked("osaAppPullMsg", wider)).num, -8)

    def test_the_bridge_under_another_name(self) -> None:
        """The AppId of the bridge is changed: what waited for it comes, and nothing waits for the old one."""
        for app_id in ("SMTP:old", "SMTP:new"):
            key = self.wait(Deferred.fromCoroutine(self.fake.oce.admit(app_id, "(bridge)")))
            source = Source("harold", "1", app_id, key)
            self.assertEqual(self.ask(message(source=source, msg_key=app_id)).num, 1)
        self.assertEqual(sorted(each.msg_key for each in self.pull(source)), ["SMTP:new", "SMTP:old"])
        self.assertEqual([each.app_id for each in self.fake.oce.registry.all], ["SMTP:new"])
        self.assertEqual([each.app_id for each in self.open().oce.registry.all], ["SMTP:new"])

    def test_many_applications(self) -> None:
        """One member cannot fill the store with applications."""
        for number in range(MOST_APPLICATIONS):
            self.register(AppId=f"X:{number}")
        self.assertEqual(self.ask(asked("osaAppReg", NEW, **{**SAID, "AppId": "X:more"})).num, -9)
        self.register(AppId="X:7")
        self.register(AppId="X:more", UserName="bonnie", UserPass="other")

    def test_values(self) -> None:
        """An operator can set a member's values."""
        source = evolve(HAROLD, app_key=self.register(AppVals=[{"TechName": "a", "Value": "1"}]))
        self.wait(self.fake.oce.enrol(APP_ID, "harold", {"a": "2"}))
        (value,) = items(self.ask(asked("osaAppPullCfg", source)))
        self.assertEqual((value["Value"], value["Member"]), ("2", "harold"))

    def test_requests(self) -> None:
        """Who wants to become a member is kept for the operator until he is dealt with; their number is bounded."""
        source = evolve(HAROLD, app_key=self.register())
        self.assertEqual(self.ask(asked("osaMemberReg", source, ReqLogin="Clyde", ReqPass="x")).num, 7)
        self.assertEqual(list(self.wait(self.fake.oce.requests())), ["clyde"])
        numbers = [self.ask(asked("osaMemberReg", source, ReqLogin=f"m{n}")).num for n in range(101)]
        self.assertEqual(numbers, [7] * 99 + [-9] * 2)
        self.wait(self.fake.oce.forget_request("clyde"))
        self.assertNotIn("clyde", self.wait(self.fake.oce.requests()))


class SenderTests(InMemory):
    """Who may ask at all."""

    settings = evolve(SETTINGS, request_interval=1.0, pod=("localhost", "192.0.2.0/24"))

    def test_outside(self) -> None:
        """Who is not in the POD is told so, whatever he sends, and it is not even read."""
        for body in (b"", b"{", octets(message())):
            self.assertEqual(self.ask(body, peer="198.51.100.1").num, -14)

    def test_proof(self) -> None:
        """A tribe that does not prove itself is refused, also within the POD; one tribe cannot speak for another."""
        abroad = message(source=Source("edgar", app_id=APP_ID, oce=FRIENDS.key))
        self.register()
        self.assertEqual(self.ask(abroad).num, -10)
        self.assertEqual(self.ask(message(source=Source("edgar", oce="FFFF"))).num, -1)
        self.assertEqual(self.ask(evolve(abroad, source=Source("x", oce=SETTINGS.tribes[1].key)), peer="198.51.100.1",
                                  signature=sign(b"s" * 32, self.clock.seconds(), b"")).num, -10)
        stolen = evolve(abroad, source=Source("x", oce=SETTINGS.tribes[1].key))
        self.assertEqual(self.ask(stolen, peer="198.51.100.1",
                                  signature=sign(b"s" * 32, self.clock.seconds(), octets(stolen))).num, -10)
        for body in (b"{}", octets(message())):
            proof = sign(b"s" * 32, self.clock.seconds(), body)
            self.assertIn(self.ask(body, peer="198.51.100.1", signature=proof).num, (-7, -14))

    def test_flood(self) -> None:
        """A host that asks too often is told to stop; this host and proven tribes are not counted."""
        self.assertEqual([self.ask(b"", peer="192.0.2.7").num for _ in range(6)], [-101, -9, -9, -9, -9, -13])
        self.assertEqual([self.ask(b"", peer="127.0.0.1").num for _ in range(6)], [-101] * 6)


class FailingStore(MemoryStore):
    """A store whose disk fails."""

    failing = False

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """Not just now."""
        return fail(StoreError("the disk is failing")) if self.failing else super().commit(*changes)


class FaultTests(InMemory):
    """A fault of our own."""

    def make_store(self) -> Any:
        """One that fails at times."""
        return FailingStore(self.clock)

    def test_store_fails(self) -> None:
        """What could not be stored is answered with 0 INTERR, and may come again."""
        source = evolve(HAROLD, app_key=self.register())
        self.store.failing = True
        self.assertEqual(self.ask(message(source=source)).num, 0)
        self.store.failing = False
        self.assertEqual(self.ask(message(source=source)).num, 1)
        got = self.pull(source)
        self.store.failing = True
        self.assertEqual(self.ask(asked("osaAppAckMsg", source, MsgKeys=[got[0].msg_key])).num, 0)
        self.store.failing = False
        self.assertEqual(self.pull(source), got)

    def test_before_the_start(self) -> None:
        """Who asks too early is told to try again."""
        self.fake.oce.tribe = None
        self.assertEqual(self.ask(b"{}").num, 0)


class OnDisk(InMemory):
    """The same over SQLite, where large messages are in segments."""

    def make_clock(self) -> Any:
        """A reactor for threads."""
        return Pump()

    def make_store(self) -> Any:
        """A store in a folder."""
        self.folder = Path(self.mktemp())
        return self.open_store()

    def open_store(self) -> Any:
        """Open it."""
        store = open_store(self.folder, self.clock, on_death=self.fail, min_free=0, reserve=0)
        self.addCleanup(lambda: self.clock.wait(store.close()))
        return store

    def wait(self, deferred: Deferred[Any]) -> Any:
        """Let threads work."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            self.clock.advance(0.001)
            if not self.clock.turn(0.2) and not self.clock.getDelayedCalls():
                raise AssertionError("the deferred did not fire")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def test_large(self) -> None:
        """Large messages come out as they went in, a few in each answer, so that no answer is too large."""
        source = evolve(HAROLD, app_key=self.register())
        picture = os.urandom(3_000_000)
        for number in range(4):
            sent = message(source=source, msg_key=f"K{number}", objects=(Object("image/png", picture, "a.png"),))
            self.assertEqual(self.ask(sent).num, 1)
        got: list[USDS] = []
        while some := self.pull(source):
            self.assertLess(len(some), 4)
            got += some
            self.acknowledge(source, *some)
        self.assertEqual([each.msg_key for each in got], ["K0", "K1", "K2", "K3"])
        self.assertEqual({each.objects[0].octets for each in got}, {picture})

    def test_kill(self) -> None:
        """After a kill between pull and acknowledgement everything is handed out again, and a repeat is known."""
        source = evolve(HAROLD, app_key=self.register())
        for number in range(3):
            self.ask(message(source=source, msg_key=f"K{number}"))
        self.assertEqual(len(self.pull(source)), 3)
        self.wait(self.store.close())
        self.store = self.open_store()
        self.fake = self.open()
        self.assertEqual([each.msg_key for each in self.pull(source)], ["K0", "K1", "K2"])
        self.assertEqual(self.ask(message(source=source, msg_key="K1")).num, -107)


