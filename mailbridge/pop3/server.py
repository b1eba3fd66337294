"""The POP3 server's core: takes lines apart, keeps the state of RFC 1939 and the order of answers, obeys the limits.

It promises: one reply for each command, in order, however the octets were split; nothing kept beyond the buffer that
the adapter lets grow; no more than BUDGET commands or ROOM octets of answers in one call. A command whose answer comes
from outside makes the rest wait. It never touches a socket, a clock or the store: see `outside.Outside`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mailbridge.limits import Limits
from mailbridge.pop3 import authorization, dialogue, transaction
from mailbridge.pop3.listing import Listing
from mailbridge.pop3.outside import Outside
from mailbridge.pop3.settings import OFF, REQUIRE, Settings
from mailbridge.sasl.exchange import Exchange

Verb = Callable[["Server", bytes], bytes]

BUDGET = 100  # commands in one reactor turn
ROOM = 65_536  # octets of answers in one reactor turn, but for the last answer
COMMAND_LINE = 255  # RFC 2449 section 4, CR LF included

_EMPTY = Listing(())


class Server:
    """One session. The adapter feeds `receive` and answers what it is asked through the methods named in `Outside`.

    `waiting`: a command awaits its answer. `paused`: the client does not read. `updating`: QUIT is removing messages.
    """

    __slots__ = (
        "_buffer", "_can_tls", "_effect", "_limits", "_loopback", "_more", "_out", "_settings", "_verbs", "_working",
        "closed", "errors", "exchange", "junk", "listing", "outside", "paused", "render", "stamp", "tls", "updating",
        "user", "waiting",
    )

    def __init__(self, outside: Outside, settings: Settings, limits: Limits, *, tls: bool, can_tls: bool,
                 loopback: bool, stamp: bytes = b"") -> None:
        """`can_tls`: there is a certificate for STLS. `stamp` is the time stamp for APOP in brackets, or empty."""
        self.outside = outside
        self.tls = tls
        self.stamp = stamp
        self.user: bytes | None = None
        self.exchange: Exchange | None = None
        self.listing = _EMPTY
        self.render: Callable[[bytes | Iterator[bytes]], bytes] | None = None
        self.errors = self.junk = 0
        self.waiting = self.paused = self.updating = self.closed = False
        self._settings = settings
        self._limits = limits
        self._can_tls = can_tls
        self._loopback = loopback
        self._verbs = authorization.VERBS
        self._buffer = b""
        self._out: list[bytes] = []
        self._effect: Callable[[], None] | None = None
        self._working = self._more = False

    # --- what may be done now -----------------------------------------------------------------------------------------

    @property
    def can_stls(self) -> bool:
        """Whether STLS is offered now."""
        return self._can_tls and not self.tls and self._settings.starttls != OFF

    @property
    def login_allowed(self) -> bool:
        """Whether anybody may log in now, by whatever means."""
        return self.tls or self._settings.starttls != REQUIRE

    @property
    def clear_allowed(self) -> bool:
        """Whether a password may be sent as it is."""
        return self.tls or (self.login_allowed and (self._loopback or self._settings.login_in_clear))

    @property
    def logged_in(self) -> bool:
        """Whether a maildrop is open (the TRANSACTION state)."""
        return self._verbs is transaction.VERBS

    @property
    def backlog(self) -> int:
        """Octets received that wait for their turn."""
        return len(self._buffer)

    # --- octets in ----------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._buffer = self._buffer + octets if self._buffer else octets
        if not self._more:
            self.work()

    def go_on(self) -> None:
        """The next reactor turn has come."""
        self._more = False
        self.work()

    def pause(self) -> None:
        """The client does not read: answer nothing more for now."""
        self.paused = True

    def resume(self) -> None:
        """The client has read everything."""
        self.paused = False
        self.work()

    def lost(self) -> None:
        """The connection has gone: nothing is said or done any more."""
        self.closed = True
        self._buffer = b""
        self.exchange = self.user = self.render = self._effect = None

    # --- answers from outside -----------------------------------------------------------------------------------------

    def answer(self, reply: bytes) -> None:
        """The reply to the command that waits."""
        self.waiting = False
        self.render = None
        self._out.append(reply)
        self.work()

    def opened(self, sizes: Sequence[int]) -> None:
        """The login succeeded and the maildrop is open, with the size of each message."""
        self.listing = Listing(sizes)
        self._verbs = transaction.VERBS
        self.user = self.exchange = None
        self.errors = self.junk = 0
        self.answer(b"+OK %d messages (%d octets)\r\n" % (self.listing.count, self.listing.octets))

    def refused(self, reply: bytes) -> None:
        """The login failed."""
        self.waiting = False
        self._out.append(self.wrong(reply))
        self.work()

    def retrieved(self, found: bytes | Iterator[bytes]) -> None:
        """The message that was fetched."""
        render, self.render = self.render, None
        assert render is not None
        self.waiting = False
        self._out.append(render(found))
        self.work()

    def streamed(self) -> None:
        """All pieces of a long answer have been sent."""
        self.waiting = False
        self.work()

    def secured(self) -> None:
        """TLS begins; what was said in clear is forgotten (RFC 2595 section 4)."""
        self.tls = True
        self.waiting = False
        self.user = self.exchange = None

    def updated(self, reply: bytes) -> None:
        """QUIT has removed what it could."""
        self.updating = False
        self._out.append(reply)
        self.wait(self.hang_up)
        self.work()

    # --- for the verbs ------------------------------------------------------------------------------------------------

    def wrong(self, reply: bytes) -> bytes:
        """Count an error of the client's: `reply`, or the last word when there were too many."""
        self.errors += 1
        if self.errors < self._limits.errors:
            return reply
        self.wait(self.hang_up)
        return dialogue.TOO_MANY_ERRORS

    def trifle(self, reply: bytes) -> bytes:
        """Count a command that moves no mail: `reply`, or the last word when there were too many in a row."""
        self.junk += 1
        if self.junk < self._limits.junk_commands:
            return reply
        self.wait(self.hang_up)
        return dialogue.TOO_MANY_COMMANDS

    def wait(self, effect: Callable[[], None]) -> None:
        """Take no more commands; run `effect` when the answers so far have been written."""
        self.waiting = True
        self._effect = effect

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Answer the command at hand in pieces."""
        self.wait(partial(self.outside.stream, pieces))

    def begin_tls(self) -> None:
        """Say so and begin, unless somebody has put octets behind STLS."""
        if self._buffer:
            self.outside.write(dialogue.INJECTED)
            self.hang_up()
        else:
            self.outside.write(dialogue.BEGIN_TLS)
            self.outside.start_tls()

    def hang_up(self) -> None:
        """The session is over."""
        self.lost()
        self.outside.close()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Answer the commands that can be answered now, one reactor turn's worth."""
        if self._working or self._more or self.paused:
            return
        self._working = True
        budget = BUDGET
        try:
            while not self.closed:
                if not self.waiting and not self.paused and self._buffer:
                    budget = self._commands(budget)
                if self._out:
                    octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
                    self._out.clear()
                    self.outside.write(octets)
                effect, self._effect = self._effect, None
                if effect is None:
                    break
                effect()
        finally:
            self._working = False
        if not budget and self._buffer and not self.waiting and not self.paused:
            self._more = True
            self.outside.come_back()

    def _commands(self, budget: int) -> int:
        """Take lines until one has to wait, none is left, or the budget is spent. How much of the budget is left."""
        buffer, out, start, room = self._buffer, self._out, 0, ROOM
        while budget and not self.waiting:
            end = buffer.find(b"\n", start) + 1
            if not end:
                left = len(buffer) - start
                if left > COMMAND_LINE and left > self._longest(buffer[start:start + 5]):
                    out.append(self._too_long())
                break
            reply = self._command(buffer[start:end])
            start = end
            budget -= 1
            if reply:
                out.append(reply)
                room -= len(reply)
                if room <= 0:
                    budget = 0
        self._buffer = buffer[start:]
        return budget

    def _command(self, line: bytes) -> bytes:
        """The reply to one line with its line end; nothing when it comes later."""
        if len(line) > COMMAND_LINE and len(line) > self._longest(line[:5]):
            return self._too_long()
        if line[-2:] != b"\r\n" or b"\0" in line or line.find(b"\r") != len(line) - 2:
            return self.wrong(dialogue.NOT_CRLF)
        line = line[:-2]
        if self.exchange is not None:
            return authorization.respond(self, line)
        name, _, argument = line.partition(b" ")
        verb = self._verbs.get(name) or self._verbs.get(name.upper())
        return verb(self, argument) if verb is not None else self._unknown(name.upper())

    def _unknown(self, name: bytes) -> bytes:
        if self.logged_in:
            return self.wrong(dialogue.LOGGED_IN_ALREADY if name in authorization.VERBS else dialogue.UNKNOWN_COMMAND)
        return self.wrong(dialogue.NEED_LOGIN if name in transaction.VERBS else dialogue.UNKNOWN_COMMAND)

    def _longest(self, beginning: bytes) -> int:
        """The longest line that may begin so: the responses of a SASL exchange are longer than commands."""
        sasl = self.exchange is not None or (beginning.upper() == b"AUTH " and not self.logged_in)
        return authorization.SASL_LINE if sasl else COMMAND_LINE

    def _too_long(self) -> bytes:
        self.wait(self.hang_up)
        return dialogue.LINE_TOO_LONG
