"""The control socket of a running bridge: `control.sock` in the state folder, mode 0600 in a folder of mode 0700.

Whoever can open it is the operator: there is no login. The protocol is in `admin.messages`. Requests of one connection
are carried out one after the other; no more than 64 may wait.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorUNIX
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver

from mailbridge.admin.messages import (
    LONGEST_LINE,
    Answer,
    Kind,
    OperationError,
    Request,
    decode_request,
    encode_answer,
    usage,
)
from mailbridge.errors import StartError

SOCKET_NAME = "control.sock"
LONGEST_PATH = 103 if sys.platform == "darwin" else 107  # sun_path without the NUL at its end
MOST_WAITING = 64

Run = Callable[[str, dict[str, Any]], Awaitable[Any]]


class ControlProtocol(LineOnlyReceiver):
    """One connection to the control socket. `run(command, arguments)` gives the result or raises OperationError."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE
    _log = Logger()

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._gone = False

    def lineReceived(self, line: bytes) -> None:
        """Take a request; it is carried out when those before it are done."""
        try:
            request = decode_request(line)
        except OperationError as error:
            self._answer(Answer(None, error=error))
            return
        if len(self._waiting) >= MOST_WAITING:
            self._answer(Answer(request.id, error=usage("too many requests wait: read the answers first")))
            return
        self._waiting.append(request)
        if not self._busy:
            Deferred.fromCoroutine(self._work())

    def lineLengthExceeded(self, line: bytes) -> None:
        """Say so and hang up: where the next request begins is not known any more."""
        self._answer(Answer(None, error=usage("the line is longer than 1 MiB")))
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        """What runs is finished, what waits is forgotten."""
        self._gone = True
        self._waiting.clear()

    async def _work(self) -> None:
        self._busy = True
        while self._waiting:
            request = self._waiting.popleft()
            self._answer(await self._carry_out(request))
        self._busy = False

    async def _carry_out(self, request: Request) -> Answer:
        try:
            answer = Answer(request.id, await self._run(request.command, request.arguments))
            encode_answer(answer)
            return answer
        except OperationError as error:
            return Answer(request.id, error=error)
        except Exception:
            self._log.failure("the command {command!r} failed", command=request.command[:64])
            return Answer(request.id, error=OperationError(Kind.FAILED, "a fault of mailbridge itself: see its log"))

    def _answer(self, answer: Answer) -> None:
        if not self._gone:
            assert self.transport is not None
            self.transport.write(encode_answer(answer) + self.delimiter)


class ControlFactory(ServerFactory):
    """Makes a ControlProtocol for each connection."""

    noisy = False

    def __init__(self, run: Run) -> None:
        self._run = run

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        """A connection of the operator."""
        protocol = ControlProtocol(self._run)
        protocol.factory = self
        return protocol


def socket_path(state: Path) -> Path:
    """Where the socket of a state folder is. Raises StartError when the system takes no path of that length."""
    path = state / SOCKET_NAME
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise StartError(
            f"{path}: this path has {length} octets, a UNIX socket takes {LONGEST_PATH}: set `state` to a shorter one"
        )
    return path


def listen(reactor: IReactorUNIX, state: Path, run: Run) -> IListeningPort:
    """Open the control socket. Raises StartError.

    Call it only while holding the store's lock: a socket that is there already is left over from a crash and removed.
    `stopListening()` of the port removes the socket again.
    """
    path = socket_path(state)
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
        else:
            raise StartError(f"{path}: is in the way of the control socket: move it elsewhere")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StartError(f"{path}: cannot be removed: {error.strerror}") from None
    try:
        return reactor.listenUNIX(str(path), ControlFactory(run), mode=0o600)
    except (CannotListenError, OSError) as error:
        reason = getattr(error, "socketError", error)
        raise StartError(f"{path}: the control socket cannot be opened: {reason}") from None
