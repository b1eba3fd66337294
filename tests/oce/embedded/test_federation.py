"""Messages from tribe to tribe: two OCEs with a line between them, in memory; and once over HTTPS."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge import certificate
from mailbridge.content import Content
from mailbridge.edge.clienttls import Trust
from mailbridge.edge.transport import CurrentTLS, implicit_tls
from mailbridge.errors import StoreError
from mailbridge.oce import strictjson, usds
from mailbridge.oce.calls import Answer, items, read_answer, write_answer
from mailbridge.oce.embedded.federation import GRACE, READ_AGAIN, Peering
from mailbridge.oce.embedded.sender import HEADER, Request
from mailbridge.oce.embedded.settings import OCESettings, RemoteTribe
from mailbridge.oce.embedded.site import AskingTLS
from mailbridge.oce.exchange import Exchange, ExchangeError, NotTrusted, Place
from mailbridge.oce.usds import USDS, Dest, Source
from mailbridge.store.changes import LaneState, Message, Selection
from mailbridge.store.memory import MemoryStore
from mailbridge.testing.fakeoce import FakeOCE
from tests.oce.embedded.values import APP_ID, asked, message, octets

OURS, THEIRS = "AA" * 32, "BB" * 32
SECRET = b"between us" * 4
SAID = {"AppName": "mailbridge", "AppId": APP_ID}
HOUR, DAY = 3600.0, 86_400.0


@define
class Line:
    """Carries requests to another OCE. `failing` is what the next ones meet, in order: an error, or octets."""

    peer: str = "198.51.100.9"
    to: FakeOCE | None = None
    failing: list[Any] = field(factory=list)
    carried: int = 0
    lose_answers: int = 0
    hangs: bool = False

    def exchange(self, body: bytes, headers: Mapping[str, str]) -> Deferred[bytes]:
        """One request."""
        self.carried += 1
        if self.hangs:
            return Deferred()
        if self.failing:
            met = self.failing.pop(0)
            return fail(met) if isinstance(met, Exception) else succeed(met)
        assert self.to is not None
        answer = self.to.oce.answer(Request(body, self.peer, headers.get(HEADER)))
        if self.lose_answers:
            self.lose_answers -= 1
            return answer.addCallback(lambda _: fail(ExchangeError("cut")))
        return answer

    def close(self) -> Deferred[None]:
        """Nothing is kept."""
        return succeed(None)


class TidyStore(MemoryStore):
    """While `moved`, what is read of messages names segments that are gone by then."""

    moved = False

    def messages(self, ids: Sequence[int]) -> dict[int, Message]:
        """See IStore."""
        found = super().messages(ids)
        if not self.moved:
            return found
        return {id: evolve(each, content=evolve(each.content, octets=None)) for id, each in found.items()}

    def pin(self, content: Content) -> Any:
        """See IStore."""
        raise StoreError("segment 1 is gone: read the message again")


class TwoTribes:
    """Ours has harold, theirs has edgar, each with his bridge."""

    def tribe(self, clock: Any, store: Any, member: str, key: str, remote: RemoteTribe, line: Any,
              secret: bytes | None = SECRET) -> FakeOCE:
        """One OCE."""
        settings = OCESettings(member=member, tribes=(remote,))
        return FakeOCE(clock, store, {member: "secret"}, settings, key, peerings={remote.name: Peering(line, secret)})


class FederationTests(TwoTribes, SynchronousTestCase):
    """`Federation`."""

    def setUp(self) -> None:
        """Two tribes that know each other by a secret."""
        self.clock = Clock()
        self.clock.advance(1_763_730_000.0)
        self.line = Line()
        self.store = TidyStore(self.clock)
        friends = RemoteTribe("friends", THEIRS, SECRET)
        self.here = self.tribe(self.clock, self.store, "harold", OURS, friends, self.line)
        self.there = self.tribe(self.clock, MemoryStore(self.clock), "edgar", THEIRS, RemoteTribe("old", OURS, SECRET),
                                Line())
        self.line.to = self.there
        self.sources = {}
        for fake, member in ((self.here, "harold"), (self.there, "edgar")):
            self.successResultOf(fake.start())
            self.addCleanup(fake.stop)
            said = {"UserName": member, "UserPass": "secret", **SAID}
            (registered,) = items(self.ask(fake, asked("osaAppReg", Source(), **said)))
            self.sources[member] = Source(member, "1", APP_ID, registered["AppKey"])

    def ask(self, fake: FakeOCE, said: USDS) -> Answer:
        """The answer of an OCE to its application."""
        return read_answer(strictjson.read(self.successResultOf(fake.oce.answer(Request(octets(said))))))

    def send(self, number: int = 1, member: str = "edgar") -> None:
        """A message to them."""
        sent = message(Dest(oce=THEIRS, member=member), self.sources["harold"], msg_key=f"K{number}",
                       summary=f"{number}")
        self.assertEqual(self.ask(self.here, sent).num, 1)

    def pulled(self, fake: FakeOCE, member: str) -> list[USDS]:
        """What waits for an application."""
        answer = self.ask(fake, asked("osaAppPullMsg", self.sources[member], Max=1000))
        return [usds.read(each) for each in items(answer)]

    def waiting(self) -> list[tuple[str, str]]:
        """Recipient and last answer of what waits to be sent on."""
        entries = self.successResultOf(self.store.queue(Selection(target="usds:tribe"), 0, 1000))
        return [(entry.recipient, entry.answer) for entry in entries]

    def test_read_again(self) -> None:
        """A message whose segment was cleaned up between claim and read is read again soon, without a traceback."""
        self.store.moved = True
        self.send()
        self.clock.advance(1)
        self.assertEqual((self.pulled(self.there, "edgar"), len(self.waiting())), ([], 1))
        self.store.moved = False
        self.clock.advance(READ_AGAIN)
        self.clock.pump([1.0] * 60)
        self.assertEqual((len(self.pulled(self.there, "edgar")), self.waiting()), (1, []))

    def test_tribe_gone(self) -> None:
        """What waits for a tribe that was taken out of the configuration has an alarm, and goes when it is back."""
        self.line.failing = [ExchangeError("no connection")]
        self.send()
        self.clock.advance(1)
        self.successResultOf(self.here.stop())
        other = RemoteTribe("other", "CC" * 32, SECRET)
        without = self.tribe(self.clock, self.store, "harold", OURS, other, Line())
        self.successResultOf(without.start())
        self.clock.pump([60.0] * 20)
        (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
        self.assertEqual((lane.state, lane.waiting), (LaneState.PAUSED, 1))
        self.assertIn("not in the configuration", lane.reason)
        self.successResultOf(without.stop())
        friends = RemoteTribe("friends", THEIRS, SECRET)
        again = self.tribe(self.clock, self.store, "harold", OURS, friends, self.line)
        self.successResultOf(again.start())
        self.addCleanup(again.stop)
        self.clock.advance(1)
        self.assertEqual(len(self.pulled(self.there, "edgar")), 1)

    def test_stop_while_the_other_side_hangs(self) -> None:
        """A tribe that never answers holds up a stop for seconds; its messages wait and go later."""
        self.line.hangs = True
        for number in range(20):
            self.send(number)
        self.clock.advance(1)
        stopped = self.here.stop()
        self.assertNoResult(stopped)
        self.clock.advance(GRACE)
        self.successResultOf(stopped)
        self.assertEqual(len(self.waiting()), 20)
        (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
        self.assertEqual(lane.state, LaneState.OPEN)
        self.assertLessEqual(lane.due or HOUR * 1e9, self.clock.seconds())

    def test_sent_on(self) -> None:
        """Messages for another tribe arrive there with the key of ours, soon and once."""
        for number in range(100):
            self.send(number)
        self.clock.advance(1)
        arrived = self.pulled(self.there, "edgar")
        self.assertEqual(sorted(int(each.summary) for each in arrived), list(range(100)))
        for each in arrived:
            self.assertEqual((each.source, each.dest),
                             (Source("harold", "1", APP_ID, oce=OURS), Dest(member="edgar")))
        self.assertEqual((self.waiting(), self.line.carried), ([], 100))

    def test_answer_lost(self) -> None:
        """When the answer is lost the message goes again and is known there: it arrives once."""
        self.line.lose_answers = 1
        self.send()
        self.clock.pump([60.0] * 20)
        self.assertEqual((len(self.pulled(self.there, "edgar")), self.line.carried, self.waiting()), (1, 2, []))
        self.assertEqual(self.pulled(self.here, "harold"), [])

    def test_unreachable(self) -> None:
        """A tribe that cannot be reached is tried with longer and longer waits; then all arrives."""
        self.line.failing = [ExchangeError("no connection")] * 3
        for number in range(20):
            self.send(number)
        self.clock.advance(1)
        self.assertEqual(self.line.carried, 1)
        (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
        self.assertEqual((lane.state, lane.reason), (LaneState.OPEN, "no connection"))
        self.clock.pump([60.0] * 120)
        self.assertEqual(len(self.pulled(self.there, "edgar")), 20)
        (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
        self.assertEqual((lane.reason, lane.waiting), ("", 0))

    def test_not_trusted(self) -> None:
        """A fault of ours or a wrong certificate pauses the way to that tribe, with its reason, and loses nothing."""
        for met, words in (
            (NotTrusted("the certificate is another"), "certificate"),
            (strictjson.write(write_answer(Answer(-10))), "INVKEY"),
            (strictjson.write(write_answer(Answer(-13))), "KILL"),
            (strictjson.write(write_answer(Answer(-14))), "PODEXT"),
        ):
            self.line.failing = [met]
            self.send(hash(words))
            self.clock.advance(1)
            (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
            self.assertEqual(lane.state, LaneState.PAUSED)
            self.assertIn(words, lane.reason)
            self.clock.pump([60.0] * 20)
            self.assertEqual(self.waiting(), [])
        self.assertEqual(len(self.pulled(self.there, "edgar")), 4)

    def test_nonsense(self) -> None:
        """An answer that is none is a failure for now."""
        self.line.failing = [b"<html>", b"[]", b"{}"]
        self.send()
        self.clock.pump([60.0] * 60)
        self.assertEqual((len(self.pulled(self.there, "edgar")), self.waiting()), (1, []))

    def test_refused(self) -> None:
        """Who writes to somebody they do not have is told so, by a message in his own mailbox, once."""
        self.send(1, "nobody")
        self.send(2)
        self.clock.advance(1)
        (notice,) = self.pulled(self.here, "harold")
        self.assertEqual((notice.summary, notice.source.member), ("Not delivered: 1", "postmaster"))
        self.assertIn("nobody@friends.oce", notice.detail)
        self.assertIn("-3 INVMBR", notice.detail)
        self.assertEqual(len(self.pulled(self.there, "edgar")), 1)
        self.assertEqual(self.waiting(), [])

    def test_given_up(self) -> None:
        """After five days without success the sender hears that it was given up."""
        self.line.failing = [ExchangeError("no connection")] * 1000
        self.send()
        self.clock.pump([HOUR] * 24 * 6)
        (notice,) = self.pulled(self.here, "harold")
        self.assertIn("no connection", notice.detail)
        self.assertEqual(self.waiting(), [])

    def test_wrong_secret(self) -> None:
        """An OCE with another secret is refused; the message waits for the operators to agree."""
        self.there.oce.settings = evolve(self.there.oce.settings, tribes=(RemoteTribe("old", OURS, b"other"),))
        self.send()
        self.clock.advance(1)
        (lane,) = [lane for lane in self.successResultOf(self.store.lanes()) if lane.target == "usds:tribe"]
        self.assertEqual((lane.waiting, self.pulled(self.there, "edgar")), (1, []))

    def test_stop(self) -> None:
        """After a stop nothing more is sent; after the next start it is."""
        self.successResultOf(self.here.stop())
        self.send()
        self.clock.advance(HOUR)
        self.assertEqual((self.line.carried, len(self.waiting())), (0, 1))


class CertificateTests(TwoTribes, TestCase):
    """Over HTTPS, where each knows the other by the certificate."""

    async def test_pinned(self) -> None:
        """A message goes from one to the other; one with another certificate is refused before anything is said."""
        made = [_pair(Path(self.mktemp())) for _ in range(3)]
        pairs, options, pins = zip(*made, strict=True)
        there = self.tribe(reactor, MemoryStore(reactor), "edgar", THEIRS,  # type: ignore[arg-type]
                           RemoteTribe("old", OURS, pin=pins[0]), Line(), None)
        await there.start()
        listening: Any = reactor.listenTCP(  # type: ignore[attr-defined]
            0, implicit_tls(AskingTLS(CurrentTLS(options[1])), there.factory), interface="127.0.0.1")  # type: ignore[arg-type]
        self.addCleanup(there.stop)
        self.addCleanup(listening.stopListening)
        sent = octets(message(Dest(oce=THEIRS, member="edgar"), Source("harold", app_id=APP_ID, oce=OURS)))
        url = f"https://127.0.0.1:{listening.getHost().port}/"
        answers = []
        for identity in (pairs[0], pairs[2], None):
            line = Exchange(reactor, Place(url, Trust(pin=pins[1], identity=identity)))
            answers.append(read_answer(strictjson.read(await line.exchange(sent))).num)
            await line.close()
        # The first is theirs, and has nobody to bring it yet; the others are nobody.
        self.assertEqual(answers, [-15, -10, -10])
        wrong = Exchange(reactor, Place(url, Trust(pin=pins[2], identity=pairs[0])))
        with self.assertRaises(NotTrusted):
            await wrong.exchange(sent)
        await wrong.close()
        await there.factory.stop()


def _pair(folder: Path) -> tuple[str, Any, str]:
    """An identity in PEM, the options of a listener with it, and its pin."""
    folder.mkdir()
    pair = certificate.make(("127.0.0.1",), 30, time.time())
    certificate.write(pair, folder / "cert.pem", folder / "key.pem")
    options = certificate.load_context(folder / "cert.pem", folder / "key.pem")
    return (pair.certificate + pair.key).decode(), options, certificate.fingerprint(pair.certificate)
