"""What a client's part of an SMTP session is made of: steps that somebody with a connection carries out.

The client (`smtp.client`) is generators: they yield a step, get its result sent in, and return what became of it. So
the whole protocol reads from top to bottom, without I/O, and the driver owns octets, time and cancellation.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, TypeVar

from attrs import field, frozen

from mailbridge.smtp.answer import Answer


class Phase(Enum):
    """The phases of RFC 5321 4.5.3.2, each with its time limit in seconds."""

    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "EHLO"
    TLS = "TLS handshake"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    END = "end of data"
    RESET = "RSET"
    QUIT = "QUIT"


LIMITS: dict[Phase, float] = {
    Phase.CONNECT: 30.0,
    Phase.GREETING: 300.0,
    Phase.HELLO: 300.0,
    Phase.TLS: 60.0,
    Phase.AUTH: 300.0,
    Phase.MAIL: 300.0,
    Phase.RCPT: 300.0,
    Phase.DATA: 120.0,
    Phase.CONTENT: 180.0,
    Phase.END: 600.0,
    Phase.RESET: 20.0,
    Phase.QUIT: 5.0,
}
"""Seconds without progress (RFC 5321 4.5.3.2); CONNECT, TLS, RESET and QUIT are ours."""


@frozen
class Say:
    """Send octets; `shown` stands in transcripts instead of them when they hold a secret. No result.

    `secrets` are hidden in whatever the server says from now on: some repeat what they did not understand.
    """

    octets: bytes = field(repr=False)
    shown: str | None = None
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@frozen
class Hear:
    """Wait for one reply. Result: its Answer."""

    phase: Phase


@frozen
class Encrypt:
    """Begin TLS; nothing unread may be left from before. No result."""


@frozen
class Stream:
    """Send the content of the message, dotted for DATA or in chunks for BDAT; ends it too. No result."""

    chunked: bool = False


Step = Say | Hear | Encrypt | Stream
T = TypeVar("T")
Steps = Generator[Step, Any, T]
"""A part of a session: yields steps, is sent their results, returns a T."""


def hear(phase: Phase) -> Steps[Answer]:
    """One reply."""
    answer: Answer = yield Hear(phase)
    return answer
