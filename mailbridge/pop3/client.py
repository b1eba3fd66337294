"""The client's core: commands out, the octets of a server in, answers and pieces of text out, in order.

It keeps what was asked and not answered, so that commands may be pipelined (RFC 2449 6.6) and each answer finds its
question. An answer that nobody asked for, as one that was injected in clear, is an error and is never believed. What
it keeps is what it was given last and not asked for yet. It never touches a socket or a clock.
"""

from __future__ import annotations

from collections import deque

from mailbridge.pop3.answer import LONGEST_LINE, Answer, Challenge, read_answer
from mailbridge.pop3.commands import Command, Shape
from mailbridge.pop3.dottedtext import DottedText
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.sasl.mask import Mask

WINDOW = 64
"""Commands on their way at once: enough to fill a long line, few enough to fit into any socket's buffer."""

Event = Answer | Challenge | bytes | None
"""An answer's first line; a piece of its text; or None: there is no more of the text."""


class Client:
    """One connection. Give it octets by `receive`, then call `next` until it wants more."""

    def __init__(self) -> None:
        self.pipelining = False
        self._data = b""
        self._at = 0
        self._waiting: deque[Command] = deque()
        self._sent: deque[Command] = deque()
        self._text: DottedText | None = None
        self._ended = False
        self._mask = Mask()

    @property
    def front(self) -> Command | None:
        """The command whose answer comes next."""
        return self._sent[0] if self._sent else None

    @property
    def reading(self) -> bool:
        """Whether the text of an answer is coming."""
        return self._text is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is asked, nor anything unread."""
        return not (self._sent or self._waiting or self.buffered)

    @property
    def buffered(self) -> int:
        """Octets that are kept."""
        return len(self._data) - self._at

    def ask(self, command: Command) -> None:
        """Queue a command; `outgoing` says when it is to be sent."""
        self._waiting.append(command)

    def outgoing(self) -> list[Command]:
        """The commands to send now, in order. Raises UpstreamError when the server spoke before it was asked."""
        now: list[Command] = []
        while self._waiting and self._may_send(self._waiting[0]):
            if not self._sent and self.buffered:
                self._unasked()
            command = self._waiting.popleft()
            self._mask.hide(*command.secrets)
            self._sent.append(command)
            now.append(command)
        return now

    def _may_send(self, command: Command) -> bool:
        if not self._sent:
            return True
        free = self.pipelining and not command.alone and not self._sent[-1].alone
        return free and len(self._sent) < WINDOW

    def receive(self, octets: bytes) -> None:
        """Octets from the server."""
        self._data = self._data[self._at:] + octets if self._at < len(self._data) else octets
        self._at = 0

    def next(self) -> tuple[Command, Event] | None:
        """What the octets say next, with the command it belongs to; None when more are needed.

        Raises UpstreamError when the server breaks the rules.
        """
        if self._ended:
            self._ended = False
            return self._sent.popleft(), None
        if self._at == len(self._data):
            return None
        if not self._sent:
            self._unasked()
        command = self._sent[0]
        if self._text is not None:
            return self._piece(command)
        line = self._line()
        if line is None:
            return None
        answer = read_answer(line, self._mask, command.shape is Shape.LOGIN)
        if command.shape in (Shape.LIST, Shape.MESSAGE) and isinstance(answer, Answer) and answer.positive:
            self._text = DottedText()
        else:
            self._sent.popleft()
        return command, answer

    def _piece(self, command: Command) -> tuple[Command, Event] | None:
        assert self._text is not None
        octets, self._at = self._text.take(self._data, self._at)
        if self._text.ended:
            self._text = None
            if not octets:
                return self._sent.popleft(), None
            self._ended = True
        return (command, octets) if octets else None

    def _line(self) -> bytes | None:
        end = self._data.find(b"\n", self._at, self._at + LONGEST_LINE)
        if end < 0:
            if self.buffered >= LONGEST_LINE:
                raise UpstreamError(Kind.PROTOCOL, f"the server sent a line of more than {LONGEST_LINE} octets")
            return None
        line = self._data[self._at:end]
        self._at = end + 1
        return line.removesuffix(b"\r")

    def _unasked(self) -> None:
        """The server speaks and nobody asked: at best it says why it leaves."""
        line = self._line()
        if line is None:
            raise UpstreamError(Kind.PROTOCOL, "the server spoke before it was asked")
        answer = read_answer(line, self._mask, False)
        if isinstance(answer, Answer) and not answer.positive:
            raise UpstreamError(Kind.LOST, f"the server ended the session: {answer}", answer.code)
        raise UpstreamError(Kind.PROTOCOL, f"the server spoke before it was asked: {answer}")
