"""Applications in memory and in a temporary folder: a recipe that does little, and a worker in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mailbridge.application.claim import Claim
from mailbridge.application.job import Job, JobFile, Mail
from mailbridge.application.refused import JobRefused
from mailbridge.content import Content
from mailbridge.interfaces import IStore
from mailbridge.outcome import Outcome
from mailbridge.reply import Reply
from mailbridge.store.changes import NO_WISHES, Accept, Accepted, Delivery, Lane, LaneState, Message, Queued, Wishes
from mailbridge.store.memory import MemoryStore
from mailbridge.target.application import ApplicationPlan, ApplicationTarget
from mailbridge.target.jobnumbers import JobNumbers
from mailbridge.target.jobwork import Answer, Assignment, Request
from mailbridge.target.jobworker import JobWorker
from mailbridge.target.outlet import FolderOutlet
from mailbridge.target.workerlink import WorkerLost
from tests.queue.world import made

NOW = 1_763_730_000.0
LANE = Lane(1, "application:sms", "", LaneState.OPEN, "", 0.0, None, 1)
TEXT = b"Subject: Alarm\r\nX-Long: " + b"x" * 100 + b"\r\nFrom: Lamp <lamp@plant.example>\r\n\r\nID:7781\r\n"


@frozen
class TinyRecipe:
    """The text is the message as it is; one attachment when it says so. `suffix` is that of control files."""

    suffix: str = ".CTL"

    def job(self, mail: Mail, number: int, now: float) -> Job:
        """See Converts."""
        if b"REFUSE" in mail.content:
            raise JobRefused(Reply(550, "5.6.0", "no text in it"))
        if b"CRASH" in mail.content:
            raise RuntimeError(mail.content.decode())
        if b"DIE" in mail.content:
            os._exit(3)
        stem = f"sms_{number:010d}"
        files = [JobFile(f"{stem}.txt", mail.content)]
        if b"ATTACH" in mail.content:
            files.append(JobFile(f"{stem}_1.pdf", b"pdf"))
        if self.suffix == ".json":
            files = []
        control = f"[to]\r\nnumber={mail.groups['number']}\r\n[message]\r\ntext={stem}.txt\r\n".encode()
        return Job("sms", number, tuple(files), JobFile(stem + self.suffix, control), mail.sender.text,
                   mail.groups["number"], warnings=("odd",) if b"ODD" in mail.content else ())


class InlineLink:
    """A Link whose worker is in this process. `cut(request)` may say "before" or "after": the bridge dies there."""

    def __init__(self, assignment: Assignment, cut: Callable[[Request], str] = lambda request: "") -> None:
        self.assignment = assignment
        self.lost = False
        self.closed = False
        self.asked: list[Request] = []
        self._answers: dict[int, Deferred[Answer]] = {}
        self._cut = cut
        self.complaints: list[str] = []
        self.worker = JobWorker(assignment, self._report, self.complaints.append)

    def ask(self, request: Request, content: Sequence[bytes] = ()) -> Deferred[Answer]:
        """See Link."""
        if self.lost:
            raise AssertionError("asked after its end")
        self.asked.append(request)
        if hasattr(request, "mail"):
            request = evolve(request, mail=evolve(request.mail, content=b"".join(content)))
        where = self._cut(request)
        answer: Deferred[Answer] = Deferred()
        if where == "before":
            return answer
        id = len(self.asked)
        if where != "after":
            self._answers[id] = answer
        self.worker.work([(id, request)])
        return answer

    def _report(self, answers: list[tuple[int, Answer]]) -> None:
        for id, answer in answers:
            if id in self._answers:
                self._answers.pop(id).callback(answer)

    def die(self) -> None:
        """The process is gone."""
        self.lost = True
        waiting, self._answers = self._answers, {}
        for each in waiting.values():
            each.errback(WorkerLost("gone"))

    def close(self) -> Deferred[None]:
        """See Link."""
        self.closed = self.lost = True
        return succeed(None)


class DeafBounce:
    """Nobody is told."""

    def unclaimed(self, message: Message, results: Sequence[Any]) -> Deferred[None]:
        """See IBounce."""
        return succeed(None)


@frozen
class Reader:
    """The program that polls the folder: takes every complete job, reads it and deletes it."""

    folder: Path
    suffix: str = ".CTL"
    taken: list[tuple[str, bytes, bytes]] = field(factory=list)

    def poll(self) -> None:
        """Once. AssertionError for a job that is not whole."""
        for path in sorted(self.folder.glob("*" + self.suffix)):
            control = path.read_bytes()
            assert control.endswith(b"\r\n"), control
            text = self.folder / (path.stem + ".txt")
            self.taken.append((path.name, control, text.read_bytes()))
            path.unlink()
            text.unlink()


class JobWorld:
    """One application `sms` on a folder; `start` again after a `crash`."""

    def __init__(self, folder: Path, clock: Clock | None = None, store: IStore | None = None, **plan: Any) -> None:
        if clock is None:
            clock = Clock()
            clock.advance(NOW)
        self.folder = folder
        self.clock = clock
        self.store: Any = store or MemoryStore(clock)
        self.reader = Reader(folder)
        self.links: list[InlineLink] = []
        self.cut: Callable[[Request], str] = lambda request: ""
        claim = Claim.make("sms", [r"(?P<number>\+?\d+)@sms"])
        self.plan = evolve(ApplicationPlan("sms", claim, TinyRecipe(), FolderOutlet(folder)), **plan)
        self.bounce: Any = DeafBounce()
        self.start()

    def start(self) -> None:
        """Make the target as a bridge that has just started does."""
        self.target = ApplicationTarget(self.plan, self.clock, self.store, JobNumbers(self.store), self.bounce,
                                        self.launch)

    def launch(self, assignment: Assignment) -> InlineLink:
        """See Launch."""
        self.links.append(InlineLink(assignment, self.cut))
        return self.links[-1]

    def message(self, text: bytes = TEXT, recipients: Sequence[str] = ("+420603280030@sms",), sender: str = "",
                wishes: Wishes = NO_WISHES) -> tuple[Message, list[Delivery]]:
        """Accept a message into the queue; it and its deliveries, claimed."""
        envelope = evolve(made("q1"), content=Content.of(text))
        [accepted] = self.result(self.store.commit(Accept(envelope, (), tuple(
            Queued(each, "application:sms", "", 0.0, wishes) for each in recipients))))
        assert isinstance(accepted, Accepted)
        message = self.store.messages([accepted.message])[accepted.message]
        return (evolve(message, sender=sender) if sender else message), list(self.claim())

    def claim(self) -> Sequence[Delivery]:
        """Claim what is due."""
        [lane] = [each for each in self.result(self.store.lanes()) if each.target == "application:sms"]
        claimed: Sequence[Delivery] = self.result(self.store.claim("test", lane.id, 1000, 1e9))
        return claimed

    def again(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The same deliveries claimed another time, as after a start."""
        return [evolve(each, fence=each.fence + 1) for each in deliveries]

    def attempt(self, text: bytes = TEXT, recipient: str = "+420603280030@sms", **more: Any) -> Outcome:
        """Accept a message for one recipient and attempt it."""
        message, [delivery] = self.message(text, (recipient,), **more)
        outcomes: dict[int, Outcome] = self.result(self.target.attempt(message, [delivery], LANE))
        return outcomes[delivery.id]

    def settle(self, outcome: Any) -> None:
        """Commit what a Delivered carries, as the queue does."""
        self.result(self.store.commit(*outcome.changes))

    @staticmethod
    def result(deferred: Deferred[Any]) -> Any:
        """What it fired with."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        assert results, "nothing yet"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def names(self) -> list[str]:
        """What lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())
