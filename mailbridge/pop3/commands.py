"""The commands of a POP3 client, each with what its answer looks like (RFC 1939, 2449, 2595, 5034).

Nothing goes into a command but numbers that are numbers, base64, and names and passwords without control characters,
so no argument can become a second command.
"""

from __future__ import annotations

from base64 import b64encode
from enum import Enum

from attrs import field, frozen

from mailbridge.pop3.failure import Kind, UpstreamError

HIGHEST_NUMBER = 2**31


class Shape(Enum):
    """What an answer consists of."""

    LINE = "one line"
    LOGIN = "one line, or a challenge"
    LIST = "a line, and after +OK a text of one line for each message"
    MESSAGE = "a line, and after +OK a message"


@frozen
class Command:
    """The octets of a command, its answer, and how it stands in a transcript.

    `secrets` are hidden in whatever the server says from now on. One that is `alone` is neither sent before the answer
    to the one before it, nor another before its own answer.
    """

    octets: bytes = field(repr=False)
    shown: str
    shape: Shape = Shape.LINE
    alone: bool = True
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


def _plain(text: str, shape: Shape = Shape.LINE, alone: bool = True) -> Command:
    return Command(text.encode("ascii") + b"\r\n", text, shape, alone)


GREETING = Command(b"", "")
"""Nothing is said: the server speaks first."""
CAPA = _plain("CAPA", Shape.LIST)
STLS = _plain("STLS")
STAT = _plain("STAT", alone=False)
LIST = _plain("LIST", Shape.LIST, alone=False)
UIDL = _plain("UIDL", Shape.LIST, alone=False)
NOOP = _plain("NOOP", alone=False)
RSET = _plain("RSET", alone=False)
QUIT = _plain("QUIT")
CANCEL = _plain("*", Shape.LOGIN)


def retr(number: int) -> Command:
    """A whole message."""
    return _plain(f"RETR {_checked(number)}", Shape.MESSAGE, alone=False)


def top(number: int, lines: int) -> Command:
    """The header of a message and so many lines of its body."""
    if lines < 0:
        raise ValueError("lines are counted from 0")
    return _plain(f"TOP {_checked(number)} {lines:d}", Shape.MESSAGE, alone=False)


def dele(number: int) -> Command:
    """Mark a message as deleted."""
    return _plain(f"DELE {_checked(number)}", alone=False)


def user(name: str) -> Command:
    """The name; PASS follows."""
    return Command(b"USER " + word(name) + b"\r\n", f"USER {name}")


def password(secret: str) -> Command:
    """The password."""
    octets = word(secret)
    return Command(b"PASS " + octets + b"\r\n", "PASS ***", secrets=(octets,))


def apop(name: str, digest: str) -> Command:
    """Name and digest in one."""
    return Command(b"APOP " + word(name) + b" " + digest.encode("ascii") + b"\r\n", f"APOP {name} ***")


def auth(mechanism: str) -> Command:
    """The beginning of a SASL login. Never with an initial response: Microsoft's servers take none, and some lines
    would be too long (RFC 5034 4)."""
    return _plain(f"AUTH {mechanism}", Shape.LOGIN)


def response(octets: bytes, secrets: tuple[bytes, ...]) -> Command:
    """The answer to a challenge."""
    encoded = b64encode(octets)
    return Command(encoded + b"\r\n", "***", Shape.LOGIN, secrets=(encoded, *secrets))


def word(text: str) -> bytes:
    """A name or password as an argument. Raises UpstreamError when it would be more than that; never shows it."""
    octets = text.encode("utf-8", "replace")
    if not text or any(octet < 32 or octet == 127 for octet in octets):
        raise UpstreamError(Kind.LOGIN, "the name or password is empty or has a control character in it")
    return octets


def _checked(number: int) -> int:
    if not 1 <= number <= HIGHEST_NUMBER:
        raise ValueError(f"no message has the number {number}")
    return number
