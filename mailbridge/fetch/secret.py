"""The password or token of an account: written out, in a file that is read at each login, or what a command prints.

No text of an error and no repr holds one. A command runs without a shell, has nothing to read, and 30 seconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mailbridge.pop3.failure import Kind, UpstreamError

LONGEST = 4096
PATIENCE = 30.0


@frozen
class Secret:
    """One of the three is set. `command` is a program by its whole path, with its arguments."""

    text: str | None = field(default=None, repr=False)
    file: Path | None = None
    command: tuple[str, ...] = ()


async def reveal(secret: Secret, reactor: Any) -> str:
    """The secret as it is now. Raises UpstreamError (LOGIN)."""
    if secret.text is not None:
        return secret.text
    if secret.file is not None:
        try:
            with secret.file.open("rb") as file:
                octets = file.read(LONGEST + 2)
        except OSError as error:
            raise _wrong(f"{secret.file} cannot be read: {error.strerror}") from None
        return _one_line(octets, str(secret.file))
    name = secret.command[0]
    octets, code = await _run(reactor, secret.command)
    if code:
        raise _wrong(f"{name} ended with {code}")
    return _one_line(octets, name)


def _one_line(octets: bytes, whose: str) -> str:
    try:
        text = octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _wrong(f"{whose} gives no UTF-8") from None
    if not text or len(text) > LONGEST or any(c in text for c in "\r\n\0"):
        raise _wrong(f"{whose} must give one line of at most {LONGEST} characters")
    return text


def _wrong(text: str) -> UpstreamError:
    return UpstreamError(Kind.LOGIN, f"there is no password or token: {text}")


async def _run(reactor: Any, argv: tuple[str, ...]) -> tuple[bytes, int]:
    """What a command printed, and its exit code; 128 and the signal for one that was killed."""
    command = _Command()
    try:
        reactor.spawnProcess(command, argv[0], list(argv), dict(os.environ), "/")
    except OSError as error:
        raise _wrong(f"{argv[0]} cannot be run: {error.strerror}") from None
    timer = reactor.callLater(PATIENCE, command.kill)
    try:
        code = await command.ended
    finally:
        if timer.active():
            timer.cancel()
    return command.printed, code


class _Command(ProcessProtocol):
    """One run. Cancelling `ended` kills it."""

    def __init__(self) -> None:
        self.printed = b""
        self.ended: Deferred[int] = Deferred(lambda _: self.kill())

    def connectionMade(self) -> None:
        """It runs; it gets no input."""
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        """No more is kept than can be a secret."""
        self.printed = (self.printed + data)[:LONGEST + 2]

    def errReceived(self, data: bytes) -> None:
        """Its complaints may hold anything, so they go nowhere."""

    def kill(self) -> None:
        """It takes too long, or is no longer wanted: nothing is read any more, whoever else holds its pipes."""
        if self.transport is not None and self.transport.pid:
            self.transport.signalProcess("KILL")
            self.transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        """The end."""
        if self.ended.called:
            return
        value: Any = reason.value
        if reason.check(ProcessDone):
            self.ended.callback(0)
        else:
            self.ended.callback(value.exitCode if value.exitCode is not None else 128 + (value.signal or 0))
