"""Mail into the OCE: one message for each recipient, the same key at each attempt, and a verdict on every answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import StoreError
from mailbridge.interfaces import ITarget
from mailbridge.message import writing
from mailbridge.oce.exchange import ExchangeError, NotTrusted, Unreachable
from mailbridge.oce.senders import Senders
from mailbridge.oce.tasks import LARGE
from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Accept, Delivery, Lane, LaneState, Message, Queued, Settle, Verdict
from mailbridge.target.oce import GRACE, OCETarget
from tests.oce.oce_world import RECEIVED, TRIBES, OCEWorld, answer

LANE = Lane(1, "oce", "", LaneState.OPEN, "", 0.0, None, 0)
MAIL = b"From: x@example.org\r\nSubject: Hi\r\nBcc: hidden@example.org\r\n\r\nText\r\n"


class TargetWorld(OCEWorld):
    """A target beside it. Users are `harold` and `postmaster`; `harold@example.org` is Harold's address."""

    def __init__(self, interval: float = 0.0, registered: bool = True) -> None:
        super().__init__(interval, registered)
        senders = Senders(lambda name: self.users.get(name.partition("@")[0].casefold()),
                          lambda address: self.users.get(address.local) if address.domain == "example.org" else None,
                          "bridge.example.org")
        self.target = OCETarget(self.client, self.store, lambda: TRIBES, senders, b"secret", self.clock)

    def accept(self, recipients: tuple[str, ...] = ("edgar@oce",), mail: bytes = MAIL, user: str | None = "harold",
               sender: Address = NULL) -> tuple[Message, list[Delivery]]:
        """A message in the store, with its deliveries claimed."""
        origin = Origin("smtp[0]", "127.0.0.1", "x", user, None, 0.0, "ESMTP", True)
        writer = self.store.content()
        writer.write(mail)
        envelope = Envelope(self._random(10).hex(), sender, (), origin, writer.finish())
        queued = tuple(Queued(each, "oce", "") for each in recipients)
        (accepted,) = self.result(self.store.commit(Accept(envelope, deliveries=queued)))
        return self.store.messages([accepted.message])[accepted.message], self.claim()

    def claim(self) -> list[Delivery]:
        """What is due."""
        (lane,) = self.result(self.store.lanes())
        return list(self.result(self.store.claim("me", lane.id, 1000, 60.0)))

    def outcomes(self, message: Message, deliveries: list[Delivery]) -> list[Any]:
        """The outcome of each delivery."""
        found = self.result(self.target.attempt(message, deliveries, LANE))
        return [found[each.id] for each in deliveries]

    def one(self, *answers: Any, **more: Any) -> Any:
        """The outcome of one delivery with those answers."""
        self.exchange.answers = list(answers)
        (outcome,) = self.outcomes(*self.accept(**more))
        return outcome


class PushTests(SynchronousTestCase):
    """What goes out."""

    def test_message(self) -> None:
        """The message of the reference (6.3): the login as the sender, the member, the text, a key of 64 digits."""
        world = TargetWorld()
        verifyObject(ITarget, world.target)
        outcome = world.one(RECEIVED)
        self.assertIsInstance(outcome, Delivered)
        self.assertEqual((outcome.server, outcome.final, outcome.changes), ("oce", False, ()))
        (sent,) = world.exchange.sent
        self.assertEqual((sent["msgType"], sent["Dest"], sent["Summary"], sent["Detail"]),
                         ("qMsg", {"Member": "edgar"}, "Hi", "Text\n"))
        self.assertEqual((sent["Source"]["Member"], sent["Source"]["AppKey"]), ("harold", world.client.app_key))
        self.assertRegex(sent["MsgKey"], "^[0-9A-F]{64}$")
        self.assertNotIn("hidden", str(sent))

    def test_destinations(self) -> None:
        """A tribe is named by its key; an address that a rule led here is one of our own OCE; other tribes are gone."""
        for recipient, dest in (("edgar@FRIENDS.oce", {"OCE": "BBBB", "Member": "edgar"}),
                                ("Edgar@OCE", {"Member": "Edgar"}),
                                ("edgar@old.example", {"Member": "edgar@old.example"})):
            world = TargetWorld()
            self.assertIsInstance(world.one(RECEIVED, recipients=(recipient,)), Delivered)
            self.assertEqual(world.exchange.sent[0]["Dest"], dest)
        world = TargetWorld()
        outcome = world.one(recipients=("edgar@enemies.oce",))
        self.assertEqual((outcome.reply.enhanced, world.exchange.sent), ("5.1.2", []))

    def test_senders(self) -> None:
        """The login, whatever MAIL FROM says; without one the user whose address it is, else the address itself."""
        for user, sender, member in (
            ("harold", Address("bonnie", "example.org"), "harold"), ("Harold@oce", NULL, "harold"),
            ("gone@oce", NULL, "gone"), (None, Address("harold", "example.org"), "harold"),
            (None, Address("harold", "elsewhere.example"), "harold@elsewhere.example"),
            (None, NULL, "MAILER-DAEMON@bridge.example.org"),
        ):
            world = TargetWorld()
            world.one(RECEIVED, user=user, sender=sender)
            self.assertEqual(world.exchange.sent[0]["Source"]["Member"], member)

    def test_several(self) -> None:
        """Each recipient has a message, a key and an outcome of his own; eight are on their way at once."""
        world = TargetWorld()
        names = tuple(f"u{number}@oce" for number in range(20))
        world.exchange.answers = [None] * 8
        message, deliveries = world.accept(names)
        running = world.target.attempt(message, deliveries, LANE)
        self.assertEqual(len(world.exchange.sent), 8)
        world.exchange.answers = [answer(-3)] + [RECEIVED] * 11
        for each in world.exchange.running:
            each.callback(b'{"MsgNum":1}')
        found = world.result(running)
        failed = [each.recipient for each in deliveries if not isinstance(found[each.id], Delivered)]
        self.assertEqual(failed, [world.exchange.sent[8]["Dest"]["Member"] + "@oce"])
        self.assertEqual(len({each["MsgKey"] for each in world.exchange.sent}), 20)

    def test_concurrency(self) -> None:
        """As many messages at once as there are connections; one by one under a request interval."""
        self.assertEqual((TargetWorld().target.concurrency(LANE), TargetWorld(1.0).target.concurrency(LANE)), (8, 1))

    def test_large(self) -> None:
        """A large mail is converted elsewhere, for one recipient after the other; too large is refused for good."""
        part = writing.attachment(b"x" * LARGE, "application/pdf", "a.pdf")
        mail = writing.message([("Subject", "big")], writing.multipart("mixed", [writing.text_part("t"), part]))
        world = TargetWorld()
        world.exchange.answers = [RECEIVED, answer(-3)]
        message, deliveries = world.accept(("a@oce", "b@oce"), mail)
        running = world.target.attempt(message, deliveries, LANE)
        for _ in range(30):
            world.clock.advance(0)
        found = world.result(running)
        self.assertEqual([type(found[each.id]) for each in deliveries], [Delivered, PermanentFailure])
        self.assertEqual(len(world.tasks), 2)
        self.assertEqual(len(world.exchange.sent[0]["Object"][0]["Data"]), (LARGE + 2) // 3 * 4)
        part = writing.attachment(b"x" * 8_000_000, "application/pdf", "a.pdf")
        message, deliveries = world.accept(("a@oce",), writing.message([], part))
        deliveries = deliveries[-1:]
        running = world.target.attempt(message, deliveries, LANE)
        for _ in range(200):
            world.clock.advance(0)
        outcome = world.result(running)[deliveries[0].id]
        self.assertEqual((type(outcome), outcome.reply.code, outcome.reply.enhanced), (PermanentFailure, 552, "5.3.4"))

    def test_cannot_convert(self) -> None:
        """A mail that is too intricate, or for a name that is too long, comes back with the reason."""
        world = TargetWorld()
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
        outcome = world.one(mail=deep)
        self.assertEqual((type(outcome), outcome.reply.enhanced), (PermanentFailure, "5.6.0"))
        outcome = world.one(RECEIVED, recipients=("n" * 129 + "@oce",))
        self.assertEqual((type(outcome), outcome.reply.enhanced), (PermanentFailure, "5.1.3"))


class VerdictTests(SynchronousTestCase):
    """What an answer means."""

    def test_codes(self) -> None:
        """Each code by the one table; a fault of the exchange is transient, of trust or registration the route's."""
        for given, kind in ((answer(1), Delivered), (answer(99), Delivered), (answer(0), TransientFailure),
                            (answer(-103), TransientFailure), (answer(-3), PermanentFailure),
                            (answer(-200), PermanentFailure), (answer(-8), RouteFailure), (answer(-10), RouteFailure),
                            (answer(-13), RouteFailure), (b"{", TransientFailure), (b"{}", TransientFailure),
                            (NotTrusted("no"), RouteFailure), (ExchangeError("cut"), TransientFailure),
                            (StoreError("x"), TransientFailure), (CancelledError(), TransientFailure)):
            self.assertIsInstance(TargetWorld().one(given), kind, given)

    def test_unreachable(self) -> None:
        """When the OCE cannot be reached the lane waits, and other recipients are not tried."""
        world = TargetWorld()
        world.exchange.answers = [Unreachable("refused")] * 20
        for outcome in world.outcomes(*world.accept(tuple(f"u{number}@oce" for number in range(20)))):
            self.assertTrue(outcome.unreachable)
        self.assertEqual(len(world.exchange.sent), 8)
        self.assertFalse(TargetWorld().one(ExchangeError("cut")).unreachable)

    def test_unregistered(self) -> None:
        """Without a registration the route pauses with what to do, and nothing is sent."""
        world = TargetWorld(registered=False)
        outcome = world.one()
        self.assertIn("mailbridge register", outcome.reason)
        self.assertEqual(world.exchange.sent, [])

    def test_kill(self) -> None:
        """After KILL the route pauses, and no further recipient is tried."""
        world = TargetWorld()
        world.exchange.answers = [answer(-13)]
        world.one(answer(-13))
        for outcome in world.outcomes(*world.accept(("a@oce", "b@oce"))):
            self.assertIn("KILL", outcome.reason)
        self.assertEqual(len(world.exchange.sent), 1)

    def test_fault_of_ours(self) -> None:
        """An exception nobody thought of is logged, and transient."""
        self.assertIsInstance(TargetWorld().one(ZeroDivisionError()), TransientFailure)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RepeatTests(SynchronousTestCase):
    """The key, and what the OCE says of a repeat."""

    def again(self, world: TargetWorld, deliveries: list[Delivery], outcome: Any) -> list[Delivery]:
        """The deliveries at their next attempt."""
        self.assertIsInstance(outcome, TransientFailure)
        world.result(world.store.commit(*(Settle(each.id, each.fence, Verdict.AGAIN) for each in deliveries)))
        return world.claim()

    def test_same_key(self) -> None:
        """Each attempt has the same key; "known already" then means delivered."""
        for num in (-106, -107):
            world = TargetWorld()
            world.exchange.answers = [ExchangeError("cut"), answer(num)]
            message, deliveries = world.accept()
            (outcome,) = world.outcomes(message, deliveries)
            (outcome,) = world.outcomes(message, self.again(world, deliveries, outcome))
            self.assertIsInstance(outcome, Delivered)
            self.assertEqual(len({each["MsgKey"] for each in world.exchange.sent}), 1)

    def test_after_a_crash(self) -> None:
        """After a crash within the first attempt the second one is a repeat, too."""
        world = TargetWorld()
        message, _ = world.accept()
        world.clock.advance(61)
        world.exchange.answers = [answer(-106)]
        (outcome,) = world.outcomes(message, world.claim())
        self.assertIsInstance(outcome, Delivered)

    def test_strange(self) -> None:
        """"Known already" at the first attempt is an alarm; another key is used from then on, and goes with the end."""
        world = TargetWorld()
        world.exchange.answers = [answer(-107), answer(-106), ExchangeError("cut"), answer(-106)]
        message, deliveries = world.accept()
        for _ in range(3):
            (outcome,) = world.outcomes(message, deliveries)
            deliveries = self.again(world, deliveries, outcome)
        (outcome,) = world.outcomes(message, deliveries)
        used = [each["MsgKey"] for each in world.exchange.sent]
        self.assertEqual((len(set(used)), used[2] == used[3]), (3, True))
        self.assertIsInstance(outcome, Delivered)
        (change,) = outcome.changes
        self.assertIsNotNone(world.store.recall(change.key))
        world.result(world.store.commit(change))
        self.assertIsNone(world.store.recall(change.key))

    def test_keys_differ(self) -> None:
        """Messages that look the same have keys of their own, and so have recipients."""
        world = TargetWorld()
        world.one(RECEIVED)
        world.exchange.answers = [RECEIVED] * 2
        message, deliveries = world.accept(("edgar@oce", "edgar@friends.oce"))
        world.outcomes(message, deliveries)
        self.assertEqual(len({each["MsgKey"] for each in world.exchange.sent}), len(world.exchange.sent))


class EndTests(SynchronousTestCase):
    """Giving up."""

    def test_cancelled(self) -> None:
        """An attempt that is cancelled sends nothing more; each recipient without an answer is tried again."""
        world = TargetWorld()
        world.exchange.answers = [RECEIVED] + [None] * 30
        message, deliveries = world.accept(tuple(f"u{number}@oce" for number in range(20)))
        running = world.target.attempt(message, deliveries, LANE)
        running.cancel()
        found = world.result(running)
        kinds = [type(found[each.id]) for each in deliveries]
        self.assertEqual((kinds.count(Delivered), kinds.count(TransientFailure)), (1, 19))
        self.assertEqual(len(world.exchange.sent), 8)

    def test_closed(self) -> None:
        """Closing gives attempts a few seconds, cancels them then, and tells when they have ended."""
        world = TargetWorld()
        world.exchange.answers = [None]
        running = world.target.attempt(*world.accept(), LANE)
        closed = world.target.close()
        self.assertNoResult(closed)
        world.clock.advance(GRACE)
        world.result(closed)
        ((_, outcome),) = world.result(running).items()
        self.assertIsInstance(outcome, TransientFailure)
        world.result(world.target.close())


class CheckTests(SynchronousTestCase):
    """`check`, for the intake."""

    def check(self, mail: bytes, recipient: str = "edgar@oce") -> Any:
        """What it says of a mail."""
        world = TargetWorld()
        writer = world.store.content()
        writer.write(mail)
        found = world.target.check(parse_mailbox(recipient.encode()), writer.finish())
        if not isinstance(found, Deferred):
            return found
        for _ in range(200):
            world.clock.advance(0)
        return world.result(found)

    def test_good(self) -> None:
        """What can be converted passes, large or small."""
        self.assertIsNone(self.check(MAIL))
        self.assertIsNone(self.check(MAIL + b"x" * 70 + b"\r\n" * LARGE))

    def test_bad(self) -> None:
        """Too large an attachment, too many levels, too long a name: refused as the delivery would refuse it."""
        big = writing.message([], writing.attachment(b"x" * 8_000_000, "application/pdf", "a.pdf"))
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
        for mail, recipient, enhanced in ((big, "a@oce", "5.3.4"), (deep, "a@oce", "5.6.0"),
                                          (MAIL, "n" * 129 + "@oce", "5.1.3")):
            found = self.check(mail, recipient)
            self.assertIsInstance(found, Reply)
            self.assertTrue(found.is_permanent)
            self.assertEqual(found.enhanced, enhanced)

    def test_content(self) -> None:
        """Content of middle size, which is not in memory, is read for it."""
        self.assertIsNone(self.check(MAIL + b"x" * 70 + b"\r\n" * 20_000))
