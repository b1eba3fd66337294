"""A connection to a POP3 server: carries `pop3.client.Client` on a transport, in time, with TLS and a transcript.

Each command has a Deferred, which always fires: with the answer, or with an UpstreamError. A text goes to its sink as
it comes; while the sink asks for a pause, nothing is read. Cancelling any Deferred closes the connection at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define
from OpenSSL import SSL
from twisted.internet import protocol
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.edge.deadline import Deadline
from mailbridge.edge.transport import set_no_delay
from mailbridge.pop3 import commands
from mailbridge.pop3.answer import Answer, Challenge
from mailbridge.pop3.client import Client
from mailbridge.pop3.commands import Command, Shape
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.upstream import UpstreamLimits

MINUTE = 60.0


class Sink(Protocol):
    """Where a text goes. `take` may return a Deferred to wait for, which never fails, and may raise UpstreamError to
    end the session."""

    def take(self, octets: bytes) -> Deferred[None] | None:
        """A piece."""


@define(eq=False)
class _Asked:
    """A command on its way and who waits for it."""

    command: Command
    result: Deferred[Any]
    sink: Sink | None
    answer: Answer | None = None


@implementer(IHandshakeListener)
class Connection(protocol.Protocol):
    """One connection. `tls()` makes what startTLS takes, `verify(transport)` says what is wrong with the certificate;
    `note(line)` takes transcript lines, `<- ` heard and `-> ` said."""

    transport: Any

    def __init__(
        self, clock: IReactorTime, limits: UpstreamLimits, tls: Callable[[], object],
        verify: Callable[[Any], str | None], note: Callable[[str], object] | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._tls = tls
        self._verify = verify
        self._note = note
        self._client = Client()
        self._asked: deque[_Asked] = deque()
        self._handshake: Deferred[None] | None = None
        self._deadline = Deadline(clock, self._too_slow)
        self._timed: tuple[_Asked | None, bool] = (None, False)
        self._began = 0.0
        self._octets = self._octets_before = 0
        self._pumping = self._held = False
        self._lost: UpstreamError | None = None
        self.error: UpstreamError | None = None

    # --- the caller's side --------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether more may be asked."""
        return self.error is None and self._lost is None

    @property
    def buffered(self) -> int:
        """Octets from the server that are kept."""
        return self._client.buffered

    def pipeline(self) -> None:
        """The server takes commands before it has answered (RFC 2449 6.6)."""
        self._client.pipelining = True

    def ask(self, command: Command, sink: Sink | None = None) -> Deferred[Any]:
        """Fires with the Answer (or Challenge), after the text has gone into `sink` if there was one."""
        if self.error is not None:
            return fail(_again(self.error))
        asked = _Asked(command, Deferred(lambda _: self._cancelled(asked)), sink)
        self._asked.append(asked)
        self._client.ask(command)
        self._pump()
        return asked.result

    def encrypt(self) -> Deferred[None]:
        """Begin TLS. Fires when the handshake is done and the certificate is the right one."""
        if not self._client.idle:
            self._fail(UpstreamError(Kind.PROTOCOL, "the server sent more in clear when TLS was to begin"))
        if self.error is not None:
            return fail(_again(self.error))
        waiting: Deferred[None] = Deferred(lambda _: self._cancelled(None))
        self._handshake = waiting
        self._deadline.set(self._limits.tls)
        self.transport.startTLS(self._tls())
        return waiting

    def abort(self) -> None:
        """Close at once; whatever waits fails with Kind.CLOSED."""
        self._fail(_closed())

    def _cancelled(self, asked: _Asked | None) -> None:
        """Who cancels a wait is told so by Deferred itself; the others hear that it was closed."""
        if asked is None:
            self._handshake = None
        elif asked in self._asked:
            self._asked.remove(asked)
        self._fail(_closed())

    # --- octets -------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection stands; `ask` may be called."""
        set_no_delay(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Octets from the server."""
        if self.error is None:
            self._octets += len(data)
            self._client.receive(data)
            self._pump()

    def _pump(self) -> None:
        """Take what has arrived, say what may be said, until there is no more or a sink wants to wait."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self.error is None:
                if not self._held and (event := self._client.next()) is not None:
                    self._take(*event)
                elif not self._say():
                    break
        except UpstreamError as error:
            self._fail(error)
        finally:
            self._pumping = False
        if self.error is None and self._lost is not None and not self._held:
            self._fail(self._lost)
        self._watch()

    def _say(self) -> bool:
        """Send the commands whose turn it is; whether there were any."""
        if self._lost is not None:
            return False
        now = self._client.outgoing()
        if self._note is not None:
            for command in now:
                if command.octets:
                    self._note(f"-> {command.shown}")
        octets = b"".join([command.octets for command in now])
        if octets:
            self.transport.write(octets)
        return bool(now)

    def _take(self, command: Command, event: Answer | Challenge | bytes | None) -> None:
        asked = self._asked[0]
        if isinstance(event, bytes):
            waiting = asked.sink.take(event) if asked.sink is not None else None
            if waiting is not None and not waiting.called:
                self._hold(waiting)
            return
        if event is not None:
            if self._note is not None:
                self._note(f"<- {event}")
            if self._client.reading:
                asked.answer = event if isinstance(event, Answer) else None
                return
        self._asked.popleft()
        asked.result.callback(asked.answer if event is None else event)

    def _hold(self, waiting: Deferred[None]) -> None:
        self._held = True
        self.transport.pauseProducing()
        waiting.addCallback(self._go_on)

    def _go_on(self, _result: object) -> None:
        self._held = False
        if self.error is None:
            self._timed = (None, False)
            if self._lost is None:
                self.transport.resumeProducing()
            self._pump()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The server, the network or TLS ended it. What was heard before is still told."""
        if self.error is not None or self._lost is not None:
            return
        if self._handshake is not None:
            self._fail(UpstreamError(Kind.TLS, f"the TLS handshake failed: {_why(reason)}"))
            return
        self._lost = UpstreamError(Kind.LOST, f"{self._doing()}: {_why(reason)}")
        self._pump()

    def _fail(self, error: UpstreamError) -> None:
        """The end, for everybody who waits."""
        if self.error is not None:
            return
        self.error = error
        self._deadline.stop()
        if self.transport is not None:
            self.transport.abortConnection()
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.errback(_again(error))
        while self._asked:
            self._asked.popleft().result.errback(_again(error))

    # --- TLS ----------------------------------------------------------------------------------------------------------

    def handshakeCompleted(self) -> None:
        """TLS stands; the certificate may still be the wrong one."""
        handshake = self._handshake
        if self.error is not None or handshake is None:
            return
        wrong = self._verify(self.transport)
        if wrong is not None:
            self._fail(UpstreamError(Kind.TLS, wrong))
            return
        self._handshake = None
        self._deadline.stop()
        handshake.callback(None)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Set the deadline anew when something else is waited for than before."""
        if self.error is not None or self._handshake is not None:
            return
        asked = self._asked[0] if self._asked else None
        timed = (asked, self._client.reading)
        if timed == self._timed:
            return
        self._timed = timed
        if asked is None:
            self._deadline.stop()
            return
        self._began = self._clock.seconds()
        self._octets_before = self._octets
        if self._client.reading:
            self._deadline.set(MINUTE)
        else:
            self._deadline.set(self._limits.quit if asked.command is commands.QUIT else self._limits.reply)

    def _too_slow(self) -> None:
        if self._handshake is not None:
            self._fail(UpstreamError(Kind.TIME, f"no TLS handshake within {self._limits.tls:g} seconds"))
            return
        if self._held:  # it is this side that takes its time
            self._deadline.set(MINUTE)
            return
        asked, reading = self._timed
        if not reading or asked is None:
            limit = self._clock.seconds() - self._began
            self._fail(UpstreamError(Kind.TIME, f"{self._doing()}: no answer for {limit:.0f} seconds"))
            return
        came = self._octets - self._octets_before
        listed = self._clock.seconds() - self._began
        if came < self._limits.least_a_minute:
            self._fail(UpstreamError(Kind.TIME, f"{self._doing()}: {came} octets in the last minute"))
        elif asked.command.shape is Shape.LIST and listed >= self._limits.listing:
            self._fail(UpstreamError(Kind.TIME, f"{self._doing()}: the list took more than {listed:.0f} seconds"))
        else:
            self._octets_before = self._octets
            self._deadline.set(MINUTE)

    def _doing(self) -> str:
        return (self._asked[0].command.shown if self._asked else "") or "greeting"


def _again(error: UpstreamError) -> UpstreamError:
    """The same for somebody else who waits: an exception collects the traces of all who raise it."""
    return UpstreamError(error.kind, str(error), error.code)


def _closed() -> UpstreamError:
    return UpstreamError(Kind.CLOSED, "closed by this side")


def _why(reason: Failure) -> str:
    if reason.check(ConnectionDone, ConnectionLost):
        return "the server closed the connection"
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(detail[-1]) for detail in error.args[0]) or "an error of TLS"
    return reason.getErrorMessage() or "lost"
