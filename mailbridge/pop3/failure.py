"""What can go wrong with a POP3 server that mail is fetched from: one error, with the kind that decides what follows.

The text may be logged and shown: it is printable, short, and never holds a password, a token or a form of one.
"""

from __future__ import annotations

from enum import Enum

from mailbridge.errors import MailbridgeError


class Kind(Enum):
    """What went wrong. After REFUSED the session goes on; after every other kind it has ended."""

    CONNECT = "connect"
    """The server cannot be reached: no such name, refused, no connection in time."""
    TLS = "tls"
    """No TLS, or not with the certificate that was wanted."""
    LOGIN = "login"
    """The login was refused, or there was none that may be used."""
    REFUSED = "refused"
    """The server said -ERR to its greeting or to a command."""
    PROTOCOL = "protocol"
    """The server does not speak POP3, or broke a limit."""
    TIME = "time"
    """The server was silent, or slower than it may be."""
    LOST = "lost"
    """The connection ended."""
    LARGE = "large"
    """A message went over its limit; the session was cut, because its rest would have come."""
    CLOSED = "closed"
    """This side closed the session."""


class UpstreamError(MailbridgeError):
    """`code` is the response code of RFC 2449 and 3206 where the server gave one: `IN-USE`, `LOGIN-DELAY`, `AUTH`,
    `SYS/TEMP`, `SYS/PERM`."""

    def __init__(self, kind: Kind, text: str, code: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.code = code
