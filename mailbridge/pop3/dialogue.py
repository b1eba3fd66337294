"""Every fixed thing the POP3 server says, ready for the wire.

Response codes: `[IN-USE]` RFC 2449 8.1.2, `[SYS/TEMP]`, `[SYS/PERM]` and `[AUTH]` RFC 3206. No answer holds octets
of the client's. A test walks the table: each is one line of at most 512 octets (RFC 1939 section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

OK = b"+OK\r\n"
END = b".\r\n"
SEND_PASS = b"+OK send PASS\r\n"
DELETED = b"+OK deleted at QUIT\r\n"
BYE = b"+OK goodbye\r\n"
BEGIN_TLS = b"+OK begin TLS\r\n"
UTF8_ON = b"+OK UTF-8 it is\r\n"
CAPABILITIES = b"+OK this server can\r\n"
MECHANISMS = b"+OK login mechanisms\r\n"
UIDS = b"+OK unique ids\r\n"
TOP_FOLLOWS = b"+OK top of the message\r\n"

UNKNOWN_COMMAND = b"-ERR unknown command\r\n"
NOT_CRLF = b"-ERR end the line with CR LF and keep CR, LF and NUL out of it\r\n"
LINE_TOO_LONG = b"-ERR line too long; goodbye\r\n"
SYNTAX = b"-ERR the arguments of this command are wrong\r\n"
NOT_A_NUMBER = b"-ERR that is not a message number\r\n"
NO_SUCH_MESSAGE = b"-ERR no such message\r\n"
NEED_LOGIN = b"-ERR log in first\r\n"
LOGGED_IN_ALREADY = b"-ERR only before login\r\n"
NEED_USER = b"-ERR say USER first\r\n"
NO_TLS = b"-ERR STLS is not offered here\r\n"
TLS_ALREADY = b"-ERR TLS is on already\r\n"
INJECTED = b"-ERR octets after STLS came before the handshake; goodbye\r\n"
USE_STLS = b"-ERR [AUTH] use STLS first\r\n"
WRONG_PASSWORD = b"-ERR [AUTH] name or password is wrong\r\n"
LOGIN_LATER = b"-ERR [AUTH] too many wrong passwords from here; try again later\r\n"
UNKNOWN_MECHANISM = b"-ERR that login mechanism is not offered; see CAPA\r\n"
BAD_RESPONSE = b"-ERR that is not a response this login mechanism takes\r\n"
CANCELLED = b"-ERR login given up\r\n"
IN_USE = b"-ERR [IN-USE] another session has this maildrop; try again later\r\n"
NOT_NOW = b"-ERR [SYS/TEMP] a fault on this side; try again later\r\n"
NOT_REMOVED = b"-ERR [SYS/TEMP] some deleted messages were not removed; try again later\r\n"
DAMAGED = b"-ERR [SYS/PERM] this message cannot be read; tell the operator\r\n"
TOO_MANY_CONNECTIONS = b"-ERR [SYS/TEMP] too many connections; try again later\r\n"
TOO_MANY_ERRORS = b"-ERR too many errors; goodbye\r\n"
TOO_MANY_COMMANDS = b"-ERR too many commands without mail; goodbye\r\n"


def greeting(name: str, stamp: bytes) -> bytes:
    """The first line; `stamp` is the time stamp for APOP in its brackets, or empty."""
    line = b"+OK %b POP3 ready" % name.encode("ascii", "replace")
    return (b"%b %b\r\n" % (line, stamp)) if stamp else line + b"\r\n"


@lru_cache(maxsize=64)
def capabilities(stls: bool, user: bool, mechanisms: Sequence[str]) -> bytes:
    """The answer to CAPA (RFC 2449 section 5, RFC 2595, RFC 5034, RFC 6856).

    `stls` and `user` say whether these can be used now, `mechanisms` what AUTH takes now.
    """
    lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER"]
    if stls:
        lines.append("STLS")
    if user:
        lines.append("USER")
    if mechanisms:
        lines.append("SASL " + " ".join(mechanisms))
    lines.append("IMPLEMENTATION mailbridge")
    return CAPABILITIES + "".join(f"{line}\r\n" for line in lines).encode("ascii") + END


def wire_table() -> dict[str, bytes]:
    """Every fixed line by the name it has in this module."""
    return {name: value for name, value in globals().items() if isinstance(value, bytes)}
