"""What a log says of deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailbridge.content import Content
from mailbridge.interfaces import ITarget
from mailbridge.logs.journal import Journal
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import NOT_NOW, Reply
from mailbridge.store.changes import Delivery, Lane, LaneState, Message
from mailbridge.target.journalled import Journalled
from tests.logs.sinks import Lines

LANE = Lane(1, "application:sms", "", LaneState.OPEN, "", 0.0, None, 0)
MESSAGE = Message(1, "00ff", "a@b", "{}", 0.0, Content.of(b"x"))


@implementer(ITarget)
class Slow:
    """A target that answers when the test says so."""

    name = "application:sms"

    def __init__(self) -> None:
        self.answer: Deferred[dict[int, Outcome]] = Deferred()

    def attempt(self, message: Message, deliveries: Sequence[Delivery], lane: Lane) -> Deferred[dict[int, Outcome]]:
        return self.answer

    def concurrency(self, lane: Lane) -> int:
        return 7


class JournalledTests(SynchronousTestCase):
    """Attempts with a journal."""

    def setUp(self) -> None:
        self.slow, self.lines = Slow(), Lines()
        self.target = Journalled(self.slow, Journal(Clock(), [("EWI", self.lines)]))

    def attempt(self, count: int) -> Deferred[dict[int, Outcome]]:
        deliveries = [Delivery(number, 1, f"{number}@sms", 1, 0, 1) for number in range(count)]
        return self.target.attempt(MESSAGE, deliveries, LANE)

    def test_passes_for_the_target(self) -> None:
        """The queue sees the target behind it."""
        verifyObject(ITarget, self.target)
        self.assertEqual((self.target.name, self.target.concurrency(LANE)), ("application:sms", 7))

    def test_lines(self) -> None:
        """Each recipient is a line: the file that was published, the reply it was refused with, why it waits."""
        outcomes: dict[int, Outcome] = {
            0: Delivered("sms_0000000042.CTL"), 1: Delivered("250 OK", "mx.example"), 2: Delivered(),
            3: PermanentFailure(Reply(550, "5.1.1", "No such number")), 4: TransientFailure(NOT_NOW, "disk full"),
            5: RouteFailure("folder is gone"),
        }
        attempt = self.attempt(7)
        self.assertEqual(self.lines.texts, [])
        self.slow.answer.callback(outcomes)
        self.assertIs(self.successResultOf(attempt), outcomes)
        self.assertEqual(self.lines.texts, [
            "I 00ff: application:sms <0@sms>: delivered: sms_0000000042.CTL",
            "I 00ff: application:sms <1@sms>: delivered by mx.example: 250 OK",
            "I 00ff: application:sms <2@sms>: delivered",
            "W 00ff: application:sms <3@sms>: not delivered: 550 5.1.1 No such number",
            f"W 00ff: application:sms <4@sms>: not delivered for now: {NOT_NOW} (disk full)",
            "W 00ff: application:sms <5@sms>: waits: folder is gone",
        ])

    def test_failed(self) -> None:
        """A failed attempt fails for the queue as it would without a log, and cancelling reaches the target."""
        self.slow.answer.errback(OSError("x"))
        self.failureResultOf(self.attempt(1), OSError)
        self.setUp()
        attempt = self.attempt(1)
        attempt.cancel()
        self.assertTrue(self.slow.answer.called)
        self.failureResultOf(attempt)
        self.assertEqual(self.lines.texts, [])
