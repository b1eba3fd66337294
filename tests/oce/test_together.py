"""Client, target and collector with an OCE at the other end of a loopback connection, which fails as it is told to."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from mailbridge.oce.client import Identity, OCEClient
from mailbridge.oce.collector import Collector, Recipients
from mailbridge.oce.dialect import Registration
from mailbridge.oce.exchange import Exchange, Place
from mailbridge.outcome import Delivered, RouteFailure, TransientFailure
from mailbridge.store.memory import MemoryStore
from mailbridge.target.oce import OCETarget
from mailbridge.testing.fakeoce import FakeOCE
from tests.oce.oce_world import aside
from tests.target.test_oce import LANE, TargetWorld


class TogetherTests(TestCase):
    """All of it."""

    @inlineCallbacks
    def setUp(self) -> Any:
        """An OCE with two members, a bridge that is registered and approved."""
        self.fake = FakeOCE(reactor, MemoryStore(reactor), {"harold": "secret", "edgar": "secret"}, wiki=True)
        yield self.fake.start()
        port = reactor.listenTCP(0, self.fake.factory, interface="127.0.0.1")
        self.addCleanup(self.fake.stop)
        self.addCleanup(port.stopListening)
        self.world = world = TargetWorld(registered=False)
        place = Place(f"http://127.0.0.1:{port.getHost().port}/")
        exchange = Exchange(reactor, place, seconds=1.0)
        self.addCleanup(exchange.close)
        self.client = OCEClient(Identity("harold"), exchange, world.store, reactor, aside)
        recipients = Recipients(world.users.get, lambda: world.users["postmaster"])
        tribes = world.target._tribes
        self.collector = Collector(self.client, world.store, recipients, tribes, "bridge.example.org", reactor,
                                   world._random, 300.0)
        self.addCleanup(self.collector.stop)
        self.target = OCETarget(self.client, world.store, tribes, world.target._senders, b"secret", reactor)
        said = Registration("harold", "secret", "SMTP:mailbridge", "127.0.0.1", 20001, 300)
        answer = yield Deferred.fromCoroutine(self.client.register(said))
        self.assertTrue(answer.succeeded, answer)

    def attempt(self, message: Any, deliveries: Any) -> Deferred[Any]:
        """The outcome of the only delivery."""
        return self.target.attempt(message, deliveries, LANE).addCallback(lambda found: found[deliveries[0].id])

    @inlineCallbacks
    def pull(self) -> Any:
        """One poll."""
        yield Deferred.fromCoroutine(self.collector._poll())

    @inlineCallbacks
    def test_there_and_back(self) -> Any:
        """Before the approval the route pauses; after it a mail goes out and comes into the maildrop."""
        message, deliveries = self.world.accept(("harold@oce",))
        outcome = yield self.attempt(message, deliveries)
        self.assertIsInstance(outcome, RouteFailure)
        self.assertIn("PEND", outcome.reason)
        yield self.fake.approve("SMTP:mailbridge")
        outcome = yield self.attempt(message, deliveries)
        self.assertIsInstance(outcome, Delivered)
        yield self.pull()
        self.assertEqual(self.collector.fault, "")
        (mail,) = self.world.mails("harold")
        self.assertIn(b"\r\nFrom: harold@oce\r\n", mail)
        self.assertIn(b"\r\nSubject: Hi\r\n", mail)
        yield self.pull()
        self.assertEqual((self.collector.counts.stored, self.collector.counts.pulled), (1, 1))

    @inlineCallbacks
    def test_answer_lost(self) -> Any:
        """When the answer to a push is lost, the resend is recognised and the mail is there once."""
        yield self.fake.approve("SMTP:mailbridge")
        message, deliveries = self.world.accept(("harold@oce",))
        self.fake.fail_next("drop after")
        outcome = yield self.attempt(message, deliveries)
        self.assertIsInstance(outcome, TransientFailure)
        outcome = yield self.attempt(message, [evolve(deliveries[0], attempts=1, fence=3)])
        self.assertIsInstance(outcome, Delivered)
        yield self.pull()
        self.assertEqual(len(self.world.mails("harold")), 1)

    @inlineCallbacks
    def test_faults(self) -> Any:
        """Whatever goes wrong on the way, it is told in words and no mail is lost or doubled."""
        yield self.fake.approve("SMTP:mailbridge")
        message, deliveries = self.world.accept(("harold@oce",))
        outcome = yield self.attempt(message, deliveries)
        self.assertIsInstance(outcome, Delivered)
        for failure, words in ((500, "HTTP 500"), ("drop", "without an answer"), ("hang", "did not answer within"),
                               ("garbage", "makes no sense"), (0, "INTERR")):
            self.fake.fail_next(failure)
            yield self.pull()
            self.assertIn(words, self.collector.fault)
            self.assertIn(words, self.client.standings["pull"].result)
        yield self.pull()
        self.assertEqual((self.collector.fault, len(self.world.mails("harold"))), ("", 1))

    @inlineCallbacks
    def test_acknowledgement_lost(self) -> Any:
        """An acknowledgement that does not get through: the mail comes again, is dropped and acknowledged."""
        yield self.fake.approve("SMTP:mailbridge")
        yield self.attempt(*self.world.accept(("harold@oce",)))
        acknowledge = self.client.acknowledge

        async def lost(keys: Any) -> None:
            self.fake.fail_next("drop")
            await acknowledge(keys)

        self.client.acknowledge = lost  # type: ignore[method-assign]
        yield self.pull()
        self.assertIn("without an answer", self.collector.fault)
        self.client.acknowledge = acknowledge  # type: ignore[method-assign]
        yield self.pull()
        counts = self.collector.counts
        self.assertEqual((counts.pulled, counts.stored, counts.repeated, counts.acknowledged), (2, 1, 1, 1))
        yield self.pull()
        self.assertEqual((counts.pulled, len(self.world.mails("harold"))), (2, 1))
