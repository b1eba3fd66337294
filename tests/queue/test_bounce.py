"""Who hears what of a message, and where the notice goes."""

from __future__ import annotations

import itertools
import json
from email import message_from_bytes
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.address import NULL, Address
from mailbridge.content import Content, Extent
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import StoreError
from mailbridge.interfaces import IBounce
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.bounce import Bounce, BounceSettings
from mailbridge.received import return_path
from mailbridge.reply import Reply
from mailbridge.routing.route import Lanes, Route, WayOut
from mailbridge.routing.table import Table
from mailbridge.store.changes import NO_WISHES, Accept, Delivery, Message, Queued, Wishes
from tests.edge.smtp_world import World

NO_USER = PermanentFailure(Reply(550, "5.1.1", "No such user"), server="mx.dst.invalid")
BUSY = TransientFailure(Reply(451, "4.3.0", "busy"), server="mx.dst.invalid")
REMOTE = "someone@elsewhere.invalid"
LOCAL = "bonnie@example.org"
ORIGINAL = b"Subject: hello\r\n\r\nbody\r\n"


class BounceWorld(World):
    """The world of the SMTP tests with a default relay, and a Bounce."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.table = Table((), self.directory, (), [WayOut("relay:office", Lanes.RECIPIENT, default=True)])
        numbers = itertools.count(1)
        self.bounce = Bounce(
            self.store, self.table, BounceSettings("bridge.example.org", **settings), self.clock,
            lambda size: next(numbers).to_bytes(size, "big"),
        )
        self.now = self.clock.seconds()

    def message(self, sender: str = LOCAL, content: Content | None = None, **declared: Any) -> Message:
        return Message(7, "0123", sender, json.dumps(declared), self.now - 3600, content or Content.of(ORIGINAL))


def delivery(recipient: str = "bob@dst.invalid", wishes: Wishes = NO_WISHES) -> Delivery:
    return Delivery(1, 7, recipient, 3, 1, 1, wishes)


class BounceTests(SynchronousTestCase):
    """Failures, unless a test says otherwise."""

    def change(self, told: Deferred[Accept | None]) -> Accept | None:
        return self.successResultOf(told)

    def failed(self, world: BounceWorld, sender: str = LOCAL, *results: tuple[Delivery, Outcome],
               **declared: Any) -> Any:
        message = world.message(sender, **declared)
        return self.change(world.bounce.failed(message, results or ((delivery(), NO_USER),)))

    def told(self, accept: Accept | None) -> list[dict[str, str]]:
        """What a program reads of each recipient in a notice."""
        assert accept is not None
        octets = accept.envelope.content.octets
        assert octets is not None
        blocks: Any = message_from_bytes(octets).get_payload(1).get_payload()  # type: ignore[union-attr]
        return [dict(block.items()) for block in blocks[1:]]

    def test_interface(self) -> None:
        """A Bounce keeps what the seam promises."""
        verifyObject(IBounce, BounceWorld().bounce)

    def test_local_sender(self) -> None:
        """A local sender finds the notice in the maildrop, from `<>`, with a queue id of its own."""
        world = BounceWorld()
        accept = self.failed(world)
        self.assertEqual((accept.deposits, accept.deliveries), ((1,), ()))
        envelope = accept.envelope
        self.assertEqual((envelope.sender, envelope.recipients[0].text), (NULL, LOCAL))
        self.assertEqual((envelope.queue_id, envelope.origin.listener), ("00000000000000000001", "queue"))
        self.assertEqual(accept.maildrop_size, len(return_path("")) + envelope.content.size)
        self.successResultOf(world.store.commit(accept))
        self.assertIn(b"\r\nTo: <bonnie@example.org>\r\n", world.mail("bonnie")[0])

    def test_remote_sender(self) -> None:
        """A sender elsewhere gets it through the queue, by the route of that address."""
        accept = self.failed(BounceWorld(), REMOTE)
        self.assertEqual(accept.deposits, ())
        self.assertEqual(accept.deliveries, (Queued(REMOTE, "relay:office", "elsewhere.invalid", 1_763_730_000.0),))

    def test_null_sender(self) -> None:
        """Nobody is told of a notice that failed: there are no loops."""
        world = BounceWorld()
        for told in (world.bounce.failed(world.message(""), [(delivery(), NO_USER)]),
                     world.bounce.delayed(world.message(""), [(delivery(), BUSY)]),
                     world.bounce.delivered(world.message(""), [(delivery(wishes=Wishes(("SUCCESS",))), Delivered())])):
            self.assertIsNone(self.change(told))

    def test_wishes(self) -> None:
        """Each kind of notice goes to those who want it: by NOTIFY, and without it for failures and delays."""
        world = BounceWorld()
        message = world.message()
        for notify, failed, delayed, delivered in (
            ((), True, True, False), (("NEVER",), False, False, False), (("FAILURE",), True, False, False),
            (("DELAY",), False, True, False), (("SUCCESS",), False, False, True),
            (("SUCCESS", "FAILURE", "DELAY"), True, True, True),
        ):
            one = delivery(wishes=Wishes(notify))
            self.assertEqual((
                self.change(world.bounce.failed(message, [(one, NO_USER)])) is not None,
                self.change(world.bounce.delayed(message, [(one, BUSY)])) is not None,
                self.change(world.bounce.delivered(message, [(one, Delivered())])) is not None,
            ), (failed, delayed, delivered), notify)

    def test_only_those_who_want_it(self) -> None:
        """One notice names all recipients of an attempt but those for whom none is wanted."""
        accept = self.failed(BounceWorld(), LOCAL, (delivery("a@x"), NO_USER),
                             (delivery("b@x", Wishes(("NEVER",))), NO_USER), (delivery("c@x"), BUSY))
        self.assertEqual([(told["Final-Recipient"], told["Status"]) for told in self.told(accept)],
                         [("rfc822; a@x", "5.1.1"), ("rfc822; c@x", "4.4.7")])

    def test_statuses(self) -> None:
        """The status is the server's where it makes sense, and given up in time is 4.4.7."""
        for outcome, status, diagnostic in (
            (NO_USER, "5.1.1", "smtp; 550 5.1.1 No such user"),
            (PermanentFailure(Reply(550, "", "no"), server="mx"), "5.0.0", "smtp; 550 no"),
            (PermanentFailure(Reply(550, "4.1.1", "no"), server="mx"), "5.0.0", "smtp; 550 4.1.1 no"),
            (PermanentFailure(Reply(550, "5.1.1\r\nAction: delivered", "no"), server="mx"), "5.0.0",
             "smtp; 550 5.1.1 Action: delivered no"),
            (PermanentFailure(Reply(554, "5.1.2", "the domain does not exist")), "5.1.2",
             "x-mailbridge; the domain does not exist"),
            (BUSY, "4.4.7", "smtp; 451 4.3.0 busy"),
            (RouteFailure("password geheim refused"), "4.4.7", "x-mailbridge; no server has taken the message"),
        ):
            told = self.told(self.failed(BounceWorld(), LOCAL, (delivery(), outcome)))
            self.assertEqual([(each["Status"], each["Diagnostic-Code"]) for each in told], [(status, diagnostic)])

    def test_delay(self) -> None:
        """A delay notice has the status of the last answer and the end of all attempts."""
        world = BounceWorld(expire=7200.0)
        for outcome, status in ((BUSY, "4.3.0"), (RouteFailure("x"), "4.0.0")):
            [told] = self.told(self.change(world.bounce.delayed(world.message(), [(delivery(), outcome)])))
            self.assertEqual((told["Action"], told["Status"]), ("delayed", status))
            self.assertIn("Will-Retry-Until", told)

    def test_delivered(self) -> None:
        """Passed on is `relayed`, a mailbox `delivered`; a next server that took the wishes tells it itself."""
        world = BounceWorld()
        message, one = world.message(), delivery(wishes=Wishes(("SUCCESS",), "rfc822;b@c"))
        for outcome, action in ((Delivered("250 ok", "mx"), "relayed"), (Delivered(final=True), "delivered")):
            [told] = self.told(self.change(world.bounce.delivered(message, [(one, outcome)])))
            self.assertEqual((told["Action"], told["Status"], told["Original-Recipient"]),
                             (action, "2.0.0", "rfc822;b@c"))
        passed_on = Delivered("250 ok", "mx", took_wishes=True)
        self.assertIsNone(self.change(world.bounce.delivered(message, [(one, passed_on)])))

    def test_arrived(self) -> None:
        """At the intake: one maildrop is `delivered`, those of an alias `expanded`."""
        world = BounceWorld()
        origin = Origin("smtp[0]", "192.0.2.7", "x", None, None, world.now, "ESMTP")
        envelope = Envelope("0123", Address("a", "elsewhere.invalid"), (), origin, Content.of(ORIGINAL), envid="E1")
        accept = self.change(world.bounce.arrived(envelope, [
            (Address("bonnie", "example.org"), Wishes(("SUCCESS",)), 1),
            (Address("sales", "example.org"), Wishes(("SUCCESS",)), 2),
        ]))
        self.assertEqual([told["Action"] for told in self.told(accept)], ["delivered", "expanded"])
        assert accept is not None
        self.assertIn(b"\r\nOriginal-Envelope-Id: E1\r\n", accept.envelope.content.octets or b"")

    def test_declared(self) -> None:
        """What MAIL declared holds: the sender's name for the message, and whether it comes back whole."""
        octets = self.failed(BounceWorld(), LOCAL, ret="HDRS", envid="QQ").envelope.content.octets
        self.assertIn(b"\r\nOriginal-Envelope-Id: QQ\r\n", octets)
        self.assertIn(b"Content-Type: text/rfc822-headers", octets)
        self.assertNotIn(b"\r\nbody\r\n", octets)

    def test_utf8_sender(self) -> None:
        """A notice to an address in UTF-8 declares so on its way."""
        envelope = self.failed(BounceWorld(), "jürgen@elsewhere.invalid", utf8=True).envelope
        self.assertEqual((envelope.utf8, envelope.body_8bit), (True, False))

    def test_eight_bit(self) -> None:
        """A notice that returns 8-bit mail declares so on its way."""
        world = BounceWorld()
        message = world.message(content=Content.of(b"Subject: x\r\n\r\n\xe4\r\n"))
        accept = self.change(world.bounce.failed(message, [(delivery(), NO_USER)]))
        assert accept is not None
        self.assertEqual((accept.envelope.utf8, accept.envelope.body_8bit), (False, True))

    def test_double_at(self) -> None:
        """A sender with two @ is written in the header as other programs read it."""
        world = BounceWorld()
        world.table.route = lambda recipient, sender, origin: (Route("application:fax"),)  # type: ignore
        accept = self.failed(world, "bob@+420603@fax")
        self.assertIn(b'\r\nTo: <"bob@+420603"@fax>\r\n', accept.envelope.content.octets)
        self.assertEqual(accept.deliveries[0].recipient, "bob@+420603@fax")


class NoWayBackTests(SynchronousTestCase):
    """Notices that cannot go to the sender."""

    def test_postmaster(self) -> None:
        """A sender that is unknown, or no address, makes the notice postmaster's, and it says for whom it was."""
        for sender in ("nobody@example.org", "not an address", "\ud800@x"):
            world = BounceWorld()
            accept = self.successResultOf(world.bounce.failed(world.message(sender), [(delivery(), NO_USER)]))
            assert accept is not None
            self.assertEqual((accept.deposits, accept.deliveries), ((1,), ()))
            octets = accept.envelope.content.octets or b""
            self.assertIn(b"\r\nTo: <postmaster@bridge.example.org>\r\n", octets)
            self.assertIn(b"This notice is for the postmaster", octets)

    def test_nobody_at_all(self) -> None:
        """Without a postmaster the log tells it: nothing is lost in silence."""
        world = BounceWorld()
        world.directory.replace(evolve(self.successResultOf(world.store.people()), users=(), aliases=()))
        self.assertIsNone(self.successResultOf(world.bounce.failed(world.message(), [(delivery(), NO_USER)])))

    def test_rate(self) -> None:
        """Notices to others beyond the rate are stored and held back to the next minutes, each kind for itself."""
        world = BounceWorld(per_minute=2)
        message = world.message(REMOTE)
        waits = []
        for _ in range(5):
            accept = self.successResultOf(world.bounce.failed(message, [(delivery(), NO_USER)]))
            assert accept is not None
            waits.append(accept.deliveries[0].due - world.now)
        self.assertEqual(waits, [0, 0, 60, 60, 120])
        accept = self.successResultOf(world.bounce.delayed(message, [(delivery(), BUSY)]))
        assert accept is not None
        self.assertEqual(accept.deliveries[0].due, world.now)

    def test_local_notices_do_not_count(self) -> None:
        """A notice for a maildrop here troubles nobody else: it is there at once, however many there are."""
        world = BounceWorld(per_minute=1)
        for _ in range(5):
            accept = self.successResultOf(world.bounce.failed(world.message(), [(delivery(), NO_USER)]))
            assert accept is not None
            self.assertEqual(accept.deposits, (1,))

    def test_too_many_by_far(self) -> None:
        """A notice that would wait too long to be of use goes to postmaster."""
        world = BounceWorld(per_minute=1, expire=120.0)
        owners = []
        for _ in range(3):
            accept = self.successResultOf(world.bounce.failed(world.message(REMOTE), [(delivery(), NO_USER)]))
            assert accept is not None
            owners.append((accept.deposits, len(accept.deliveries)))
        self.assertEqual(owners, [((), 1), ((), 1), ((1,), 0)])


class DiskTests(SynchronousTestCase):
    """Content that is on the disk."""

    def test_large_message(self) -> None:
        """Of a large message only the beginning is read, in blocks, and its segments stay readable meanwhile."""
        world = BounceWorld()
        octets = b"Subject: hello\r\n\r\n" + b"ten octets\r\n" * 10_000
        asked: list[tuple[int, int]] = []
        pinned: list[str] = []

        class Pin:
            def release(self) -> None:
                pinned.append("released")

        def read(content: Content, offset: int, length: int) -> bytes:
            asked.append((offset, length))
            return octets[offset:offset + length]

        world.store.read = read  # type: ignore[method-assign,assignment]
        world.store.pin = lambda content: Pin()  # type: ignore[method-assign,assignment,return-value]
        message = world.message(content=Content(len(octets), None, (Extent(1, 0, len(octets)),)))
        accept = self.successResultOf(world.bounce.failed(message, [(delivery(), NO_USER)]))
        assert accept is not None
        self.assertEqual((asked, pinned), ([(0, 65536)], ["released"]))
        self.assertIn(b"text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: hello\r\n\r\n--",
                      accept.envelope.content.octets or b"")
        world.bounce.settings = evolve(world.bounce.settings, returned=200_000)
        accept = self.successResultOf(world.bounce.failed(message, [(delivery(), NO_USER)]))
        assert accept is not None
        self.assertIn(b"message/rfc822", accept.envelope.content.octets or b"")
        self.assertEqual(asked[1:], [(0, 65536), (65536, len(octets) - 65536)])

    def test_unreadable(self) -> None:
        """A message that cannot be read is told of all the same."""
        world = BounceWorld()

        def read(content: Content, offset: int, length: int) -> bytes:
            raise StoreError("the segment is damaged")

        world.store.read = read  # type: ignore[method-assign,assignment]
        message = world.message(content=Content(20, None, (Extent(1, 0, 20),)))
        accept = self.successResultOf(world.bounce.failed(message, [(delivery(), NO_USER)]))
        assert accept is not None
        self.assertIn(b"Final-Recipient: rfc822; bob@dst.invalid", accept.envelope.content.octets or b"")
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_slow_disk(self) -> None:
        """A notice waits for the store where the store asks for it."""
        world = BounceWorld()
        world.store.slow = True
        told = world.bounce.failed(world.message(), [(delivery(), NO_USER)])
        self.assertNoResult(told)
        world.store.behind.pop().callback(None)
        self.assertIsNotNone(self.successResultOf(told))

    def test_store_fails(self) -> None:
        """A notice that cannot be written fails, and the deliveries stay as they are."""
        world = BounceWorld()
        world.store.write_error = StoreError("disk")
        self.failureResultOf(world.bounce.failed(world.message(), [(delivery(), NO_USER)]), StoreError)
        self.assertEqual(world.store.aborted, 1)

    def test_finish_later(self) -> None:
        """Large notices are ready when their content is."""
        world = BounceWorld()
        finish = world.store.content

        def content() -> Any:
            writer = finish()
            done = writer.finish
            writer.finish = lambda: succeed(done())  # type: ignore[method-assign]
            return writer

        world.store.content = content  # type: ignore[method-assign]
        self.assertIsNotNone(
            self.successResultOf(world.bounce.failed(world.message(), [(delivery(), NO_USER)])))
