"""Asking a running bridge to carry out a command: the client's side of the control socket."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mailbridge.admin.messages import Kind, OperationError, Request, decode_answer, encode_request
from mailbridge.errors import MailbridgeError

LONGEST_ANSWER = 64 * 1024 * 1024
PATIENCE = 120.0


class NotRunning(MailbridgeError):
    """Nobody listens on the control socket."""


class NotAllowed(MailbridgeError):
    """The control socket belongs to another user."""


class _Caller(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_ANSWER

    def __init__(self) -> None:
        self.answered: Deferred[Any] = Deferred(self._give_up)

    def ask(self, command: str, arguments: dict[str, Any]) -> Deferred[Any]:
        assert self.transport is not None
        self.transport.write(encode_request(Request(1, command, arguments)) + self.delimiter)
        return self.answered

    def _give_up(self, _: Deferred[Any]) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()
        if self.answered.called:
            return
        try:
            answer = decode_answer(line)
        except OperationError as error:
            self.answered.errback(OperationError(Kind.FAILED, f"the answer of mailbridge makes no sense: {error}"))
            return
        if answer.error is not None:
            self.answered.errback(answer.error)
        else:
            self.answered.callback(answer.result)

    def connectionLost(self, reason: object = None) -> None:
        if not self.answered.called:
            self.answered.errback(OperationError(Kind.FAILED, "mailbridge ended before it answered: see its log"))


def call(
    reactor: IReactorTime, path: Path, command: str, arguments: dict[str, Any], patience: float = PATIENCE
) -> Deferred[Any]:
    """The result of `command`, carried out by the bridge that listens at `path`; waits `patience` seconds.

    Fails with OperationError as the bridge says, with NotRunning when there is none, or with NotAllowed.
    """
    endpoint = UNIXClientEndpoint(reactor, str(path))
    connecting: Deferred[_Caller] = endpoint.connect(Factory.forProtocol(_Caller))
    connecting.addErrback(_not_connected, path)
    asked: Deferred[Any] = connecting.addCallback(lambda caller: caller.ask(command, arguments))
    asked.addTimeout(patience, reactor)
    return asked.addErrback(_too_late, patience)


def _not_connected(failure: Failure, path: Path) -> _Caller:
    failure.trap(ConnectError)
    if getattr(failure.value, "osError", None) in (errno.EPERM, errno.EACCES):
        raise NotAllowed(f"{path}: this user may not command the running bridge: use the user it runs as, or root")
    raise NotRunning(f"{path}: nobody listens")


def _too_late(failure: Failure, patience: float) -> Any:
    if failure.check(TimeoutError, CancelledError):
        raise OperationError(Kind.FAILED, f"mailbridge did not answer within {patience:.0f} seconds")
    return failure
