"""Replies of an SMTP server, read from octets it may have chosen to hurt us (RFC 5321 4.2).

Bounded in every direction: line, lines, octets in all. Codes of one reply must agree, and a 1yz is an error. What is
kept of the text is printable. Whatever arrives beyond the replies that were asked for stays in `surplus`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from mailbridge.errors import MailbridgeError

LONGEST_LINE = 4096
MOST_LINES = 256
MOST_OCTETS = 64 * 1024

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")


class AnswerError(MailbridgeError):
    """The server does not speak SMTP; the text says what it did. The connection is of no more use."""


@frozen
class Answer:
    """One reply: its code, the enhanced code or an empty text, and its lines without codes."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """2yz."""
        return 200 <= self.code < 300

    @property
    def transient(self) -> bool:
        """4yz."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5yz."""
        return self.code >= 500

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(line for line in self.lines if line)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class AnswerReader:
    """Takes octets and gives replies. Raises AnswerError from `feed` when the limits or the rules are broken."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[str] = []
        self._size = 0

    @property
    def surplus(self) -> bool:
        """Whether octets have arrived that no reply was made of yet."""
        return bool(self._buffer or self._lines)

    def feed(self, octets: bytes) -> Iterator[Answer]:
        """The replies completed by `octets`."""
        self._buffer += octets
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[:end], self._buffer[end + 1:]
            answer = self._take(line.removesuffix(b"\r"))
            if answer is not None:
                yield answer
        if len(self._buffer) > LONGEST_LINE:
            raise AnswerError(f"the server sent a line of more than {LONGEST_LINE} octets")

    def forget(self) -> None:
        """Drop what is unread (the start of TLS: nothing said in clear counts)."""
        self._buffer = b""
        self._lines = []
        self._size = 0

    def _take(self, line: bytes) -> Answer | None:
        if len(line) > LONGEST_LINE:
            raise AnswerError(f"the server sent a line of more than {LONGEST_LINE} octets")
        match = _LINE.fullmatch(line)
        if match is None:
            raise AnswerError(f"the server sent {_printable(line)[:60]!r}, which is no SMTP reply")
        code, separator, text = match.groups()
        self._size += len(line)
        if self._lines and code != self._code:
            raise AnswerError(f"the server mixed the codes {self._code.decode()} and {code.decode()} in one reply")
        if len(self._lines) >= MOST_LINES or self._size > MOST_OCTETS:
            raise AnswerError("the server's reply has no end")
        self._code = code
        self._lines.append(_printable(text or b""))
        if separator == b"-":
            return None
        lines, self._lines, self._size = self._lines, [], 0
        found = _ENHANCED.match(lines[0])
        enhanced = found.group(1) if found and found.group(1)[0] == code.decode()[0] else ""
        if enhanced:
            lines = [line.removeprefix(enhanced).strip() for line in lines]
        return Answer(int(code), enhanced, tuple(lines))


def _printable(octets: bytes) -> str:
    return "".join(c if c.isprintable() else "?" for c in octets.decode("utf-8", "replace"))
