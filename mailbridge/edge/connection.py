"""A connection to an SMTP or LMTP server: carries out the steps of `smtp.client`, in time, with TLS and a transcript.

One Deferred at a time, which always fires: with what the steps return, or with the one thing that went wrong.
Cancelling it closes the connection at once. An answer that comes before its command is a fault of the server, so a
reply injected in clear, or sent ahead of the content, is never believed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.edge.contentflow import ContentFlow, Source
from mailbridge.edge.deadline import Deadline
from mailbridge.edge.transport import set_no_delay
from mailbridge.errors import MailbridgeError
from mailbridge.smtp.answer import Answer, AnswerError, AnswerReader
from mailbridge.smtp.client import LoginFailed, Refused, Unable
from mailbridge.smtp.steps import LIMITS, Encrypt, Hear, Phase, Say, Step, Steps, Stream

T = TypeVar("T")

MOST_WAITING = 1024 * 1024
"""Octets of replies that may wait for their turn: some hundred for each pipelined recipient, and many spare."""


class Interrupted(MailbridgeError):
    """The connection ended. `after_content` says that all content had gone out: the server may have the message."""

    def __init__(self, phase: Phase, text: str, after_content: bool) -> None:
        super().__init__(f"{phase.value}: {text}")
        self.phase = phase
        self.after_content = after_content


class TooSlow(Interrupted):
    """A phase took longer than its limit."""


class TLSFailed(MailbridgeError):
    """The handshake failed, or the certificate is not the one that was wanted."""


class EarlyAnswer(MailbridgeError):
    """The server refused the content while it was still coming: its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{Phase.CONTENT.value}: {answer}")
        self.answer = answer


@implementer(IHandshakeListener)
class Connection(Protocol):
    """One connection. `limits` are seconds by phase; `tls()` makes what startTLS takes, `verify(transport)` says what
    is wrong with the certificate; `note(line)` takes transcript lines, `<- ` heard and `-> ` said.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        limits: Mapping[Phase, float] | None = None,
        tls: Callable[[], object] | None = None,
        note: Callable[[str], object] | None = None,
        verify: Callable[[Any], str | None] | None = None,
    ) -> None:
        self._limits = {**LIMITS, **(limits or {})}
        self._deadline = Deadline(clock, self._too_slow)
        self._tls = tls
        self._note = note
        self._verify = verify
        self._reader = AnswerReader()
        self._answers: deque[Answer] = deque()
        self._waiting_octets = 0
        self._steps: Steps[Any] | None = None
        self._result: Deferred[Any] | None = None
        self._source: Source | None = None
        self._flow: ContentFlow | None = None
        self._phase = Phase.CONNECT
        self._listening = False
        self._encrypting = False
        self.after_content = False
        self._farewell = False
        self._lost: Exception | None = None
        self.encrypted = False

    # --- the caller's side --------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether more steps may be run: nothing is under way, and the server has not said goodbye, nor anything that
        nobody asked for."""
        unasked = self._farewell or self._answers or self._reader.surplus
        return self._lost is None and self._steps is None and not unasked

    @property
    def buffered(self) -> int:
        """Octets from the server that are kept."""
        return self._reader.held + self._waiting_octets

    def run(self, steps: Steps[T], source: Source | None = None) -> Deferred[T]:
        """Carry out `steps`. `source` is the content for a Stream. Raises RuntimeError while others are under way."""
        if self._steps is not None:
            raise RuntimeError("the connection is busy")
        if self._lost is not None:
            return fail(self._lost)
        self._source = source
        self.after_content = False
        self._steps = steps
        result: Deferred[T] = Deferred(self._cancelled)
        self._result = result
        self._go_on()
        return result

    def abort(self) -> None:
        """Close at once."""
        self._end(Interrupted(self._phase, "closed by this side", self.after_content))

    def _cancelled(self, _result: Deferred[Any]) -> None:
        if self._steps is not None:
            self._steps.close()
        self._steps = self._result = None
        self.abort()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _go_on(self, value: Any = None, error: Exception | None = None) -> None:
        """Run the steps until one has to wait; `error` is raised in them, where they wait."""
        while self._steps is not None:
            try:
                step = self._steps.send(value) if error is None else self._steps.throw(error)
            except StopIteration as stop:
                self._finish().callback(stop.value)
                return
            except Exception as reason:
                if not isinstance(reason, Refused | Unable | LoginFailed):
                    self._end(reason)
                self._finish().errback(Failure())
                return
            value = error = None
            try:
                if self._begin(step):
                    return
            except Exception as reason:
                self._end(reason)
                error = reason
            else:
                value = self._next_answer() if isinstance(step, Hear) else None

    def _finish(self) -> Deferred[Any]:
        result, self._result, self._steps = self._result, None, None
        self._listening = False
        self._deadline.stop()
        assert result is not None
        return result

    def _begin(self, step: Step) -> bool:
        """Begin a step; True when it has to wait."""
        if isinstance(step, Hear):
            self._phase = step.phase
            if self._answers:
                return False
            if self._lost is not None:
                raise self._lost
            self._listening = True
            self._deadline.set(self._limits[step.phase])
            return True
        if self._answers or self._reader.surplus:
            unasked = self._answers[0] if self._answers else "part of a reply"
            raise AnswerError(f"the server answered before it was asked: {unasked}")
        if self._lost is not None:
            raise self._lost
        if isinstance(step, Say):
            self._say(step)
            return False
        if isinstance(step, Encrypt):
            self._encrypt()
        else:
            self._stream(step)
        return True

    def _say(self, step: Say) -> None:
        if self._note is not None:
            shown = step.shown if step.shown is not None else step.octets.decode("utf-8", "replace")
            for line in shown.removesuffix("\r\n").split("\r\n"):
                self._note(f"-> {line}")
        self._reader.hide(*step.secrets)
        self.transport.write(step.octets)

    def _end(self, reason: Exception) -> None:
        """Nothing more is said or heard on this connection."""
        if self._lost is None:
            self._lost = reason
        self._deadline.stop()
        self._stop_sending()
        if self.transport is not None:
            self.transport.abortConnection()

    def _break_off(self, reason: Exception) -> None:
        """End, and tell the steps. What was heard before is still theirs."""
        self._end(reason)
        if self._steps is None:
            return
        if self._listening and self._answers:
            self._listening = False
            self._go_on(self._next_answer())
        else:
            self._go_on(error=reason)

    # --- octets -------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection stands; `run` may be called."""
        set_no_delay(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Octets from the server."""
        if self._lost is not None:
            return
        try:
            for answer in self._reader.feed(data):
                self._heard(answer)
        except AnswerError as error:
            self._break_off(error)
            return
        if not self._answers:
            return
        if self._flow is not None:
            answer = self._next_answer()
            early = f"the server said {answer} before it had the content"
            self._break_off(EarlyAnswer(answer) if answer.code >= 400 else AnswerError(early))
        elif self._listening:
            self._listening = False
            self._go_on(self._next_answer())

    def _heard(self, answer: Answer) -> None:
        if self._note is not None and answer.code == 334:
            self._note(f"<- {answer}")
        elif self._note is not None:
            enhanced = f"{answer.enhanced} " if answer.enhanced else ""
            for left, line in zip(range(len(answer.lines) - 1, -1, -1), answer.lines, strict=True):
                self._note(f"<- {answer.code}{'-' if left else ' '}{enhanced}{line}")
        self._answers.append(answer)
        self._farewell = self._farewell or answer.closing
        self._waiting_octets += _weight(answer)
        if self._waiting_octets > MOST_WAITING:
            raise AnswerError("the server sends replies that nobody asked for")

    def _next_answer(self) -> Answer:
        answer = self._answers.popleft()
        self._waiting_octets -= _weight(answer)
        return answer

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server, the network or TLS ended it."""
        if self._lost is not None:
            return
        if self._encrypting:
            self._break_off(TLSFailed(f"the TLS handshake failed: {_why(reason)}"))
        else:
            self._break_off(Interrupted(self._phase, _why(reason), self.after_content))

    # --- TLS ----------------------------------------------------------------------------------------------------------

    def _encrypt(self) -> None:
        if self._tls is None:
            raise TLSFailed("TLS is not set up on this side")
        self._phase = Phase.TLS
        self._encrypting = True
        self._deadline.set(self._limits[Phase.TLS])
        self._reader.forget()
        self.transport.startTLS(self._tls())

    def handshakeCompleted(self) -> None:
        """TLS stands; the certificate may still be the wrong one."""
        if self._lost is not None or not self._encrypting:
            return
        self._encrypting = False
        wrong = self._verify(self.transport) if self._verify is not None else None
        if wrong is not None:
            self._break_off(TLSFailed(wrong))
            return
        self.encrypted = True
        self._go_on()

    # --- content ------------------------------------------------------------------------------------------------------

    def _stream(self, step: Stream) -> None:
        if self._source is None:
            raise RuntimeError("there is no content to send")
        self._phase = Phase.CONTENT
        if self._note is not None:
            self._note(f"-> ({self._source.size} octets of content)")
        self._deadline.set(self._limits[Phase.CONTENT])
        self._flow = ContentFlow(self.transport, self._source, step.chunked, self._moved, self._streamed)
        self._flow.start()

    def _moved(self) -> None:
        self._deadline.set(self._limits[Phase.CONTENT])

    def _streamed(self, error: Exception | None) -> None:
        self._flow = None
        if error is not None:
            self._break_off(error)  # the message cannot be ended now: an end would make half of it a whole one
            return
        self.after_content = True
        self._go_on()

    def _stop_sending(self) -> None:
        flow, self._flow = self._flow, None
        if flow is not None:
            flow.stop()

    # --- time ---------------------------------------------------------------------------------------------------------

    def _too_slow(self) -> None:
        phase = self._phase
        text = f"nothing from the server for {self._limits[phase]:g} seconds"
        self._break_off(TooSlow(phase, text, self.after_content))


def _weight(answer: Answer) -> int:
    """About what an answer takes in memory."""
    return sum(len(line) + 64 for line in answer.lines) + 64


def _why(reason: Failure) -> str:
    if reason.check(ConnectionDone, ConnectionLost):
        return "the server closed the connection"
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(detail[-1]) for detail in error.args[0]) or "an error of TLS"
    return reason.getErrorMessage() or "lost"
