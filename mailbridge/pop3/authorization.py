"""The verbs before login: CAPA STLS USER PASS APOP AUTH UTF8 QUIT (RFC 1939 section 4 and 7, RFC 2595, RFC 5034).

A verb takes the core and its argument, and returns the reply, or nothing when the answer comes from outside.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from mailbridge.pop3 import dialogue
from mailbridge.sasl.mechanisms import IN_CLEAR
from mailbridge.sasl.values import Apop, Cancelled, Challenge, Password, SASLError

if TYPE_CHECKING:
    from mailbridge.pop3.server import Server, Verb

_DIGEST = re.compile(rb"([!-~\x80-\xff]+) +([0-9a-fA-F]{32}) *")
SASL_LINE = 12_290  # a SASL response of RFC 4954's 12,288 octets and CR LF


def capa(server: Server, argument: bytes) -> bytes:
    """What can be said now."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    return server.trifle(dialogue.capabilities(server.can_stls, server.clear_allowed, _names(server)))


def stls(server: Server, argument: bytes) -> bytes:
    """Begin TLS, unless octets of an injector wait behind the command (USENIX Security 2021, NO STARTTLS)."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    if server.tls:
        return server.wrong(dialogue.TLS_ALREADY)
    if not server.can_stls:
        return server.wrong(dialogue.NO_TLS)
    server.wait(server.begin_tls)
    return b""


def user(server: Server, argument: bytes) -> bytes:
    """Remember the name for PASS."""
    if not server.clear_allowed:
        return server.wrong(dialogue.USE_STLS)
    name = argument.strip(b" ")
    if not name:
        return server.wrong(dialogue.SYNTAX)
    server.user = name
    return server.trifle(dialogue.SEND_PASS)


def password(server: Server, argument: bytes) -> bytes:
    """Log in; the password is all that follows the first space, spaces included."""
    name, server.user = server.user, None
    if not server.clear_allowed:
        return server.wrong(dialogue.USE_STLS)
    if name is None:
        return server.wrong(dialogue.NEED_USER)
    if not argument:
        return server.wrong(dialogue.SYNTAX)
    server.wait(partial(server.outside.login, Password(name, argument)))
    return b""


def apop(server: Server, argument: bytes) -> bytes:
    """Log in with a digest of the greeting's time stamp and the password."""
    if not server.stamp:
        return server.wrong(dialogue.UNKNOWN_COMMAND)
    if not server.login_allowed:
        return server.wrong(dialogue.USE_STLS)
    match = _DIGEST.fullmatch(argument)
    if match is None:
        return server.wrong(dialogue.SYNTAX)
    server.wait(partial(server.outside.login, Apop(match[1], server.stamp, match[2].lower())))
    return b""


def auth(server: Server, argument: bytes) -> bytes:
    """Begin a SASL exchange, with or without an initial response; without a mechanism, list them."""
    names = _names(server)
    octets, _, response = argument.partition(b" ")
    if not octets:
        listing = "".join(f"{name}\r\n" for name in names).encode("ascii")
        return server.trifle(dialogue.MECHANISMS + listing + dialogue.END)
    name = octets.upper().decode("ascii", "replace")
    mechanisms = server.outside.mechanisms()
    if mechanisms is None or name not in names:
        return server.wrong(dialogue.UNKNOWN_MECHANISM if server.clear_allowed or name not in IN_CLEAR
                            else dialogue.USE_STLS)
    server.exchange = mechanisms.start(name)
    if server.exchange is None:
        return server.wrong(dialogue.UNKNOWN_MECHANISM)
    return respond(server, response or None)


def respond(server: Server, response: bytes | None) -> bytes:
    """Take a line of a SASL exchange in progress."""
    exchange, server.exchange = server.exchange, None
    assert exchange is not None
    try:
        result = exchange.step(response)
    except Cancelled:
        return server.wrong(dialogue.CANCELLED)
    except SASLError:
        return server.wrong(dialogue.BAD_RESPONSE)
    if isinstance(result, Challenge):
        server.exchange = exchange
        return b"+ %b\r\n" % result.data
    server.wait(partial(server.outside.login, result.credentials))
    return b""


def utf8(server: Server, argument: bytes) -> bytes:
    """Agree to UTF-8, which passes unchanged anyway (RFC 6856 section 2.1)."""
    return server.trifle(dialogue.UTF8_ON) if not argument else server.wrong(dialogue.SYNTAX)


def leave(server: Server, argument: bytes) -> bytes:
    """QUIT without a maildrop."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    server.wait(server.hang_up)
    return dialogue.BYE


def _names(server: Server) -> tuple[str, ...]:
    mechanisms = server.outside.mechanisms() if server.login_allowed else None
    return mechanisms.names(server.clear_allowed) if mechanisms is not None else ()


VERBS: dict[bytes, Verb] = {
    b"CAPA": capa,
    b"STLS": stls,
    b"USER": user,
    b"PASS": password,
    b"APOP": apop,
    b"AUTH": auth,
    b"UTF8": utf8,
    b"QUIT": leave,
}
