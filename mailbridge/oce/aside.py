"""A process for large conversions: megabytes of MIME or JSON would hold the interpreter up, and a thread does not help.

It is started when it is first needed, does one task after the other, and ends with the bridge. What it says back is
read as JSON and octets, never unpickled, as it reads hostile mail. When it dies or is too slow, the task fails with
HelperLost and the next one starts another.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from attrs import asdict
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.oce.calls import Answer
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.tasks import BadAnswer, Found, Opened, Result, Task, perform
from mailbridge.reply import Reply

PATIENCE = 120.0
"""Seconds for one task."""

_HEAD = struct.Struct("!Q")
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

    def __call__(self, task: Task) -> Deferred[Result]:
        """Do a task. Cancelling ends the process, if it is at work at this task."""
        return Deferred.fromCoroutine(self._do(task))

    async def _do(self, task: Task) -> Result:
        await self._turn.acquire()
        try:
            if self._process is None or self._process.dying:
                self._process = _Process(self._reactor, self._processes.discard)
                self._processes.add(self._process)
            asked = self._process.ask(pickle.dumps(task, pickle.HIGHEST_PROTOCOL))
            late = self._reactor.callLater(self._patience, self._process.kill)
            try:
                return decoded(await asked)
            finally:
                if late.active():
                    late.cancel()
        finally:
            self._turn.release()

    def close(self) -> Deferred[Any]:
        """End the process; fires when it has ended."""
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
        self._asked: Deferred[bytes] | None = None
        self._pieces: list[bytes] = []
        self._wanted = -1
        self._held = 0
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        reactor.spawnProcess(self, sys.executable, [sys.executable, "-c", _PROGRAM, *sys.path], environment)

    def ask(self, octets: bytes) -> Deferred[bytes]:
        """Fires with the answer."""
        self._asked = Deferred(lambda _: self.kill())
        transport: Any = self.transport
        transport.write(_HEAD.pack(len(octets)))
        transport.write(octets)
        return self._asked

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
        if self._wanted < 0 and self._held >= _HEAD.size:
            octets = b"".join(self._pieces)
            (self._wanted,) = _HEAD.unpack_from(octets)
            self._pieces = [octets[_HEAD.size:]]
            self._held -= _HEAD.size
        if self._held == self._wanted:
            answer, asked = b"".join(self._pieces), self._asked
            self._asked, self._pieces, self._held, self._wanted = None, [], 0, -1
            if asked is not None and not asked.called:
                asked.callback(answer)

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
    return [_HEAD.pack(len(head)), head, *pieces]


def decoded(octets: bytes) -> Result:
    """The result again. Raises BadAnswer."""
    (length,) = _HEAD.unpack_from(octets)
    at = _HEAD.size + length
    said, lengths = json.loads(octets[_HEAD.size:at])
    pieces = []
    for each in lengths:
        pieces.append(octets[at:at + each])
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
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write where answers go
    requests = sys.stdin.buffer
    while head := requests.read(_HEAD.size):
        (length,) = _HEAD.unpack(head)
        _answer(replies, encoded(pickle.loads(requests.read(length))))


def _answer(replies: IO[bytes], pieces: list[bytes]) -> None:
    replies.write(_HEAD.pack(sum(map(len, pieces))))
    for piece in pieces:
        replies.write(piece)
    replies.flush()
