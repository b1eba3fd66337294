"""The connection to the provider, where it has to be made first: hook commands that dial and hang up.

Only what was dialled here is hung up here. Several accounts may need the line at once: it is dialled for the first and
hung up after the last. Without a dial command there always is a line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.fetch.dmailconf import Dial

ALREADY = 10
"""The exit code of a dial command that means: connected already, by another program."""
TIMEOUT = 300.0

Run = Callable[[Sequence[str], dict[str, str], float], "Deferred[int]"]
"""Runs a command with additions to the environment for so many seconds at most; its exit code, 127 if there is none."""


@frozen
class Hooks:
    """The commands, as lists of arguments; without `dial` there is nothing to dial. `told` is passed in RAS_*."""

    dial: tuple[str, ...] = ()
    hangup: tuple[str, ...] = ()
    told: Dial = Dial()


class Link:
    """The line. `up()` is called each time it has come up: for ETRN, and for mail that waits to be relayed."""

    log = Logger()

    def __init__(self, hooks: Hooks, run: Run, up: Callable[[], object]) -> None:
        self.hooks = hooks
        self._run = run
        self._up = up
        self._one = DeferredLock()
        self._users = 0
        self._failures = 0
        self._ours = False

    @property
    def dials(self) -> bool:
        """Whether a line has to be made."""
        return bool(self.hooks.dial)

    @property
    def connected(self) -> bool:
        """Whether there is a line just now, as far as is known here."""
        return not self.dials or self._users > 0

    async def take(self) -> bool:
        """See that there is a line; False when there is none. `give_back` follows only a True.

        Whoever waits while a dial command fails shares its failure: one try for all.
        """
        if not self.dials:
            return True
        failures = self._failures
        await self._one.acquire()
        try:
            if not self._users and (failures != self._failures or not await self._dial()):
                return False
            self._users += 1
            return True
        finally:
            self._one.release()

    async def give_back(self) -> None:
        """The line is no longer needed here."""
        if not self.dials:
            return
        await self._one.acquire()
        try:
            self._users -= 1
            if not self._users and self._ours and self.hooks.hangup:
                self._ours = False
                code = await self._run(self.hooks.hangup, self._environment(), TIMEOUT)
                self.log.info("the hangup command ended with {code}", code=code)
        finally:
            self._one.release()

    async def _dial(self) -> bool:
        code = await self._run(self.hooks.dial, self._environment(), self.hooks.told.timeout or TIMEOUT)
        if code not in (0, ALREADY):
            self._failures += 1
            self.log.error("the dial command ended with {code}: no connection", code=code)
            return False
        self._ours = code == 0
        self.log.info("connected" if self._ours else "connected already by another program")
        try:
            self._up()
        except Exception:
            self.log.failure("what should follow a connection failed")
        return True

    def _environment(self) -> dict[str, str]:
        told = self.hooks.told
        given = {"RAS_NUMBER": told.number, "RAS_ENTRY": told.entry, "RAS_USERNAME": told.username,
                 "RAS_PASSWORD": told.password, "RAS_DOMAIN": told.domain}
        return {name: value for name, value in given.items() if value is not None}


def run_command(reactor: Any, argv: Sequence[str], environment: dict[str, str], seconds: float) -> Deferred[int]:
    """Run a command, without a shell and with nothing to read; it is killed after `seconds`. Its exit code, or 127.

    Values of the environment are in no process list. What it writes is read and thrown away.
    """
    command = _Command()
    try:
        reactor.spawnProcess(command, argv[0], list(argv), {**os.environ, **environment}, "/")
    except Exception as error:
        Link.log.error("{command} cannot be run: {error}", command=argv[0], error=str(error))
        return _answer(127)
    timer = reactor.callLater(seconds, command.kill)
    command.ended.addCallback(lambda code: (timer.cancel() if timer.active() else None, code)[1])
    return command.ended


def _answer(code: int) -> Deferred[int]:
    answered: Deferred[int] = Deferred()
    answered.callback(code)
    return answered


class _Command(ProcessProtocol):
    """One run."""

    def __init__(self) -> None:
        self.ended: Deferred[int] = Deferred()

    def connectionMade(self) -> None:
        """It runs; it gets no input."""
        self.transport.closeStdin()  # type: ignore[union-attr]

    def kill(self) -> None:
        """It takes too long."""
        self.transport.signalProcess("KILL")  # type: ignore[union-attr]

    def processEnded(self, reason: Failure) -> None:
        """Its exit code; 128 and the signal where it was killed."""
        if reason.check(ProcessDone):
            self.ended.callback(0)
            return
        value: Any = reason.value
        self.ended.callback(value.exitCode if value.exitCode is not None else 128 + (value.signal or 0))
