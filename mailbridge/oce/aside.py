"""A process for large conversions: megabytes of MIME or JSON would hold the interpreter up, and a thread does not help.

It is started when it is first needed, does one task after the other, and ends with the bridge. What it says back is
read as JSON and octets, never unpickled, as it reads hostile mail. When it dies or is too slow, the task fails with
HelperLost and the next one starts another.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import asdict
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.oce.calls import Answer
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.tasks import BadAnswer, Found, Opened, Result, Task, octets_of, perform, with_octets
from mailbridge.reply import Reply

PATIENCE = 120.0
"""Seconds for one task."""

_HEAD = struct.Struct("!QQ")
_PIECE = 1 << 20
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from mailbridge.oce.aside import main; main()"
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


class HelperLost(ExchangeError):
    """The process ended, or was too slow: the task may be tried again."""


class Aside:
    """Calls are tasks. `patience` are seconds for each."""

    _log = Logger()

    def __init__(self, reactor: Any, patience: float = PATIENCE) -> None:
        self._reactor = reactor
        self._patience = patience
        self._turn = DeferredLock()
        self._process: _Process | None = None
        self._processes: set[_Process] = set()
        self._closed = False

    def __call__(self, task: Task) -> Deferred[Result]:
        """Do a task. Cancelling ends the process, if it is at work at this task."""
        return Deferred.fromCoroutine(self._do(task))

    async def _do(self, task: Task) -> Result:
        await self._turn.acquire()
        try:
            process = self._working()
            asked = process.ask()
            late = self._reactor.callLater(self._patience, process.kill)
            try:
                await self._tell(process, task)
                return decoded(*await asked)
            except CancelledError:
                asked.addErrback(lambda _: None)
                process.kill()
                raise
            finally:
                if late.active():
                    late.cancel()
        finally:
            self._turn.release()

    def _working(self) -> _Process:
        """The process that is there, or another. Raises HelperLost."""
        if self._closed:
            raise HelperLost("the bridge is stopping")
        if self._process is None or self._process.dying:
            try:
                self._process = _Process(self._reactor, self._processes.discard)
            except OSError as error:
                raise HelperLost(f"no process for large conversions: {error.strerror}") from None
            self._processes.add(self._process)
        return self._process

    async def _tell(self, process: _Process, task: Task) -> None:
        """Write a task, its octets a piece in a turn of the reactor."""
        octets = octets_of(task)
        head = pickle.dumps(with_octets(task, b""), pickle.HIGHEST_PROTOCOL)
        process.write(_HEAD.pack(len(head), len(octets)) + head)
        for at in range(0, len(octets), _PIECE):
            process.write(octets[at:at + _PIECE])
            if at:
                await deferLater(self._reactor, 0)

    def close(self) -> Deferred[Any]:
        """End the process, and take no more tasks; fires when it has ended."""
        self._closed = True
        for process in self._processes:
            process.kill()
        return DeferredList([process.ended for process in self._processes])


class _Process(ProcessProtocol):
    """The bridge's end."""

    _log = Logger()

    def __init__(self, reactor: Any, gone: Callable[[_Process], None]) -> None:
        self.dying = False
        self.ended: Deferred[None] = Deferred()
        self._gone = gone
        self._asked: Deferred[tuple[Any, bytes]] | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._head: Any = None
        self._wanted = 0
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        reactor.spawnProcess(self, sys.executable, [sys.executable, "-c", _PROGRAM, *sys.path], environment)

    def ask(self) -> Deferred[tuple[Any, bytes]]:
        """Fires with the head and the octets of the next answer."""
        self._asked = Deferred()
        return self._asked

    def write(self, octets: bytes) -> None:
        """A piece of a task."""
        transport: Any = self.transport
        if not self.dying:
            transport.write(octets)

    def kill(self) -> None:
        """End it now."""
        self.dying = True
        transport: Any = self.transport
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """A piece of the answer; they are joined once."""
        self._pieces.append(data)
        self._held += len(data)
        if self._head is None and not self._read_head():
            return
        if self._held == self._wanted:
            head, octets, asked = self._head, b"".join(self._pieces), self._asked
            self._asked, self._pieces, self._held, self._head = None, [], 0, None
            if asked is not None and not asked.called:
                asked.callback((head, octets))

    def _read_head(self) -> bool:
        """Whether the head is whole; then it is read, and only octets are left."""
        if self._held < _HEAD.size:
            return False
        octets = b"".join(self._pieces)
        length, self._wanted = _HEAD.unpack_from(octets)
        end = _HEAD.size + length
        self._pieces = [octets]
        if len(octets) < end:
            return False
        self._head = json.loads(octets[_HEAD.size:end])
        self._pieces = [octets[end:]]
        self._held -= end
        return True

    def errReceived(self, data: bytes) -> None:
        """What Python says of a fault."""
        self._log.error("the process for conversions: {text}", text=data.decode("utf-8", "replace")[:4000])

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self.dying = True
        self._gone(self)
        asked, self._asked = self._asked, None
        if asked is not None and not asked.called:
            asked.errback(HelperLost("the process for large conversions ended within its work"))
        self.ended.callback(None)


# --- results as octets ------------------------------------------------------------------------------------------------


def encoded(task: Task) -> list[bytes]:
    """Do a task; its result as a head and pieces."""
    pieces: list[bytes] = []
    try:
        result = perform(task)
    except BadAnswer as error:
        said: dict[str, Any] = {"bad": str(error)}
    else:
        said = {}
        if isinstance(result, bytes):
            said, pieces = {"text": True}, [result]
        elif isinstance(result, Reply):
            said = {"reply": [result.code, result.enhanced, result.text]}
        elif isinstance(result, Opened):
            answer = result.answer
            words = answer.mesg if isinstance(answer.mesg, str) else None
            found = [asdict(each, filter=lambda field, _: field.name != "mail") for each in result.found]
            said = {"answer": [answer.num, answer.id, words, answer.count], "found": found}
            pieces = [each.mail for each in result.found]
    head = json.dumps([said, [len(piece) for piece in pieces]]).encode("ascii")
    return [_HEAD.pack(len(head), sum(map(len, pieces))), head, *pieces]


def decoded(head: Any, octets: bytes) -> Result:
    """The result again. Raises BadAnswer."""
    said, lengths = head
    pieces, at = [], 0
    for each in lengths:
        pieces.append(octets[at:at + each])  # a single one is not copied
        at += each
    if "bad" in said:
        raise BadAnswer(said["bad"])
    if "reply" in said:
        return Reply(*said["reply"])
    if "answer" in said:
        num, id, words, count = said["answer"]
        found = tuple(Found(mail, **each) for mail, each in zip(pieces, said["found"], strict=True))
        return Opened(Answer(num, id, words, count), found)
    return pieces[0] if "text" in said else None


# --- the process ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Do tasks until the standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # for the bridge, which then ends our input
        signal.signal(number, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write where answers go
    requests = sys.stdin.buffer
    while lengths := requests.read(_HEAD.size):
        head, octets = (requests.read(length) for length in _HEAD.unpack(lengths))
        for piece in encoded(with_octets(pickle.loads(head), octets)):
            replies.write(piece)
        replies.flush()
