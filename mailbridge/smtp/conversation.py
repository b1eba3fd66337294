"""The mechanics of an SMTP session: lines out of octets, replies in order, waiting, and who has had enough.

What the lines mean is `smtp.server`'s business. Pipelined commands wait while a question is open (RFC 2920), all
replies to one segment leave together, and no session runs more than `COMMANDS_PER_TURN` before others get their turn.
"""

from __future__ import annotations

from collections.abc import Callable

from mailbridge import reply
from mailbridge.limits import Limits
from mailbridge.reply import Reply

COMMANDS_PER_TURN = 100
"""A flood of NOOP must not starve the writer of the store, which shares the interpreter with us."""


class Conversation:
    """After each call look at `closing` (close once the output is sent), `wants_tls` and `has_more`."""

    __slots__ = (
        "_errors", "_input", "_junk", "_limits", "_on_answer", "_out", "_reading", "closing", "has_more", "normalise",
        "waiting", "wants_tls",
    )

    def __init__(self, limits: Limits, normalise: bool) -> None:
        self._limits = limits
        self._input = b""
        self._out: list[bytes] = []
        self._errors = 0
        self._junk = 0
        self._on_answer: Callable[[Reply], None] | None = None
        self._reading = False
        self.normalise = normalise
        self.closing = False
        self.wants_tls = False
        self.has_more = False
        self.waiting = False

    @property
    def buffered(self) -> int:
        """Octets received and not yet looked at."""
        return len(self._input)

    def receive(self, data: bytes) -> bytes:
        """Take octets from the client; the octets to send back."""
        self._input = self._input + data if self._input else data
        return self._run()

    def resume(self) -> bytes:
        """Go on after `has_more`."""
        return self._run()

    def answer(self, answer: Reply) -> bytes:
        """The answer to a question left open, and what it lets go on."""
        then, self._on_answer = self._on_answer, None
        if self.closing or then is None:
            return b""
        self.waiting = False
        then(answer)
        return self._run()

    def close(self, farewell: Reply) -> bytes:
        """End the session from this side."""
        self.closing = True
        self._input = b""
        return farewell.wire

    # --- octets in ----------------------------------------------------------------------------------------------------

    def _run(self) -> bytes:
        data, self._input = self._input, b""
        budget = COMMANDS_PER_TURN
        self.has_more = False
        at = 0
        while at < len(data) and not (self.waiting or self.closing or self.wants_tls):
            if self._reading:
                data, at = self._read_content(data[at:] if at else data), 0
                continue
            end = data.find(b"\n", at)
            line_size = (end if end >= 0 else len(data)) - at
            if line_size > self._longest_line():
                self._reply(reply.LINE_TOO_LONG)
                self.closing = True
                break
            if end < 0:
                break
            if not budget:
                self.has_more = True
                break
            budget -= 1
            line = data[at:end]
            at = end + 1
            if line[-1:] == b"\r":
                line = line[:-1]
            elif not self.normalise:
                line = b"\0"  # a lone LF ends no line here; answering beats leaving the client to wait
            self._line(line)
        if self.closing:
            self._input = b""
        elif self.wants_tls:
            if at < len(data):  # octets that came in clear behind STARTTLS (CVE-2011-0411): never run
                self.wants_tls = False
                self._out = self._out[:-1]  # not ready any more
                self._reply(reply.INJECTED)
                self.closing = True
        else:
            self._input = data[at:] if at else data
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def _longest_line(self) -> int:
        """The limit of the next line, in octets."""
        raise NotImplementedError

    def _line(self, line: bytes) -> None:
        """Obey one line, without its CR LF. A NUL or CR in it is the sign of a line that was no line."""
        raise NotImplementedError

    def _read_content(self, data: bytes) -> bytes:
        """Take content while `_reading`; what follows its end."""
        raise NotImplementedError

    def _reply(self, answer: Reply) -> None:
        self._out.append(answer.wire)

    def _fail(self, answer: Reply) -> None:
        """Send a refusal and count it."""
        self._out.append(answer.wire)
        if answer.code < 500:
            return
        self._errors += 1
        if self._errors >= self._limits.errors:
            self._out.append(reply.TOO_MANY_ERRORS.wire)
            self.closing = True

    def _count_junk(self) -> None:
        self._junk += 1
        if self._junk > self._limits.junk_commands:
            self._reply(reply.TOO_MANY_COMMANDS)
            self.closing = True

    def _ask(self, answer: Reply | None, then: Callable[[Reply], None]) -> None:
        """Use an answer that is there, or wait for it."""
        if answer is None:
            self.waiting = True
            self._on_answer = then
        else:
            then(answer)
