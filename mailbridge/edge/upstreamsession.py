"""One session with a POP3 server, logged in: list, retrieve, delete, quit.

All fails with UpstreamError, whose text may be logged. Several retrievals may be asked for in a row; they are pipelined
where the server offers that, and answered in order. Memory does not grow with the size of a message: its octets go to
the caller as they come, no faster than the caller takes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailbridge.edge.pop3_client import Connection
from mailbridge.edge.transport import tls_facts
from mailbridge.pop3 import commands
from mailbridge.pop3.answer import Answer
from mailbridge.pop3.commands import Command
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.opening import Opened
from mailbridge.pop3.scan import Sizes, SizeScan, Uids, UidScan
from mailbridge.pop3.upstream import UpstreamLimits

Write = Callable[[bytes], Deferred[Any] | None]
"""Takes the octets of a message; a Deferred asks to wait for it before there are more."""
_TWO_NUMBERS = re.compile(rb"([0-9]{1,10})[ \t]+([0-9]{1,18})(?:[ \t]|$)")


class UpstreamSession:
    """Logged in, until `quit` or `abort`, or until anything fails with another kind than REFUSED.

    Cancelling what a method returns closes the session at once.
    """

    def __init__(self, connection: Connection, opened: Opened, limits: UpstreamLimits) -> None:
        self._connection = connection
        self._limits = limits
        self.capabilities = opened.capabilities
        self.login = opened.login
        self.encrypted = opened.encrypted

    @property
    def usable(self) -> bool:
        """Whether more can be asked."""
        return self._connection.usable

    @property
    def tls(self) -> str | None:
        """Protocol and cipher."""
        return tls_facts(self._connection.transport) if self.encrypted else None

    async def _positive(self, command: Command, sink: Any = None) -> Answer:
        return _check(await self._connection.ask(command, sink), command)

    def stat(self) -> Deferred[tuple[int, int]]:
        """Messages and their octets, as the server says."""
        return Deferred.fromCoroutine(self._stat())

    async def _stat(self) -> tuple[int, int]:
        answer = await self._positive(commands.STAT)
        found = _TWO_NUMBERS.match(answer.octets)
        if found is None:
            self.abort()
            raise UpstreamError(Kind.PROTOCOL, f"STAT: the server answered {answer}")
        return int(found[1]), int(found[2])

    def list(self) -> Deferred[Sizes]:
        """Sizes by message number, as the server says: they may be wrong. Malformed lines are left out and counted."""
        return Deferred.fromCoroutine(self._list())

    async def _list(self) -> Sizes:
        scan = SizeScan(self._limits.messages)
        await self._positive(commands.LIST, _Listed(scan.feed))
        return scan.finish()

    def uidl(self) -> Deferred[Uids | None]:
        """Unique ids by message number, None if the server has none.

        A message whose id is malformed, contradictory or another's too is left out and counted.
        """
        return Deferred.fromCoroutine(self._uidl())

    async def _uidl(self) -> Uids | None:
        scan = UidScan(self._limits.messages)
        try:
            await self._positive(commands.UIDL, _Listed(scan.feed))
        except UpstreamError as error:
            if error.kind is Kind.REFUSED and "UIDL" not in self.capabilities:
                return None
            raise
        return scan.finish()

    def retrieve(self, number: int, write: Write, limit: int | None = None) -> Deferred[int]:
        """A message into `write`, without its dots, with CR LF line ends only; fires with its octets.

        More than `limit` octets (default: that of the limits) end the session with Kind.LARGE. When `write` fails, the
        rest is read and dropped, its failure is told here, and the session goes on.
        """
        return self._message(commands.retr(number), write, limit)

    def top(self, number: int, lines: int, write: Write, limit: int | None = None) -> Deferred[int]:
        """The header of a message and so many lines of its body, as `retrieve`."""
        return self._message(commands.top(number, lines), write, limit)

    def _message(self, command: Command, write: Write, limit: int | None) -> Deferred[int]:
        message = _Message(command, write, self._limits.message_size if limit is None else limit)
        answered: Deferred[Answer] = self._connection.ask(command, message)
        return answered.addCallback(message.finish)

    def delete(self, number: int) -> Deferred[None]:
        """Mark a message; it is gone after `quit`."""
        return self._done(commands.dele(number))

    def reset(self) -> Deferred[None]:
        """Take all marks off."""
        return self._done(commands.RSET)

    def noop(self) -> Deferred[None]:
        """Nothing, so that the server does not lose its patience."""
        return self._done(commands.NOOP)

    def _done(self, command: Command) -> Deferred[None]:
        answered: Deferred[Answer] = self._connection.ask(command)
        return answered.addCallback(_check, command).addCallback(lambda _: None)

    def quit(self) -> Deferred[None]:
        """Delete what is marked, and close, whatever the answer.

        Fails with REFUSED when something was not deleted; with another kind nobody knows what was.
        """
        def close(result: Any) -> Any:
            self.abort()
            return result

        return self._done(commands.QUIT).addBoth(close)

    def abort(self) -> None:
        """Close at once, with nothing deleted; whatever waits fails with Kind.CLOSED."""
        self._connection.abort()


class _Listed:
    """The sink of a list."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed

    def take(self, octets: bytes) -> None:
        """A piece."""
        self._feed(octets)


class _Message:
    """The sink of a message: counts, and passes on until `write` fails."""

    def __init__(self, command: Command, write: Write, limit: int | None) -> None:
        self._command = command
        self._write = write
        self._limit = limit
        self._octets = 0
        self._failure: Failure | None = None

    def take(self, octets: bytes) -> Deferred[None] | None:
        """A piece."""
        self._octets += len(octets)
        if self._limit is not None and self._octets > self._limit:
            raise UpstreamError(Kind.LARGE, f"{self._command.shown}: the message has more than {self._limit} octets")
        if self._failure is not None:
            return None
        try:
            waiting = self._write(octets)
        except Exception:
            self._failure = Failure()
            return None
        return waiting.addCallbacks(lambda _: None, self._failed) if waiting is not None else None

    def _failed(self, failure: Failure) -> None:
        self._failure = failure

    def finish(self, answer: Answer) -> int | Failure:
        """The message has come to its end, or was refused."""
        _check(answer, self._command)
        return self._octets if self._failure is None else self._failure


def _check(answer: Answer, command: Command) -> Answer:
    if not answer.positive:
        raise UpstreamError(Kind.REFUSED, f"{command.shown}: {answer}", answer.code)
    return answer
