"""Jobs for a program, as the bridge hands them to the worker: numbers that are kept, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.store.changes import Delivery, Message
from mailbridge.target.jobwork import Answer, Assignment, Kind, Request, Run
from mailbridge.target.outlet import CommandOutlet
from tests.target.job_world import LANE, InlineLink, JobWorld

DONE = Answer(Kind.RAN, {"detail": "sent", "warnings": []})
LATER = Answer(Kind.RAN, {"reply": [451, "4.3.0", "exit code 75"], "detail": "program", "warnings": []})
NEVER = Answer(Kind.RAN, {"reply": [550, "5.1.1", "no such recipient"], "detail": "program", "warnings": ["odd"]})
BROKEN = Answer(Kind.FAULT, "program cannot be run")


class ScriptedLink(InlineLink):
    """A worker whose program ends as the test says."""

    answer = DONE

    def ask(self, request: Request, content: Sequence[bytes] = ()) -> Deferred[Answer]:
        """See Link."""
        self.asked.append(request)
        return succeed(self.answer)


class RunningTests(SynchronousTestCase):
    """With an application whose jobs go to a program."""

    def setUp(self) -> None:
        self.link = ScriptedLink(Assignment("sms", None, CommandOutlet(("program",))))  # type: ignore[arg-type]
        self.world = self.new_world()

    def new_world(self, **plan: object) -> JobWorld:
        """An application with these settings."""
        world = JobWorld(Path(self.mktemp()), outlet=CommandOutlet(("program",)), **plan)
        world.launch = lambda assignment: self.link  # type: ignore[method-assign]
        world.start()
        return world

    def attempt(self, message: Message, deliveries: Sequence[Delivery], answer: Answer) -> Outcome:
        """One attempt, at which the program ends with `answer`; what a Delivered carries is committed."""
        self.link.answer = answer
        outcomes = self.world.result(self.world.target.attempt(message, deliveries, LANE))
        outcome: Outcome = outcomes[deliveries[0].id]
        if isinstance(outcome, Delivered):
            self.world.settle(outcome)
        return outcome

    def numbers(self) -> list[int]:
        """The numbers of the jobs that were handed over."""
        return [request.number for request in self.link.asked if isinstance(request, Run)]

    def kept(self) -> object:
        """The numbers in the store."""
        return self.world.result(self.world.store.remembered("staged:", "", 10))

    def test_number_is_kept(self) -> None:
        """A job that is tried again has its number again, also after a restart, until it has come to its end."""
        message, first = self.world.message()
        second = self.world.again(first)
        self.assertIsInstance(self.attempt(message, first, LATER), TransientFailure)
        self.assertIsInstance(self.attempt(message, second, BROKEN), RouteFailure)
        self.world.start()
        self.assertEqual(self.attempt(message, self.world.again(second), DONE).detail, "sent")  # type: ignore[union-attr]
        self.assertEqual((self.numbers(), self.kept()), ([1, 1, 1], {}))

    def test_permanent(self) -> None:
        """What the program refuses for good comes back, and its number is forgotten."""
        message, deliveries = self.world.message()
        self.assertIsInstance(self.attempt(message, deliveries, NEVER), PermanentFailure)
        self.assertEqual(self.kept(), {})

    def test_expiry(self) -> None:
        """A job is tried as long as `expiry` says, and not for the days of the queue once it had its first attempt."""
        self.world = self.new_world(expiry=60.0)
        message, deliveries = self.world.message()
        self.assertIsInstance(self.attempt(message, deliveries, LATER), TransientFailure)
        self.world.clock.advance(61.0)
        outcome = self.attempt(message, self.world.again(deliveries), DONE)
        self.assertIn("550 5.4.7", str(outcome.reply))  # type: ignore[union-attr]
        self.assertEqual((self.numbers(), self.kept()), ([1], {}))
