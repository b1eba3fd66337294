"""A connection to an SMTP or LMTP server: carries out the steps of `smtp.client`, in time, with TLS and a transcript.

One Deferred at a time, which always fires: with what the steps return, or with the one thing that went wrong.
Cancelling it closes the connection at once. An answer that comes before its command is a fault of the server, so a reply injected
in clear, or sent ahead of the content, is never believed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPullProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.edge.transport import set_no_delay
from mailbridge.errors import MailbridgeError
from mailbridge.lines import DotStuffer
from mailbridge.smtp.answer import Answer, AnswerError, AnswerReader
from mailbridge.smtp.steps import LIMITS, Encrypt, Hear, Phase, Say, Step, Steps, Stream

T = TypeVar("T")


class Source(Protocol):
    """The content to send: `size` octets with CR LF line ends, in chunks of at most 64 KiB."""

    size: int

    def chunks(self) -> Iterator[bytes]:
        """From the start, each time."""


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


@implementer(IHandshakeListener, IPullProducer)
class Connection(TwistedProtocol):
    """One connection. `limits` are seconds by phase; `tls()` makes what startTLS takes, `verify(transport)` says what is
    wrong with the certificate; `note(line)` takes transcript lines, `<- ` heard and `-> ` said.
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
        self._clock = clock
        self._limits = {**LIMITS, **(limits or {})}
        self._tls = tls
        self._note = note
        self._verify = verify
        self._reader = AnswerReader()
        self._answers: deque[Answer] = deque()
        self._steps: Steps[Any] | None = None
        self._result: Deferred[Any] | None = None
        self._source: Source | None = None
        self._chunks: Iterator[bytes] | None = None
        self._dots: DotStuffer | None = None
        self._phase = Phase.CONNECT
        self._listening = False
        self._encrypting = False
        self._after_content = False
        self._timer: IDelayedCall | None = None
        self._lost: MailbridgeError | None = None
        self.encrypted = False

    # --- the caller's side --------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether more steps may be run."""
        return self._lost is None and self._steps is None

    def run(self, steps: Steps[T], source: Source | None = None) -> Deferred[T]:
        """Carry out `steps`. `source` is the content for a Stream."""
        if not self.usable:
            raise RuntimeError("the connection is busy or gone")
        self._source = source
        self._after_content = False
        self._steps = steps
        self._result = Deferred(self._cancelled)
        result = self._result
        self._go_on(None)
        return result

    def abort(self) -> None:
        """Close at once."""
        self._lost = self._lost or Interrupted(self._phase, "closed by this side", self._after_content)
        self._stop_timer()
        if self.transport is not None:
            self.transport.abortConnection()

    def _cancelled(self, _result: Deferred[Any]) -> None:
        self._steps = self._result = None
        self._stop_sending()
        self.abort()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _go_on(self, value: Any) -> None:
        """Run the steps until one has to wait."""
        while self._steps is not None:
            try:
                step = self._steps.send(value)
                if self._begin(step):
                    return
            except StopIteration as stop:
                self._finish(stop.value)
                return
            except Exception:
                self._fail(Failure())
                return
            value = self._answers.popleft() if isinstance(step, Hear) else None

    def _begin(self, step: Step) -> bool:
        """Begin a step; True when it has to wait."""
        if isinstance(step, Hear):
            self._phase = step.phase
            if self._answers:
                return False
            self._listening = True
            self._start_timer()
            return True
        if self._answers or self._reader.surplus:
            unasked = self._answers[0] if self._answers else "part of a reply"
            raise AnswerError(f"the server answered before it was asked: {unasked}")
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
            for line in shown.rstrip("\r\n").split("\r\n"):
                self._note(f"-> {line}")
        self.transport.write(step.octets)

    def _finish(self, value: Any) -> None:
        result, self._result, self._steps = self._result, None, None
        self._stop_timer()
        if result is not None:
            result.callback(value)

    def _fail(self, failure: Failure) -> None:
        result, self._result, self._steps = self._result, None, None
        self._stop_timer()
        self._stop_sending()
        if isinstance(failure.value, AnswerError | EarlyAnswer | Interrupted | TLSFailed):
            self.abort()
        if result is not None:
            result.errback(failure)

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
                if self._note is not None:
                    self._note(f"<- {answer}")
                self._answers.append(answer)
                if len(self._answers) > MOST_AHEAD:
                    raise AnswerError("the server sends replies that nobody asked for")
        except AnswerError:
            self._fail(Failure())
            self.abort()
            return
        if self._chunks is not None and self._answers:
            self._fail(Failure(EarlyAnswer(self._answers.popleft())))
        elif self._listening and self._answers:
            self._listening = False
            self._stop_timer()
            self._go_on(self._answers.popleft())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server, the network or TLS ended it."""
        if self._encrypting:
            lost: MailbridgeError = TLSFailed(f"the TLS handshake failed: {_why(reason)}")
        else:
            lost = Interrupted(self._phase, _why(reason), self._after_content)
        self._lost = self._lost or lost
        self._fail(Failure(self._lost))

    # --- TLS ----------------------------------------------------------------------------------------------------------

    def _encrypt(self) -> None:
        if self._tls is None:
            raise TLSFailed("TLS is not set up on this side")
        self._phase = Phase.TLS
        self._encrypting = True
        self._start_timer()
        self._reader.forget()
        self.transport.startTLS(self._tls())

    def handshakeCompleted(self) -> None:
        """TLS stands; the certificate may still be the wrong one."""
        self._encrypting = False
        self._stop_timer()
        wrong = self._verify(self.transport) if self._verify is not None else None
        if wrong is not None:
            self._fail(Failure(TLSFailed(wrong)))
            return
        self.encrypted = True
        self._go_on(None)

    # --- content ------------------------------------------------------------------------------------------------------

    def _stream(self, step: Stream) -> None:
        if self._source is None:
            raise RuntimeError("there is no content to send")
        self._phase = Phase.CONTENT
        self._chunks = self._source.chunks()
        self._dots = None if step.chunked else DotStuffer()
        if step.chunked:
            self.transport.write(b"BDAT %d LAST\r\n" % self._source.size)
        if self._note is not None:
            self._note(f"-> ({self._source.size} octets of content)")
        self._start_timer()
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The transport has room for the next chunk."""
        if self._chunks is None:
            return
        self._stop_timer()
        self._start_timer()
        try:
            chunk = next(self._chunks, None)
        except Exception:
            self._fail(Failure())  # the message cannot be ended now: an end would make half of it a whole one
            self.abort()
            return
        if chunk is not None:
            self.transport.write(self._dots.feed(chunk) if self._dots is not None else chunk)
            return
        end = self._dots.finish() if self._dots is not None else b""
        self._stop_sending()
        self._stop_timer()
        if end:
            self.transport.write(end)
        self._after_content = True
        self._go_on(None)

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` says the rest."""
        self._chunks = None

    def _stop_sending(self) -> None:
        if self._chunks is not None:
            self._chunks = None
            self.transport.unregisterProducer()

    # --- time ---------------------------------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        self._timer = self._clock.callLater(self._limits[self._phase], self._too_slow, self._phase)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _too_slow(self, phase: Phase) -> None:
        self._timer = None
        text = f"nothing from the server for {self._limits[phase]:g} seconds"
        self._fail(Failure(TooSlow(phase, text, self._after_content)))


MOST_AHEAD = 4096
"""Replies that may wait: one for each pipelined recipient, and some."""


def _why(reason: Failure) -> str:
    if reason.check(ConnectionDone):
        return "the server closed the connection"
    if reason.check(CancelledError):
        return "given up"
    return reason.getErrorMessage() or "lost"
