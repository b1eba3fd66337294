"""Replies of an SMTP server, read from octets it may have chosen to hurt us (RFC 5321 4.2).

Bounded in every direction: line, lines, octets in all. Codes of one reply must agree, and a 1yz is an error. What is
kept of the text is printable, and what was said in secret is not repeated when the server repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from mailbridge.errors import MailbridgeError
from mailbridge.sasl.mask import Mask, printable

LONGEST_LINE = 4096
MOST_LINES = 256
MOST_OCTETS = 64 * 1024
MOST_SHOWN = 1000
"""Characters of a reply in an error text."""

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
    def closing(self) -> bool:
        """421: the server ends the session (RFC 5321 3.8)."""
        return self.code == 421

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(line for line in self.lines if line)

    def __str__(self) -> str:
        if self.code == 334:  # it may repeat what was said in secret
            return "334 (a challenge)"
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)[:MOST_SHOWN]


class AnswerReader:
    """Takes octets and gives replies. Raises AnswerError from `feed` when the limits or the rules are broken."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[str] = []
        self._size = 0
        self._mask = Mask()

    @property
    def surplus(self) -> bool:
        """Whether octets have arrived that no reply was made of yet."""
        return bool(self._buffer or self._lines)

    @property
    def held(self) -> int:
        """Octets kept for a reply that is not complete."""
        return len(self._buffer) + self._size

    def hide(self, *secrets: bytes) -> None:
        """Show `***` from now on where a reply repeats one of `secrets`, or eight characters of its base64 form.

        Challenges (334) keep their text; their str does not show it.
        """
        self._mask.hide(*secrets)

    def feed(self, octets: bytes) -> Iterator[Answer]:
        """The replies completed by `octets`; take them all before you look at anything else."""
        data = self._buffer + octets
        self._buffer = b""
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            answer = self._take(data[at:end].removesuffix(b"\r"))
            at = end + 1
            if answer is not None:
                yield answer
        if len(data) - at > LONGEST_LINE:
            raise AnswerError(f"the server sent a line of more than {LONGEST_LINE} octets")
        self._buffer = data[at:]

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
            raise AnswerError(f"the server sent {printable(self._mask.masked(line))[:60]!r}, which is no SMTP reply")
        code, separator, text = match.groups()
        text = text or b""
        if code != b"334":  # a challenge is for the mechanism, to the letter; nobody else is shown it
            text = self._mask.masked(text)
        self._size += len(line)
        if self._lines and code != self._code:
            raise AnswerError(f"the server mixed the codes {self._code.decode()} and {code.decode()} in one reply")
        if len(self._lines) >= MOST_LINES or self._size > MOST_OCTETS:
            raise AnswerError("the server's reply has no end")
        self._code = code
        self._lines.append(printable(text))
        if separator == b"-":
            return None
        lines, self._lines, self._size = self._lines, [], 0
        found = _ENHANCED.match(lines[0])
        enhanced = found.group(1) if found and found.group(1)[0] == code.decode()[0] else ""
        if enhanced:
            lines = [line.removeprefix(enhanced).strip() for line in lines]
        return Answer(int(code), enhanced, tuple(lines))
