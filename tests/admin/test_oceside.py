"""The operator's commands about the OCE, on an OCE's side that does as it is told."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.oceside import OCESideOperations
from mailbridge.oce.calls import Answer
from mailbridge.oce.client import Stopped
from mailbridge.oce.collector import Counts
from mailbridge.oce.embedded.deeds import Refused
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.pullinfo import PullInfo
from mailbridge.store.memory import MemoryStore


@define
class Side:
    """A bridge's side of an OCE of another program."""

    answer: Answer | Exception = Answer(7, "REQPROC")
    killed: bool = False
    embedded: Any = None
    asked: tuple[str, str] = ("", "")

    async def register(self, member: str, password: str) -> Answer:
        """What `answer` says."""
        self.asked = member, password
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def pullinfo(self, waiting: int) -> PullInfo:
        """Some record."""
        return PullInfo(True, "abcd...", "SMTP:mailbridge", "harold", "http://127.0.0.1/", 0.0, 0.0, 0.0, 300.0, {},
                        Counts(), waiting, "", "")

    async def release(self) -> bool:
        """Whether there was a KILL."""
        was, self.killed = self.killed, False
        return was


class OCESideTests(SynchronousTestCase):
    """`OCESideOperations`."""

    def setUp(self) -> None:
        self.side: Side | None = Side()
        self.operations = OCESideOperations(MemoryStore(Clock()), lambda: self.side)

    def ask(self, command: str, **arguments: Any) -> Any:
        """The result."""
        running = self.operations.commands[command](Arguments(arguments))
        return self.successResultOf(Deferred.fromCoroutine(running))  # type: ignore[arg-type]

    def refused(self, command: str, **arguments: Any) -> OperationError:
        """The error."""
        running = self.operations.commands[command](Arguments(arguments))
        failure = self.failureResultOf(Deferred.fromCoroutine(running), OperationError)  # type: ignore[arg-type]
        error: OperationError = failure.value
        return error

    def test_register(self) -> None:
        """Name and password go to the OCE, and its answer comes back in words, without the password."""
        told = self.ask("oce register", member="harold", password="secret")
        self.assertEqual(self.side.asked if self.side else None, ("harold", "secret"))
        self.assertEqual(told, {"answer": "7 REQPROC: request processed"})

    def test_register_fails(self) -> None:
        """A refusal, an OCE that is away and a KILL are each told as a failure, in words."""
        assert self.side is not None
        for answer, words in ((Answer(-11, "INVPASS"), "the OCE refused: -11 INVPASS"), (Refused("PERM"), "PERM"),
                              (ExchangeError("no connection"), "no connection"), (Stopped("KILL"), "KILL")):
            self.side.answer = answer
            error = self.refused("oce register", member="harold", password="secret")
            self.assertEqual((error.kind, words in str(error)), (Kind.FAILED, True), str(error))
            self.assertNotIn("secret", str(error))

    def test_pullinfo(self) -> None:
        """The record for programs and the lines for people."""
        told = self.ask("oce pullinfo")
        self.assertEqual((told["member"], told["waiting"]), ("harold", 0))
        self.assertIn("member: harold", told["lines"])

    def test_release(self) -> None:
        """Whether there was something to release."""
        assert self.side is not None
        self.side.killed = True
        self.assertEqual(self.ask("oce release"), {"released": True})
        self.assertEqual(self.ask("oce release"), {"released": False})

    def test_no_oce(self) -> None:
        """Without [oce] each command says so; with one elsewhere, those of the embedded one say where to go."""
        self.assertIn("another program", str(self.refused("oce applications")))
        self.side = None
        for command, arguments in (("oce pullinfo", {}), ("oce release", {}), ("oce applications", {}),
                                   ("oce register", {"member": "a", "password": "b"})):
            error = self.refused(command, **arguments)
            self.assertEqual((error.kind, "[oce]" in str(error)), (Kind.CONFLICT, True))
