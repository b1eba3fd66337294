"""A queue with a store in memory, a clock, and targets, router and notices that do what a test tells them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from mailbridge.address import NULL, Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.runner import Runner
from mailbridge.queue.schedule import Schedule
from mailbridge.reply import Reply
from mailbridge.routing.route import Route
from mailbridge.store.changes import NO_WISHES, Accept, Queued, Selection
from mailbridge.store.memory import MemoryStore

START = 1_763_730_000.0
SENDER = Address("harold", "example.org")
OK = Delivered("250 2.0.0 OK")
LATER = TransientFailure(Reply(450, "4.2.0", "later"))
NEVER = PermanentFailure(Reply(550, "5.1.1", "no such user"))
DOWN = TransientFailure(Reply(451, "4.4.1", "no connection"), unreachable=True)
LOGIN = RouteFailure("login refused")


class FakeTarget:
    """Answers with `answer`, an outcome, a dict, an exception, or a function of (message, deliveries, lane)."""

    name = "relay:office"

    def __init__(self, clock, answer=OK, allowed=2):
        self.clock = clock
        self.answer = answer
        self.allowed = allowed
        self.attempts = []
        self.running = self.most = 0

    def concurrency(self, lane):
        """What the test says."""
        return self.allowed

    def attempt(self, message, deliveries, lane):
        """Note it and answer."""
        self.attempts.append((message.queue_id, tuple(delivery.recipient for delivery in deliveries),
                              lane.destination))
        self.running += 1
        self.most = max(self.most, self.running)
        answer = self.answer
        if callable(answer):
            deferred = maybeDeferred(answer, message, deliveries, lane)
        elif isinstance(answer, Exception):
            self.running -= 1
            raise answer
        elif isinstance(answer, dict | str | None):
            deferred = succeed(answer)
        else:
            deferred = succeed({delivery.id: answer for delivery in deliveries})

        def ended(result):
            self.running -= 1
            return result

        return deferred.addBoth(ended)

    def recipients(self):
        """Everybody it was asked to deliver to, in order."""
        return [recipient for _, recipients, _ in self.attempts for recipient in recipients]


class FakeRouter:
    """Answers with `routes` by recipient, else the relay `office` and the recipient's domain."""

    def __init__(self):
        self.routes = {}
        self.asked = []

    def route(self, recipient, sender, origin):
        """Note it and answer."""
        self.asked.append((recipient, sender, origin))
        answer = self.routes.get(recipient.text, (Route("relay:office", None, recipient.domain),))
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeBounce:
    """Notes who is told of what, and makes a notice to a lane of its own."""

    def __init__(self):
        self.told = []
        self.error = None
        self.silent = False

    def _tell(self, kind, message, results):
        self.told.append((kind, message.queue_id, tuple(delivery.recipient for delivery, _ in results)))
        if self.error is not None:
            raise self.error
        if self.silent:
            return succeed(None)
        return succeed(Accept(made("notice", NULL), (), (Queued(message.sender, "relay:back", "", 9e9),)))

    def failed(self, message, results):
        """See IBounce."""
        return self._tell("failed", message, results)

    def delayed(self, message, results):
        """See IBounce."""
        return self._tell("delayed", message, results)

    def delivered(self, message, results):
        """See IBounce."""
        return self._tell("delivered", message, results)


def made(queue_id, sender=SENDER, time=START):
    """An envelope."""
    origin = Origin("smtp[0]", "192.0.2.7", "client.example", "harold", None, time, "ESMTPA", True)
    return Envelope(queue_id, sender, (), origin, Content.of(b"Subject: x\r\n\r\nx\r\n"))


class World:
    """Put into a SynchronousTestCase. `settle_clock` lets what is due happen without time passing."""

    def setUp(self):
        """A queue that has not been started."""
        self.clock = Clock()
        self.clock.advance(START)
        self.store = MemoryStore(self.clock)
        self.router, self.bounce = FakeRouter(), FakeBounce()
        self.target = FakeTarget(self.clock)
        self.targets = {"relay:office": self.target}
        self.schedule = Schedule()
        self.runner = self.new_runner()

    def new_runner(self, **arguments):
        """A queue on the same store."""
        return Runner(self.store, self.router, self.targets, self.bounce, self.clock, lambda: 0.5, "me",
                      self.schedule, **arguments)

    def run_queue(self):
        """Start it and let it do what is due."""
        self.runner.start()
        self.addCleanup(self.runner.stop)
        self.go()

    def go(self, seconds=0.0):
        """Let time pass, in steps that let everything happen at its time."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            step = min([end - self.clock.seconds()]
                       + [max(0.0, call.getTime() - self.clock.seconds()) for call in self.clock.getDelayedCalls()])
            self.clock.advance(max(step, 0.001))
        for _ in range(30):
            self.clock.advance(0.01)

    def queue(self, *recipients, queue_id="m1", sender=SENDER, target="relay:office", wishes=NO_WISHES, due=0.0):
        """Accept a message for these recipients; each waits in the lane of its domain."""
        deliveries = tuple(Queued(to, target, to.partition("@")[2], due, wishes) for to in recipients)
        message = evolve(made(queue_id, sender, self.clock.seconds()))
        return self.successResultOf(self.store.commit(Accept(message, (), deliveries)))[0].message

    def waiting(self):
        """(recipient, state, attempts, answer, seconds until due) of what is in the queue, notices left out."""
        page = self.successResultOf(self.store.queue(Selection(), 0, 1000))
        return [(entry.recipient, entry.state, entry.attempts, entry.answer, round(entry.due - self.clock.seconds()))
                for entry in page if entry.target != "relay:back"]

    def lane(self, destination="x"):
        """The lane of a destination."""
        return next(lane for lane in self.successResultOf(self.store.lanes()) if lane.destination == destination)

    def notices(self):
        """How many notices are stored."""
        return sum(lane.waiting for lane in self.successResultOf(self.store.lanes()) if lane.target == "relay:back")


def never(message, deliveries, lane):
    """A target that does not answer."""
    return Deferred()
