"""Reading message content off the wire: DATA in bulk, BDAT by count, and the newline policy for both.

A reader never stops before the true end of the content: what it does not take (too large, a stray CR or LF) is read and
dropped, and `fault` is the reply to give at the end. So no octet of a body can ever be run as a command.
"""

from __future__ import annotations

import re

from mailbridge import reply
from mailbridge.lines import DotUnstuffer, EitherEndUnstuffer, Normaliser, has_bare_newline
from mailbridge.reply import Reply

_END_LINE = re.compile(r"[ !-~]{1,16}")


def parse_end_line(text: str) -> bytes:
    r"""The line of a nonstandard end of data, `b" ."` for `\r\n .\r\n` (escapes or the characters themselves).

    Raises ValueError for what is not one short line, or would end mail in the middle.
    """
    plain = text.replace("\\r", "\r").replace("\\n", "\n")
    line = plain.removeprefix("\r\n").removesuffix("\r\n")
    if len(plain) != len(line) + 4 or _END_LINE.fullmatch(line) is None:
        raise ValueError(r"must be one line of 1 to 16 printable characters between \r\n and \r\n, like \r\n .\r\n")
    if line == ".":
        raise ValueError("is the standard end of data, which always ends it; leave this setting out")
    if line.startswith("."):
        raise ValueError("must not begin with a dot: text lines that do are sent with two")
    if not line.strip():
        raise ValueError("must have a visible character: lines of spaces are in ordinary mail")
    return line.encode("ascii")


class ContentPolicy:
    """Size limit and newline policy over the content of one message; state is kept from chunk to chunk."""

    __slots__ = ("_held", "_limit", "_normaliser", "fault", "size")

    def __init__(self, limit: int, normalise: bool) -> None:
        self.size = 0
        self.fault: Reply | None = None
        self._limit = limit
        self._normaliser = Normaliser() if normalise else None
        self._held = b""

    def take(self, octets: bytes) -> bytes:
        """The octets to store, empty once there is a fault. A CR at the end waits for the octet after it."""
        if self.fault is not None:
            return b""
        self.size += len(octets)
        if self.size > self._limit:
            self.fault = reply.TOO_LARGE
            return b""
        if self._normaliser is not None:
            return self._normaliser.feed(octets)
        if self._held:
            octets, self._held = self._held + octets, b""
        if octets.endswith(b"\r"):
            octets, self._held = octets[:-1], b"\r"
        if has_bare_newline(octets):
            self.fault = reply.BARE_NEWLINE
            return b""
        return octets

    def finish(self) -> bytes:
        """What was held back, at the end of all content."""
        if self._normaliser is not None:
            return b"" if self.fault is not None else self._normaliser.finish()
        if self._held and self.fault is None:
            self.fault = reply.BARE_NEWLINE
        return b""


class IncomingContent:
    """The content of one message: a DATA command, or the chunks of BDAT one after another.

    Octets given out are clean (dots off, CR LF only) and ready to store. `fault` refuses the message; it may also be
    set from outside, and then the octets are only read. `complete` is true once the last octet is in, `cut` where
    another line than a dot was the end.
    """

    __slots__ = ("_dots", "_last", "_left", "_policy", "complete", "cut", "fault")

    def __init__(self, limit: int, normalise: bool) -> None:
        self.fault: Reply | None = None
        self.complete = False
        self.cut = False
        self._policy = ContentPolicy(limit, normalise)
        self._dots: DotUnstuffer | None = None
        self._left = 0
        self._last = True

    def begin_data(self, end_line: bytes = b"") -> None:
        """Read up to CR LF dot CR LF and no other end (RFC 5321 4.1.1.4), or, for who is known to send it, up to
        `end_line` between CR LFs.
        """
        self._dots = EitherEndUnstuffer(end_line) if end_line else DotUnstuffer()

    def begin_chunk(self, length: int, last: bool) -> None:
        """Read exactly `length` octets (RFC 3030 2)."""
        self._left = length
        self._last = last

    def feed(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """(octets to store, None before the end of the text or chunk, else what follows it)."""
        if self._dots is not None:
            octets, rest = self._dots.feed(chunk)
        else:
            octets = chunk[: self._left]
            self._left -= len(octets)
            rest = None if self._left else chunk[len(octets):]
        policy = self._policy
        clean = policy.take(octets) if octets and self.fault is None else b""
        if rest is not None and self._last:
            self.complete = True
            self.cut = self._dots is not None and self._dots.cut
            clean += policy.finish()
        if self.fault is None:
            self.fault = policy.fault
        return clean, rest
