"""The queue at work: what is delivered when, what waits, what bounces, and what a fault on our side does not do."""

import itertools

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL
from mailbridge.errors import StoreError
from mailbridge.outcome import TransientFailure
from mailbridge.queue.runner import Runner
from mailbridge.queue.schedule import Schedule
from mailbridge.reply import NO_ROUTE, Reply
from mailbridge.routing.route import MAILDROP, Route
from mailbridge.store.changes import (
    AddUser,
    Credentials,
    LaneState,
    Remember,
    Reroute,
    RetryNow,
    Selection,
    SetLane,
    Wishes,
)
from tests.queue.world import DOWN, LATER, LOGIN, NEVER, OK, FakeTarget, World, never

HOUR = 3600.0


class DeliveryTests(World, SynchronousTestCase):
    """What becomes of single deliveries."""

    def test_delivered(self):
        """What was accepted is delivered at once, whenever it comes, and gone then."""
        self.queue("a@x")
        self.run_queue()
        self.queue("b@y", queue_id="m2")
        self.go()
        self.assertEqual(self.target.recipients(), ["a@x", "b@y"])
        self.assertEqual((self.waiting(), self.bounce.told), ([], []))

    def test_one_attempt_for_many_recipients(self):
        """One message to many recipients of one destination is one attempt; another message is another."""
        self.queue("a@x", "b@x", "c@y")
        self.queue("a@x", queue_id="m2")
        self.run_queue()
        self.assertEqual(sorted(self.target.attempts), [("m1", ("a@x", "b@x"), "x"), ("m1", ("c@y",), "y"),
                                                        ("m2", ("a@x",), "x")])

    def test_transient(self):
        """What failed for now is tried again after five minutes, then ten, and its last answer is kept."""
        self.target.answer = LATER
        self.queue("a@x")
        self.run_queue()
        self.assertEqual(self.waiting(), [("a@x", "waiting", 1, "450 4.2.0 later", 300)])
        self.go(299)
        self.assertEqual(len(self.target.attempts), 1)
        self.go(2)
        self.assertEqual([row[2:] for row in self.waiting()], [(2, "450 4.2.0 later", 598)])
        self.target.answer = OK
        self.go(600)
        self.assertEqual((self.waiting(), len(self.target.attempts)), ([], 3))

    def test_together_again(self):
        """The recipients of a message that failed for now are tried again in one attempt, whatever the jitter."""
        values = itertools.cycle((0.0, 1.0, 0.3))
        self.runner = Runner(self.store, self.router, self.targets, self.bounce, self.clock, lambda: next(values), "me",
                             self.schedule)
        self.target.answer = LATER
        self.queue("a@x", "b@x", "c@x")
        self.run_queue()
        self.target.answer = OK
        self.go(HOUR)
        self.assertEqual(self.target.attempts, [("m1", ("a@x", "b@x", "c@x"), "x")] * 2)

    def test_changes_of_the_target(self):
        """What a target wants kept with a delivery is committed with its end, and only then."""
        self.target.answer = evolve(OK, changes=(Remember("job:1", "published"),))
        self.queue("a@x")
        self.assertIsNone(self.store.recall("job:1"))
        self.run_queue()
        self.assertEqual((self.waiting(), self.store.recall("job:1")), ([], "published"))

    def test_permanent(self):
        """What cannot be delivered bounces, in the commit that ends it; the other recipients are not touched."""
        def answer(message, deliveries, lane):
            return {each.id: NEVER if each.recipient == "b@x" else OK for each in deliveries}

        self.target.answer = answer
        self.queue("a@x", "b@x")
        self.run_queue()
        self.assertEqual(self.bounce.told, [("failed", "m1", ("b@x",))])
        self.assertEqual((self.waiting(), self.notices()), ([], 1))

    def test_expiry(self):
        """After five days of failures a message bounces."""
        self.target.answer = LATER
        self.queue("a@x")
        self.run_queue()
        self.go(5 * 24 * HOUR - 60)
        self.assertNotIn("failed", [kind for kind, _, _ in self.bounce.told])
        self.go(120)
        self.assertEqual(self.bounce.told[-1], ("failed", "m1", ("a@x",)))
        self.assertEqual(self.waiting(), [])

    def test_delay_notice(self):
        """After four hours the sender is told once that the message is late."""
        self.target.answer = LATER
        self.queue("a@x")
        self.run_queue()
        self.go(24 * HOUR)
        self.assertEqual(self.bounce.told, [("delayed", "m1", ("a@x",))])
        self.assertEqual(self.notices(), 1)

    def test_success_notice(self):
        """Who asked for it is told of the delivery; who did not is not."""
        self.queue("a@x", wishes=Wishes(("SUCCESS",)))
        self.queue("b@x", queue_id="m2")
        self.run_queue()
        self.assertEqual((self.bounce.told, self.notices()), ([("delivered", "m1", ("a@x",))], 1))

    def test_null_sender(self):
        """Mail with the null sender never makes a notice, whatever becomes of it."""
        self.target.answer = NEVER
        self.queue("a@x", sender=NULL, wishes=Wishes(("SUCCESS", "FAILURE", "DELAY")))
        self.run_queue()
        self.target.answer = LATER
        self.queue("b@x", queue_id="m2", sender=NULL)
        self.go(6 * 24 * HOUR)
        self.target.answer = OK
        self.queue("c@x", queue_id="m3", sender=NULL, wishes=Wishes(("SUCCESS",)))
        self.go()
        self.assertEqual((self.bounce.told, self.notices(), self.waiting()), ([], 0, []))

    def test_nobody_wants_to_hear(self):
        """A bounce that nobody wants is not made, and the delivery is over."""
        self.bounce.silent = True
        self.target.answer = NEVER
        self.queue("a@x")
        self.run_queue()
        self.assertEqual((self.waiting(), self.notices()), ([], 0))

    def test_bounce_that_fails(self):
        """When the notice cannot be written the delivery waits; what was delivered beside it stays delivered."""
        def answer(message, deliveries, lane):
            return {each.id: NEVER if each.recipient == "b@x" else OK for each in deliveries}

        for error in (StoreError("disk"), ZeroDivisionError("bug")):
            self.target.answer, self.bounce.error = answer, error
            self.queue("a@x", "b@x", wishes=Wishes(("SUCCESS",)))
            self.run_queue() if self.runner.running == 0 and not self.target.attempts else self.go()
            self.assertEqual([row[:2] for row in self.waiting()], [("b@x", "waiting")])
            self.bounce.error, self.target.answer = None, OK
            self.go(301)
            self.assertEqual(self.waiting(), [])
        self.assertEqual(self.target.recipients().count("a@x"), 2)
        self.flushLoggedErrors()

    def test_full_store(self):
        """On a full disk no bounce is stored and none is lost: the delivery waits; what was delivered is settled."""
        def answer(message, deliveries, lane):
            return {each.id: NEVER if each.recipient == "b@x" else OK for each in deliveries}

        self.target.answer = answer
        self.queue("a@x", "b@x")
        self.store.free = 0
        self.run_queue()
        self.assertEqual([row[:2] for row in self.waiting()], [("b@x", "waiting")])
        self.store.free = 1 << 40
        self.go(301)
        self.assertEqual((self.waiting(), self.notices()), ([], 1))
        self.assertEqual(self.target.recipients(), ["a@x", "b@x", "b@x"])


class BadTargetTests(World, SynchronousTestCase):
    """Targets that misbehave."""

    def test_raises(self):
        """A target that raises, now or later, costs an attempt; the text of its error goes nowhere."""
        for answer in (ZeroDivisionError("hush"), lambda *_: Deferred().addCallback(1 // 1) and 1 // 0):
            self.target.answer = answer
            self.queue("a@x")
        self.run_queue()
        for row in self.waiting():
            self.assertEqual(row[1:3], ("waiting", 1))
            self.assertNotIn("hush", row[3])
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError, TypeError))

    def test_nonsense(self):
        """Answers that make no sense, or are missing, are failures for now."""
        for answer in (None, "done", {}, {1: "sent", 99: OK}):
            self.target.answer = answer
            self.queue("a@x")
        self.run_queue()
        self.assertEqual({row[1:3] for row in self.waiting()}, {("waiting", 1)})

    def test_never_answers(self):
        """An attempt without an end is given up after its time, and the delivery is tried again."""
        self.target.answer = never
        self.runner = self.new_runner(attempt_time=1000)
        self.queue("a@x")
        self.run_queue()
        self.go(990)
        self.assertEqual([row[1] for row in self.waiting()], ["claimed"])
        self.go(20)
        self.assertEqual([row[1:3] for row in self.waiting()], [("waiting", 1)])

    def test_long_attempt_keeps_its_claim(self):
        """A claim is renewed while its attempt runs: nobody else gets the delivery, and the late word counts."""
        answers = []
        self.target.answer = lambda message, deliveries, lane: answers.append(Deferred()) or answers[-1]
        self.queue("a@x")
        self.run_queue()
        self.go(2000)
        self.assertEqual(len(answers), 1)
        answers[0].callback({1: OK})
        self.go()
        self.assertEqual(self.waiting(), [])

    def test_bad_concurrency(self):
        """A target that cannot say how many attempts it takes gets one at a time."""
        self.target.allowed = "many"
        self.queue("a@x")
        self.run_queue()
        self.assertEqual(self.target.recipients(), ["a@x"])
        self.assertTrue(self.flushLoggedErrors(ValueError))


class LaneTests(World, SynchronousTestCase):
    """Whole lanes in trouble."""

    def test_concurrency(self):
        """No more attempts run in a lane than its target allows; all are made in the end."""
        answers = []
        self.target.answer = lambda message, deliveries, lane: answers.append(
            (Deferred(), deliveries)) or answers[-1][0]
        for number in range(7):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        self.assertEqual(len(answers), 2)
        while answers:
            deferred, deliveries = answers.pop(0)
            deferred.callback({each.id: OK for each in deliveries})
            self.go()
        self.assertEqual((self.target.most, len(self.target.attempts), self.waiting()), (2, 7, []))

    def test_first_attempts(self):
        """A destination that has not answered yet gets two attempts at once, so dead ones do not take up all room."""
        answers = []
        self.target.allowed = 5
        self.target.answer = lambda message, deliveries, lane: answers.append(
            (Deferred(), deliveries)) or answers[-1][0]
        for number in range(9):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        self.assertEqual(len(answers), 2)
        deferred, deliveries = answers.pop(0)
        deferred.callback({each.id: OK for each in deliveries})
        self.go()
        self.assertEqual(len(answers), 5)

    def test_dead_lane_delays_nobody(self):
        """A lane whose target hangs does not hold up the others."""
        self.target.answer = lambda message, deliveries, lane: (
            Deferred() if lane.destination == "dead" else {each.id: OK for each in deliveries})
        for number in range(50):
            self.queue("a@dead", queue_id=f"d{number}")
        for number in range(50):
            self.queue("a@live", queue_id=f"l{number}")
        self.run_queue()
        self.assertEqual([row[0] for row in self.waiting()], ["a@dead"] * 50)

    def test_turns(self):
        """With room for few attempts in all, lanes take turns."""
        self.runner = self.new_runner(attempts=2)
        answers = []
        self.target.answer = lambda message, deliveries, lane: answers.append(
            (Deferred(), deliveries)) or answers[-1][0]
        for number in range(6):
            for lane in "xyz":
                self.queue(f"a@{lane}", queue_id=f"m{number}")
        self.run_queue()
        for _ in range(9):
            deferred, deliveries = answers.pop(0)
            deferred.callback({each.id: OK for each in deliveries})
            self.go()
        tried = [lane for _, _, lane in self.target.attempts]
        self.assertLessEqual(max(tried.count(lane) for lane in "xyz") - min(tried.count(lane) for lane in "xyz"), 2)

    def test_unreachable(self):
        """A destination that is down costs one attempt a time, not one for each delivery, and all goes out later."""
        self.target.answer, self.target.allowed = DOWN, 1
        for number in range(40):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        self.assertEqual(len(self.target.attempts), 1)
        lane = self.lane()
        self.assertEqual((lane.state, lane.waiting, round(lane.not_before - self.clock.seconds())),
                         (LaneState.OPEN, 40, 300))
        self.assertIn("no connection", lane.reason)
        self.go(2 * HOUR)
        self.assertEqual(len(self.target.attempts), 5)  # after 5, 10, 20, 40 minutes
        self.target.answer = OK
        self.go(2 * HOUR)
        self.assertEqual((self.waiting(), self.lane().reason), ([], ""))
        self.assertEqual(self.bounce.told, [])

    def test_unreachable_for_long(self):
        """Mail for a destination that stays down is told of as late, then bounces, each message once."""
        self.target.answer, self.target.allowed = DOWN, 3
        for number in range(250):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        self.go(10 * HOUR)
        told = [queue_id for kind, queue_id, _ in self.bounce.told if kind == "delayed"]
        self.assertEqual((len(told), len(set(told))), (250, 250))
        self.queue("young@x", queue_id="young")
        self.go(5 * 24 * HOUR - 2 * HOUR)
        failed = [queue_id for kind, queue_id, _ in self.bounce.told if kind == "failed"]
        self.assertEqual((len(failed), len(set(failed))), (250, 250))
        self.assertEqual([row[0] for row in self.waiting()], ["young@x"])
        self.assertLess(len(self.target.attempts), 60)

    def test_login_refused(self):
        """A fault on our side pauses the route with an alarm: for ten days nothing bounces, then all goes out."""
        self.target.answer = LOGIN
        for number in range(30):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        first = len(self.target.attempts)
        self.assertLessEqual(first, 2)
        lane = self.lane()
        self.assertEqual((lane.state, lane.reason, lane.waiting), (LaneState.PAUSED, "login refused", 30))
        self.go(601)
        self.assertEqual(len(self.target.attempts), first + 1)
        self.assertEqual(len(self.target.attempts[-1][1]), 1)
        self.assertEqual(self.lane().state, LaneState.PAUSED)
        self.go(10 * 24 * HOUR)
        self.assertEqual((self.bounce.told, {row[2] for row in self.waiting()}), ([], {0}))
        self.target.answer = LATER  # what waited so long is not given up at its first failure
        self.go(601)
        self.assertNotIn("failed", [kind for kind, _, _ in self.bounce.told])
        self.assertEqual(self.lane().state, LaneState.OPEN)
        self.target.answer = OK
        self.go(301)
        self.assertEqual((self.waiting(), self.lane().reason), ([], ""))

    def test_alarm_is_told(self):
        """The log has the alarm once: also of a lane that was in trouble before, and again after a restart."""
        told = []

        def observe(event):
            if (event.get("log_format") or "").startswith("ALARM"):
                told.append(event["reason"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.target.answer = DOWN
        self.queue("a@x")
        self.run_queue()
        self.assertEqual(told, [])
        self.target.answer = LOGIN
        self.go(HOUR)
        self.assertEqual((self.lane().state, told), (LaneState.PAUSED, ["login refused"]))
        self.successResultOf(self.runner.stop())
        self.runner = self.new_runner()
        self.run_queue()
        self.go(HOUR)
        self.assertEqual(told, ["login refused"] * 2)

    def test_new_mail_does_not_wake_a_paused_lane(self):
        """Mail that comes for a paused lane waits too."""
        self.target.answer = LOGIN
        self.queue("a@x")
        self.run_queue()
        for number in range(5):
            self.queue("b@x", queue_id=f"n{number}")
            self.go(10)
        self.assertEqual(len(self.target.attempts), 1)

    def test_restart_while_paused(self):
        """A paused lane is still paused after a restart, and goes on with one delivery."""
        self.target.answer = LOGIN
        for number in range(5):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        self.successResultOf(self.runner.stop())
        count = len(self.target.attempts)
        self.runner = self.new_runner()
        self.run_queue()
        self.assertEqual(len(self.target.attempts), count)
        self.go(601)
        self.assertEqual(len(self.target.attempts), count + 1)

    def test_held_lane(self):
        """A lane that the operator holds is left alone until he opens it."""
        self.queue("a@x")
        self.successResultOf(self.store.commit(SetLane(1, LaneState.HELD, "mine")))
        self.run_queue()
        self.go(24 * HOUR)
        self.assertEqual(self.target.attempts, [])
        self.successResultOf(self.store.commit(SetLane(1, LaneState.OPEN)))
        self.go()
        self.assertEqual(self.waiting(), [])

    def test_retry_now(self):
        """ETRN and `queue retry` try at once what waits, also in a lane that is paused or cannot be reached."""
        for answer in (LATER, DOWN, LOGIN):
            self.target.answer = answer
            self.queue("a@x", queue_id=repr(answer))
            self.run_queue() if not self.target.attempts else self.go()
            self.target.answer = OK
            self.assertEqual(self.successResultOf(self.runner.kick("relay:office", "x")), 1)
            self.go()
            self.assertEqual(self.waiting(), [], answer)
        self.assertEqual(self.successResultOf(self.runner.kick()), 0)

    def test_gone_target(self):
        """A relay that is no longer in the configuration: its mail waits with an alarm, until there is a way."""
        del self.targets["relay:office"]
        self.queue("a@x")
        self.run_queue()
        self.assertEqual(self.lane().state, LaneState.PAUSED)
        self.assertIn("relay:office", self.lane().reason)
        self.targets["relay:new"] = new = FakeTarget(self.clock)
        self.router.routes["a@x"] = (Route("relay:new", None, "x"),)
        self.go(601)
        self.assertEqual((new.recipients(), self.waiting()), (["a@x"], []))


class RouteTests(World, SynchronousTestCase):
    """The route is resolved anew at each attempt."""

    def test_asks_with_the_origin(self):
        """The router is told who sent the message, and from where, as when it came."""
        self.queue("a@x")
        self.run_queue()
        recipient, sender, origin = self.router.asked[0]
        self.assertEqual((recipient.text, sender.text, origin.user, origin.trusted, origin.listener, origin.peer),
                         ("a@x", "harold@example.org", "harold", True, "smtp[0]", "192.0.2.7"))

    def test_changed_route(self):
        """Mail follows a route that has changed, without an attempt on the old one."""
        self.targets["relay:new"] = new = FakeTarget(self.clock)
        self.router.routes["a@x"] = (Route("relay:new", None, "y"),)
        self.queue("a@x", "b@x")
        self.run_queue()
        self.assertEqual((self.target.recipients(), new.recipients()), (["b@x"], ["a@x"]))

    def test_application_gone(self):
        """An application is taken out of the configuration: its mail waits with an alarm, and goes nowhere else."""
        for answer in ((Route("relay:office", None, "sms"),), (Route(MAILDROP, 1),)):
            self.router.routes["1@sms"] = answer
            self.queue("1@sms", target="application:sms")
            self.run_queue()
            self.go(700)
            self.assertEqual((self.target.attempts, self.lane("sms").state), ([], LaneState.PAUSED))
            self.assertIn("application:sms is not in the configuration", self.lane("sms").reason)
        self.targets["application:pager"] = pager = FakeTarget(self.clock)
        self.router.routes["1@sms"] = (Route("application:pager"),)
        self.go(700)
        self.assertEqual((pager.recipients(), self.waiting()), (["1@sms", "1@sms"], []))

    def test_now_a_local_user(self):
        """A recipient who has become a local user finds the message in the maildrop."""
        one, two = self.successResultOf(self.store.commit(AddUser("one", Credentials("", "")),
                                                          AddUser("two", Credentials("", ""))))
        self.router.routes["a@x"] = (Route(MAILDROP, one), Route(MAILDROP, two))
        message = self.queue("a@x", wishes=Wishes(("SUCCESS",)))
        self.run_queue()
        for user in (one, two):
            snapshot = self.successResultOf(self.store.snapshot(user))
            self.assertEqual(list(snapshot.uids), [message])
            self.assertGreater(snapshot.sizes[0], len(b"Subject: x\r\n\r\nx\r\n"))
        self.assertEqual((self.waiting(), self.target.attempts), ([], []))
        self.assertEqual(self.bounce.told, [("delivered", "m1", ("a@x",))])

    def test_refused_now(self):
        """A refusal, an error of the router, no route at all: what was accepted is delivered as it was to be."""
        for number, answer in enumerate((NO_ROUTE, ZeroDivisionError("bug"), ())):
            self.router.routes[f"a{number}@x"] = answer
            self.queue(f"a{number}@x")
        self.run_queue()
        self.assertEqual(sorted(self.target.recipients()), ["a0@x", "a1@x", "a2@x"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_one_of_several_routes(self):
        """An alias with several routes: each delivery stays with the one it was made for."""
        self.router.routes["a@x"] = (Route(MAILDROP, 1), Route("relay:office", None, "x"))
        self.queue("a@x")
        self.run_queue()
        self.assertEqual(self.target.recipients(), ["a@x"])

    def test_rerouted_by_the_operator(self):
        """What the operator rerouted stays where he put it."""
        self.targets["relay:new"] = new = FakeTarget(self.clock)
        self.queue("a@x", due=self.clock.seconds() + 1000)
        self.run_queue()
        self.successResultOf(self.store.commit(Reroute(Selection(), "relay:new")))
        self.go()
        self.assertEqual((self.target.recipients(), new.recipients()), ([], ["a@x"]))


class LifeTests(World, SynchronousTestCase):
    """Start, idleness, a failing store, the end."""

    def test_idle(self):
        """With nothing due it asks the store once a minute, with one timer."""
        self.queue("a@x", due=self.clock.seconds() + 100_000)
        asked = []
        ready = self.store.ready
        self.store.ready = lambda limit: asked.append(limit) or ready(limit)
        self.run_queue()
        asked.clear()
        self.go(3600)
        self.assertLessEqual(len(asked), 61)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_due_in_time(self):
        """What is due in two seconds is tried in two seconds, not at the next minute."""
        self.queue("a@x", due=self.clock.seconds() + 2)
        self.run_queue()
        self.assertEqual(self.target.attempts, [])
        self.go(2.1)
        self.assertEqual(len(self.target.attempts), 1)

    def test_store_fails(self):
        """A settle that cannot be stored is tried until it is: the message is not delivered again."""
        commit = self.store.commit
        failing = []

        def broken(*changes):
            if failing:
                from twisted.internet.defer import fail
                return fail(StoreError(failing.pop()))
            return commit(*changes)

        self.store.commit = broken
        self.queue("a@x")
        failing += ["disk"] * 3
        self.run_queue()
        self.assertEqual([row[1] for row in self.waiting()], ["claimed"])
        self.go(60)
        self.assertEqual((self.waiting(), len(self.target.attempts)), ([], 1))

    def test_store_unreadable(self):
        """A store that cannot be read for a while is asked again."""
        self.queue("a@x")
        messages, ready, claim = self.store.messages, self.store.ready, self.store.claim

        def unreadable(*_):
            raise StoreError("disk")

        def failing(*_):
            from twisted.internet.defer import fail
            return fail(StoreError("disk"))

        self.store.ready = failing
        self.run_queue()
        self.store.ready, self.store.claim = ready, failing
        self.go(61)
        self.store.claim, self.store.messages = claim, unreadable
        self.go(61)
        self.store.messages = messages
        self.go(121)
        self.assertEqual((self.waiting(), len(self.target.attempts)), ([], 1))

    def test_lost_claim(self):
        """An attempt is not begun with a claim that may have run out: the delivery is claimed anew."""
        first = []
        self.target.answer, self.target.allowed = (
            lambda message, deliveries, lane: first.append(Deferred()) or first[-1]), 1
        self.queue("a@x")
        self.queue("b@x", queue_id="m2")
        self.runner = self.new_runner(attempt_time=1e6)
        renew = self.store.renew
        self.run_queue()

        def failing(*_):
            from twisted.internet.defer import fail
            return fail(StoreError("disk"))

        self.store.renew = failing
        self.go(290)
        first[0].callback({1: OK})
        self.go()
        self.assertEqual(self.target.recipients(), ["a@x"])
        self.store.renew = renew
        self.go(100)
        self.assertEqual(self.target.recipients(), ["a@x", "b@x"])

    def test_stop(self):
        """A stop lets attempts end, begins no more, and gives back what was not begun."""
        answers = []
        self.target.answer = lambda message, deliveries, lane: answers.append(
            (Deferred(), deliveries)) or answers[-1][0]
        for number in range(6):
            self.queue("a@x", queue_id=f"m{number}")
        self.run_queue()
        stopped = self.runner.stop(grace=10)
        self.assertNoResult(stopped)
        deferred, deliveries = answers[0]
        deferred.callback({each.id: OK for each in deliveries})
        self.assertNoResult(stopped)
        self.clock.advance(11)
        self.successResultOf(stopped)
        self.assertEqual([row[1:3] for row in self.waiting()], [("waiting", 0)] * 5)
        self.assertEqual((len(answers), self.clock.getDelayedCalls()), (2, []))

    def test_stop_when_idle(self):
        """An idle queue stops at once and leaves no timer."""
        self.run_queue()
        self.successResultOf(self.runner.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.queue("a@x")
        self.go(100)
        self.assertEqual(self.target.attempts, [])

    def test_new_schedule(self):
        """A reload changes the times from the next failure on."""
        self.runner.schedule = Schedule(retry=10.0)
        self.target.answer = TransientFailure(Reply(450, "4.0.0", "x"), "said mx.example")
        self.queue("a@x")
        self.run_queue()
        self.assertEqual([row[3:] for row in self.waiting()], [("450 4.0.0 x - said mx.example", 10)])

    def test_nothing_twice(self):
        """Whatever fails in between, and whoever wakes the queue, each recipient gets each message once."""
        delivered = []
        turn = iter(range(10**6))

        def answer(message, deliveries, lane):
            outcomes = {}
            for each in deliveries:
                outcomes[each.id] = (OK, LATER, DOWN, LOGIN, OK, OK)[next(turn) % 6]
                if outcomes[each.id] is OK:
                    delivered.append((message.queue_id, each.recipient))
            return outcomes

        self.target.answer, self.target.allowed = answer, 3
        expected = []
        for number in range(40):
            self.queue("a@x", "b@y", "c@x", queue_id=f"m{number}")
            expected += [(f"m{number}", recipient) for recipient in ("a@x", "b@y", "c@x")]
        self.run_queue()
        for _ in range(60):
            self.successResultOf(self.store.commit(RetryNow(Selection())))
            self.go(700)
        self.assertEqual(self.waiting(), [])
        self.assertEqual(sorted(delivered), sorted(expected))
