"""The bridge as an application of its OCE: registration, manners, secrets."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce import strictjson
from mailbridge.oce.client import APP_KEY, LARGEST_OTHER, MEMBER, Refused, Stopped, store_secret
from mailbridge.oce.dialect import DIALECTS, Registration
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.pullinfo import masked, pullinfo
from tests.oce.oce_world import DONE, KEY, NOTHING, RECEIVED, TRIBES, OCEWorld, answer, usds

SAID = Registration("Harold", "MyVisiblePassword", "SMTP:mailbridge", "127.0.0.1", 20001, 300)
PUSH = b'{"msgType":"qMsg"}'


class RegistrationTests(SynchronousTestCase):
    """`register`."""

    def test_registration(self) -> None:
        """The call is that of the reference (6.1), and the key is in the store when it is done, wherever it stood."""
        for mesg, rest in (([{"AppId": "x", "AppKey": KEY}], {}), ({"AppKey": KEY}, {}), ([], {"AppKey": KEY})):
            world = OCEWorld(registered=False)
            world.exchange.answers = [{**answer(7, mesg), **rest}]
            self.assertTrue(world.call(world.client.register(SAID)).succeeded)
            self.assertEqual((world.client.app_key, world.store.recall(APP_KEY)), (KEY, KEY))
            (sent,) = world.exchange.sent
            self.assertEqual(sent["Source"], {"Member": "Harold", "Coterie": "1", "AppId": "SMTP:mailbridge"})
            arguments = world.exchange.arguments(0)
            self.assertEqual((arguments["Func"], arguments["UserPass"], arguments["AppPull"]),
                             ("osaAppReg", "MyVisiblePassword", 1))

    def test_again(self) -> None:
        """Registering again shows no old key, and the new one takes its place."""
        world = OCEWorld()
        world.exchange.answers = [answer(7, [{"AppKey": "new"}])]
        world.call(world.client.register(SAID))
        self.assertNotIn("AppKey", world.exchange.sent[0]["Source"])
        self.assertEqual(world.client.app_key, "new")

    def test_member(self) -> None:
        """After a registration the bridge asks in the name of who registered it, also after a restart."""
        world = OCEWorld(registered=False)
        world.exchange.answers = [answer(7, [{"AppKey": KEY}]), answer(5)]
        world.call(world.client.register(evolve(SAID, member="Clyde")))
        world.call(world.client.pull(1, TRIBES))
        self.assertEqual(world.exchange.sent[1]["Source"]["Member"], "Clyde")
        self.assertEqual((world.client.member, world.store.recall(MEMBER)), ("Clyde", "Clyde"))
        world.call(world.client.registered("another"))
        self.assertEqual(world.client.member, world.client.identity.member)

    def test_no_key(self) -> None:
        """Success without a key is told as what it is, and the old registration stays."""
        for mesg in ("fine", [], [{"AppKey": 7}], [{"AppKey": "a\r\nb"}], None):
            world = OCEWorld()
            world.exchange.answers = [answer(7, mesg)]
            with self.assertRaises(ExchangeError) as raised:
                world.call(world.client.register(SAID))
            self.assertIn("register again", str(raised.exception))
            self.assertEqual(world.client.app_key, KEY)

    def test_refused(self) -> None:
        """A wrong password is an answer, not an error; nothing is stored."""
        world = OCEWorld(registered=False)
        world.exchange.answers = [answer(-11, "Invalid password")]
        self.assertIn("INVPASS", str(world.call(world.client.register(SAID))))
        self.assertEqual(world.client.app_key, "")

    def test_older_dialect(self) -> None:
        """An older OCE is called as it wants it: one entry of a table."""
        self.assertEqual(DIALECTS["fautore"].arguments(SAID)["UserPass"], "MyVisiblePassword")
        self.assertEqual(DIALECTS["fautore"].register, "fauRegApp")

    def test_no_secret_leaves(self) -> None:
        """Password and AppKey are in no representation, log, error or standing, not even when the OCE says them."""
        world = OCEWorld(registered=False)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        world.exchange.answers = [answer(-11, "wrong: MyVisiblePassword"), answer(7, [{"AppKey": KEY}]),
                                  answer(-13, f"your key {KEY} is blocked")]
        told = [world.call(world.client.register(SAID)), world.call(world.client.register(SAID)),
                world.call(world.client.push(PUSH)), SAID, world.client.source(), world.client.identity,
                pullinfo(world.client, world.collector, "http://127.0.0.1/", 0),
                *pullinfo(world.client, world.collector, "http://127.0.0.1/", 0).lines(),
                *events, world.client.killed, world.client.standings]
        for each in told:
            for text in (str(each), repr(each)):
                self.assertNotIn("MyVisiblePassword", text)
                self.assertNotIn(KEY, text)
        self.assertIn("***", str(told[0]))

    def test_no_secret_in_nonsense(self) -> None:
        """An answer that makes no sense is described without its content: a new AppKey may be in it."""
        for body in ([{"AppKey": KEY}], KEY, {"MsgNum": 7, "MsgId": {"AppKey": KEY}}):
            world = OCEWorld(registered=False)
            world.exchange.answers = [strictjson.write(body)]
            with self.assertRaises(ExchangeError) as raised:
                world.call(world.client.register(SAID))
            self.assertNotIn("41T3", str(raised.exception))

    def test_secret_of_the_store(self) -> None:
        """The secret for message keys is made once and stays."""
        world = OCEWorld()
        made = world.call(store_secret(world.store, lambda size: b"a" * size))
        self.assertEqual(made, world.call(store_secret(world.store, lambda size: b"b" * size)))
        self.assertEqual(made, b"a" * 32)


class CallTests(SynchronousTestCase):
    """Pull, acknowledge, push, configuration."""

    def test_pull(self) -> None:
        """The messages come as mails, with what is needed to acknowledge them; NULLSET is none."""
        world = OCEWorld()
        world.exchange.answers = [answer(7, [usds(1), usds(2)]), NOTHING]
        first, second = world.call(world.client.pull(50, TRIBES))
        self.assertEqual((first.msg_key, first.key, first.sender, first.member),
                         (f"{1:064X}", f"bbbb:{1:064X}", "edgar@friends.oce", "harold"))
        self.assertIn(b"Subject: number 2\r\n", second.mail)
        self.assertEqual(world.exchange.arguments(0), {"Func": "osaAppPullMsg", "Max": 50})
        self.assertEqual(world.exchange.sent[0]["Source"]["AppKey"], KEY)
        self.assertEqual(world.call(world.client.pull(50, TRIBES)), ())

    def test_no_more_than_asked(self) -> None:
        """An OCE that gives more than it was asked for is read as far as that; the rest comes again."""
        world = OCEWorld()
        world.exchange.answers = [answer(7, [usds(number) for number in range(9)])]
        self.assertEqual(len(world.call(world.client.pull(4, TRIBES))), 4)

    def test_refusals(self) -> None:
        """A failure of the OCE is told in its words; what makes no sense is a failed exchange."""
        world = OCEWorld()
        world.exchange.answers = [answer(-8, "wait"), b"[]", b"{", answer(7, [1]), answer(7, "done")]
        with self.assertRaises(Refused) as raised:
            world.call(world.client.pull(50, TRIBES))
        self.assertIn("-8 PEND", str(raised.exception))
        for _ in range(3):
            with self.assertRaises(ExchangeError) as senseless:
                world.call(world.client.pull(50, TRIBES))
            self.assertIn("makes no sense", str(senseless.exception))
        self.assertEqual(world.call(world.client.pull(50, TRIBES)), ())
        standing = world.client.standings["pull"]
        self.assertEqual((standing.calls, standing.failures), (5, 4))

    def test_large_answers(self) -> None:
        """A large answer to a pull is read elsewhere; to any other call it makes no sense."""
        world = OCEWorld()
        large = answer(7, [usds(1, Detail="x" * LARGEST_OTHER)])
        world.exchange.answers = [large, large]
        self.assertEqual(len(world.call(world.client.pull(50, TRIBES))), 1)
        self.assertEqual(len(world.tasks), 1)
        with self.assertRaises(ExchangeError):
            world.call(world.client.push(PUSH))

    def test_acknowledge(self) -> None:
        """The keys go as they came; a refusal is told."""
        world = OCEWorld()
        world.exchange.answers = [DONE, answer(-10)]
        world.call(world.client.acknowledge(["A", "b-c"]))
        self.assertEqual(world.exchange.arguments(0), {"Func": "osaAppAckMsg", "MsgKeys": ["A", "b-c"]})
        with self.assertRaises(Refused):
            world.call(world.client.acknowledge(["A"]))

    def test_configuration(self) -> None:
        """The values of members, as the page has it (6.2); nonsense is told."""
        world = OCEWorld()
        values = [{"Field": "Catalog", "Value": "Spring", "Member": "Default", "AppKey": KEY}]
        world.exchange.answers = [{**DONE, "Mesg": values}, {**DONE, "Mesg": [1]}]
        self.assertEqual(world.call(world.client.pull_config()), values)
        with self.assertRaises(ExchangeError):
            world.call(world.client.pull_config())


class MannersTests(SynchronousTestCase):
    """Flood rule, KILL, what is remembered."""

    def test_interval(self) -> None:
        """With a request interval one request at a time leaves, and none sooner than that after the last."""
        world = OCEWorld(interval=1.0)
        world.exchange.answers = [RECEIVED] * 4
        running = [Deferred.fromCoroutine(world.client.push(PUSH)) for _ in range(4)]
        for _ in range(30):
            world.clock.advance(0.125)
        self.assertEqual([round(at - world.exchange.times[0], 3) for at in world.exchange.times], [0, 1, 2, 3])
        for each in running:
            world.result(each)

    def test_no_interval(self) -> None:
        """Without one several requests run at once, at most eight."""
        world = OCEWorld()
        world.exchange.answers = [None] * 20
        running = [Deferred.fromCoroutine(world.client.push(PUSH)) for _ in range(20)]
        self.assertEqual(len(world.exchange.sent), 8)
        world.exchange.running[0].callback(strictjson.write(RECEIVED))
        self.assertEqual(len(world.exchange.sent), 9)
        for each in running:
            each.addErrback(lambda _: None)
            each.cancel()

    def test_cancelled_while_waiting(self) -> None:
        """Who gives up while he waits for his turn gives the turn to the next one."""
        world = OCEWorld(interval=1.0)
        world.exchange.answers = [RECEIVED] * 2
        world.call(world.client.push(PUSH))
        first, second = (Deferred.fromCoroutine(world.client.push(PUSH)) for _ in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        world.clock.advance(1)
        self.assertTrue(world.result(second).succeeded)

    def test_kill(self) -> None:
        """After KILL nothing is sent, also not by who waited already, until the operator releases it."""
        world = OCEWorld(interval=1.0)
        world.exchange.answers = [None]
        first, second = (Deferred.fromCoroutine(world.client.push(PUSH)) for _ in range(2))
        world.exchange.running[0].callback(strictjson.write(answer(-13, "stop")))
        self.assertEqual(world.result(first).num, -13)
        world.clock.advance(5)
        self.assertRaises(Stopped, world.result, second)
        self.assertRaises(Stopped, world.call, world.client.pull(50, TRIBES))
        self.assertEqual(len(world.exchange.sent), 1)
        self.assertIn("oce release", world.client.killed)
        self.assertTrue(world.client.release())
        self.assertFalse(world.client.release())
        world.clock.advance(5)
        world.exchange.answers = [RECEIVED]
        waiting = Deferred.fromCoroutine(world.client.push(PUSH))
        world.clock.advance(1)
        self.assertTrue(world.result(waiting).succeeded)

    def test_pullinfo(self) -> None:
        """`pullinfo` says in words what went well and what did not."""
        world = OCEWorld()
        said = pullinfo(world.client, world.collector, "http://127.0.0.1:1895/", 3)
        self.assertEqual((said.registered, said.last_poll, said.waiting, said.fault), (True, 0.0, 3, ""))
        world.exchange.answers = [answer(7, [usds(1)]), DONE]
        world.collector.start()
        world.clock.advance(0)
        world.exchange.answers = [ExchangeError("the OCE answered HTTP 500")]
        world.clock.advance(300)
        said = pullinfo(world.client, world.collector, "http://127.0.0.1:1895/", 3)
        self.assertEqual((said.counts.stored, said.counts.acknowledged, said.results["pull"], said.fault),
                         (1, 1, "the OCE answered HTTP 500", "the OCE answered HTTP 500"))
        self.assertEqual((said.last_poll - said.last_success, said.next_poll - said.last_poll), (300, 600))
        text = "\n".join(said.lines())
        for words in ("registered: yes", "41T3...", "1 stored", "fault: the OCE answered HTTP 500",
                      "waiting to be sent"):
            self.assertIn(words, text)
        self.assertEqual(json.loads(json.dumps(said.values()))["counts"]["stored"], 1)
        self.assertEqual((masked(""), masked("short"), masked(KEY)), ("", "...", "41T3..."))

    def test_pullinfo_before(self) -> None:
        """Before the registration it says what to do, and that nothing was tried."""
        world = OCEWorld(registered=False)
        text = "\n".join(pullinfo(world.client, world.collector, "http://127.0.0.1:1895/", 0).lines())
        self.assertIn("mailbridge register", text)
        self.assertIn("last pull: never", text)
