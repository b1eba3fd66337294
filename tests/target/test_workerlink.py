"""The worker process: real jobs by a real process, and what happens when it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.address import Address
from mailbridge.application.job import Mail
from mailbridge.target.jobwork import Answer, Assignment, Kind, Prepare, Publish, Run
from mailbridge.target.outlet import CommandOutlet, FolderOutlet
from mailbridge.target.workerlink import WorkerLink, WorkerLost
from mailbridge.target.workerprocess import BACK, Inbox, Outbox, frame
from tests.target.job_world import NOW, TEXT, TinyRecipe

MAIL = Mail(Address("a", "b.example"), Address("1", "sms"), {"number": "1"}, b"", NOW)


class WorkerLinkTests(TestCase):
    """With the real reactor."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.links: list[WorkerLink] = []

    def tearDown(self) -> Deferred[Any]:
        """No process stays."""
        return gatherResults([link.close() for link in self.links])

    def link(self, **more: Any) -> WorkerLink:
        """A worker for the folder."""
        assignment = evolve(Assignment("sms", TinyRecipe(), FolderOutlet(self.folder)), **more)
        self.links.append(WorkerLink(reactor, assignment))
        return self.links[-1]

    def prepare(self, link: WorkerLink, number: int, text: bytes = TEXT) -> Deferred[Answer]:
        """Ask for a job."""
        return link.ask(Prepare(number, MAIL, "q1", NOW), (text[:40_000], text[40_000:]))

    async def test_jobs(self) -> None:
        """Many jobs asked for at once are written and published, large ones too; each has its own answer."""
        link = self.link(nice=5)
        texts = [TEXT + b"x" * length for length in (0, 100_000, 3_000_000, 7)] * 5
        answers = await gatherResults([self.prepare(link, n, text) for n, text in enumerate(texts, 1)])
        self.assertEqual({answer.kind for answer in answers}, {Kind.DONE})
        published = await gatherResults(
            [link.ask(Publish(answer.body["control"], answer.body["identity"])) for answer in answers])
        self.assertEqual({answer.kind for answer in published}, {Kind.DONE})
        for number, text in enumerate(texts, 1):
            self.assertEqual((self.folder / f"sms_{number:010d}.txt").read_bytes(), text)
            self.assertTrue((self.folder / f"sms_{number:010d}.CTL").exists())

    async def test_fault(self) -> None:
        """A message that cannot be worked at costs neither the worker nor the others."""
        link = self.link()
        answers = await gatherResults([self.prepare(link, 1, b"CRASH"), self.prepare(link, 2),
                                       self.prepare(link, 3, b"REFUSE")])
        self.assertEqual([answer.kind for answer in answers], [Kind.FAILED, Kind.DONE, Kind.REFUSED])
        self.flushLoggedErrors()

    async def test_dies(self) -> None:
        """When the process ends what was asked fails, at once and afterwards."""
        link = self.link()
        await self.assertFailure(self.prepare(link, 1, b"DIE"), WorkerLost)
        self.assertTrue(link.lost)
        await self.assertFailure(self.prepare(link, 2), WorkerLost)

    async def test_close(self) -> None:
        """What was asked before the end is answered; then the process ends by itself."""
        link = self.link()
        asked = self.prepare(link, 1)
        closed = link.close()
        self.assertEqual((await asked).kind, Kind.DONE)
        await closed
        self.assertTrue(link.lost)

    async def test_signals(self) -> None:
        """A signal to the whole process group, as a terminal or a supervisor sends it, is the bridge's to follow."""
        link = self.link()
        await self.prepare(link, 1)
        assert link.transport is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(link.transport.pid, number)  # type: ignore[attr-defined]
        self.assertEqual((await self.prepare(link, 2)).kind, Kind.DONE)

    async def test_program(self) -> None:
        """A program gets its job, with default signals; several run at once."""
        outlet = CommandOutlet(("/bin/sh", "-c", "sleep 0.3; grep -c number; echo $MAILBRIDGE_JOB"), 10.0)
        link = self.link(outlet=outlet)
        answers = await gatherResults([link.ask(Run(n, MAIL, "q1", NOW), (TEXT,)) for n in (1, 2, 3)])
        self.assertEqual([answer.body["detail"] for answer in answers], ["1 1", "1 2", "1 3"])

    async def test_program_ends_with_the_bridge(self) -> None:
        """A program that still runs when the worker is told to end at once is killed with it."""
        path = self.folder / "pid"
        link = self.link(outlet=CommandOutlet(("/bin/sh", "-c", f"echo $$ >{path}; sleep 60"), 100.0))
        asked = link.ask(Run(1, MAIL, "q1", NOW), (TEXT,))
        await until(lambda: path.exists() and path.read_text().endswith("\n"))
        assert link.transport is not None
        os.kill(link.transport.pid, signal.SIGUSR1)  # type: ignore[attr-defined]
        await self.assertFailure(asked, WorkerLost)
        await until(lambda: gone(int(path.read_text())))


async def until(true: Callable[[], bool]) -> None:
    """Look again and again; AssertionError after ten seconds."""
    for _ in range(1000):
        if true():
            return
        await deferLater(reactor, 0.01)  # type: ignore[arg-type]
    raise AssertionError("not in ten seconds")


def gone(pid: int) -> bool:
    """Whether a process has ended, also when nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z" \
            if Path("/proc/self").exists() else os.kill(pid, 0) is not None
    except (FileNotFoundError, ProcessLookupError):
        return True


class FrameTests(SynchronousTestCase):
    """Frames through a pipe."""

    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)

    def test_inbox(self) -> None:
        """What comes in pieces is put together; all that waits is taken at once; content finds its mail."""
        inbox = Inbox(self.reading)
        os.write(self.writing, frame("hello"))
        self.assertEqual(inbox.first(), "hello")
        octets = b"".join(frame((n, Prepare(n, MAIL, "q", NOW)), n) + b"x" * n for n in range(3))
        os.write(self.writing, octets[:-1])
        self.assertEqual([id for id, _ in inbox.take()], [0, 1])
        os.write(self.writing, octets[-1:])
        [(id, request)] = inbox.take()
        assert isinstance(request, Prepare)
        self.assertEqual((id, request.mail), (2, evolve(MAIL, content=b"xx")))
        os.close(self.writing)
        self.assertRaises(EOFError, inbox.take)

    def test_outbox(self) -> None:
        """Answers are JSON behind their length."""
        Outbox(self.writing).send([(7, Answer(Kind.DONE, ["a"])), (8, Answer(Kind.FAULT, "b"))])
        octets = os.read(self.reading, 1000)
        self.assertEqual(octets[BACK.size:], b'[[7, "done", ["a"]], [8, "fault", "b"]]')
        self.assertEqual(BACK.unpack(octets[:BACK.size])[0], len(octets) - BACK.size)
        os.close(self.writing)
