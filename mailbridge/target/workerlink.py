"""The bridge's end of a worker process: questions in, answers out, an end that is noticed.

A worker that dies, or that answers nothing for too long and is killed, fails what was asked of it with WorkerLost; the
next question starts another. Nothing here blocks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.errors import MailbridgeError
from mailbridge.target.jobwork import Answer, Assignment, Kind, Request
from mailbridge.target.outgoing import Outgoing
from mailbridge.target.workerprocess import BACK, frame

PATIENCE = 300.0
"""Seconds without any answer, while some are awaited, after which a worker is killed."""
_LOOK = 15.0
_GRACE = 10.0
_PROGRAM = ("import sys; parent = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; "
            "from mailbridge.target.workerprocess import main; main(parent)")
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
_MOST_LOGGED = 4000


class WorkerLost(MailbridgeError):
    """The worker ended before it answered: what was asked may or may not have been done."""


class Link(Protocol):
    """A worker as its application uses it."""

    def ask(self, request: Request, content: Sequence[bytes] = ()) -> Deferred[Answer]:
        """Ask; fails with WorkerLost. `content`, in pieces, is that of the mail in the request."""

    def close(self) -> Deferred[None]:
        """Ask nothing more; fires when what was asked has been answered and the worker has ended."""

    @property
    def lost(self) -> bool:
        """Whether it has ended or is about to."""


Launch = Callable[[Assignment], Link]


class WorkerLink(ProcessProtocol):
    """A Link to a process that is started at once. `patience` are seconds, see PATIENCE."""

    _log = Logger()

    def __init__(self, reactor: Any, assignment: Assignment, patience: float = PATIENCE) -> None:
        self._reactor = reactor
        self._name = assignment.application
        self._patience = patience
        self._waiting: dict[int, Deferred[Answer]] = {}
        self._last = 0
        self._heard = 0.0
        self._buffer = bytearray()
        self._said = bytearray()
        self._closing = False
        self._gone = False
        self._ended: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        arguments = [sys.executable, "-c", _PROGRAM, str(os.getpid()), *sys.path]
        reactor.spawnProcess(self, sys.executable, arguments, environment)
        self._outgoing = Outgoing(self.transport)
        self._outgoing.write((frame(assignment),))

    @property
    def lost(self) -> bool:
        """See Link."""
        return self._gone or self._closing

    def ask(self, request: Request, content: Sequence[bytes] = ()) -> Deferred[Answer]:
        """See Link. Cancelling forgets the answer, not what was asked."""
        self._last = id = self._last + 1

        def forget(_: Deferred[Answer]) -> None:
            self._waiting.pop(id, None)

        answer: Deferred[Answer] = Deferred(forget)
        if self._gone:
            answer.errback(WorkerLost("the worker process has ended"))
            return answer
        if not self._waiting:
            self._heard = self._reactor.seconds()
            if self._timer is None:
                self._timer = self._reactor.callLater(_LOOK, self._look)
        self._waiting[id] = answer
        self._outgoing.write((frame((id, request), sum(map(len, content))), *content))
        return answer

    def close(self) -> Deferred[None]:
        """See Link."""
        self._closing = True
        if self._gone:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        if not self._waiting:
            self._say_goodbye()
        return ended

    def _say_goodbye(self) -> None:
        if not self._gone:
            self.transport.closeStdin()  # type: ignore[union-attr]
            self._stop_timer()
            self._timer = self._reactor.callLater(_GRACE, self._kill)

    def _look(self) -> None:
        """Whether it still answers."""
        self._timer = None
        if not self._waiting:
            return
        if self._reactor.seconds() - self._heard > self._patience:
            self._log.error("application {name}: its worker does not answer and is killed", name=self._name)
            self._kill()
        self._timer = self._reactor.callLater(_LOOK, self._look)

    def _kill(self) -> None:
        self._timer = None
        if not self._gone:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # --- what the process tells ---------------------------------------------------------------------------------------

    def outReceived(self, data: bytes) -> None:
        """Answers."""
        self._heard = self._reactor.seconds()
        buffer = self._buffer
        buffer += data
        while len(buffer) >= BACK.size:
            (length,) = BACK.unpack_from(buffer)
            end = BACK.size + length
            if len(buffer) < end:
                return
            answers = json.loads(buffer[BACK.size:end])
            del buffer[:end]
            for id, kind, body in answers:
                waiting = self._waiting.pop(id, None)
                if waiting is not None:
                    waiting.callback(Answer(Kind(kind), body))
        if self._closing and not self._waiting:
            self._say_goodbye()

    def errReceived(self, data: bytes) -> None:
        """What Python says of a fault."""
        self._said = (self._said + data)[:_MOST_LOGGED]
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            self._log.error("application {name}: {line}", name=self._name, line=line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self._gone = True
        self._stop_timer()
        if not self._closing:
            self._log.error("application {name}: its worker ended: {reason}", name=self._name,
                            reason=reason.getErrorMessage())
        self._lose()
        ended, self._ended = self._ended, []
        for each in ended:
            each.callback(None)

    def _lose(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(WorkerLost("the worker process ended"))

