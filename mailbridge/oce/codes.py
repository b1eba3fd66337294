"""The result codes of an OCE, and what each means for a delivery (reference: oce-usds.md 4.3 and 7.1).

The sign decides for codes that are not in the table: above zero is success, below it failure for good.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import Reply

KILL = -13
UNKNOWN_FUNCTION = -100
NULLSET = 5
REQUEST_PROCESSED = 7
RECEIVED = 1
LOOP = -107


class Means(Enum):
    """What is done about a code."""

    DELIVERED = "delivered"
    AGAIN = "again"
    OUR_FAULT = "our fault"  # the route pauses with an alarm, nothing bounces
    REPEATED = "repeated"  # delivered, but only if we sent it before
    NEVER = "never"


@frozen
class Code:
    """One code: its symbol, its meaning in words, what is done, and the enhanced status code of a bounce (RFC 3463)."""

    id: str
    words: str
    means: Means
    status: str = ""


def _success(id: str, words: str) -> Code:
    return Code(id, words, Means.DELIVERED)


def _fault(id: str, words: str) -> Code:
    return Code(id, words, Means.OUR_FAULT)


def _never(id: str, status: str, words: str) -> Code:
    return Code(id, words, Means.NEVER, status)


CODES: dict[int, Code] = {
    1: _success("MSGRCVD", "message received"),
    2: _success("DATSAV", "data saved"),
    3: _success("MSGSENT", "message sent"),
    4: _success("QPROC", "queue request processed"),
    5: _success("NULLSET", "no data found"),
    7: _success("REQPROC", "request processed"),
    50: _success("MULTSUCC", "all calls succeeded"),
    0: Code("INTERR", "unknown internal error of the OCE", Means.AGAIN),
    -1: _never("INVOCE", "5.1.2", "there is no such OCE"),
    -2: _fault("INVAPP", "the application is not known there; register again"),
    -3: _never("INVMBR", "5.1.1", "there is no such member"),
    -4: _never("INVCOT", "5.1.1", "there is no such coterie"),
    -5: _fault("NOKEY", "the application key is missing; register again"),
    -6: _never("INVDAT", "5.6.0", "the OCE takes the data for invalid"),
    -7: _never("INVTYP", "5.6.0", "the OCE does not know this type of message"),
    -8: _fault("PEND", "the application waits for approval; approve it in the OCE"),
    -9: _never("PERM", "5.7.1", "not permitted"),
    -10: _fault("INVKEY", "the application key is wrong; register again"),
    -11: _fault("INVPASS", "the password is wrong; register again"),
    -13: _fault("KILL", "the OCE told us to stop"),
    -14: _never("PODEXT", "5.7.1", "outside of the OCE's domain"),
    -15: _never("NODEF", "5.7.1", "the OCE has no instruction for it"),
    -16: _never("INVGRP", "5.1.1", "there is no such group"),
    -50: Code("MULTFAIL", "at least one call failed", Means.AGAIN),
    -100: _never("INVFUNC", "5.6.0", "the OCE does not know this function"),
    -101: _never("EMPTY", "5.6.0", "a message without content"),
    -102: _never("INVMSG", "5.6.0", "the OCE could not read the message"),
    -103: Code("FUNCERR", "the function failed in the OCE", Means.AGAIN),
    -104: _fault("NOAPP", "the application is not registered; register again"),
    -105: _fault("OCEAPP", "the other OCE refuses this application"),
    -106: Code("DUPKEY", "a message with this key is there already", Means.REPEATED),
    -107: Code("LOOP", "the message was there already", Means.REPEATED),
    -108: _never("GAVEUP", "5.4.7", "the OCE gave up sending it"),
    -109: _fault("NOAUTH", "the application is not authorised; permit it in the OCE"),
}


def described(num: int, id: str = "") -> Code:
    """The row of a code; for unknown ones its sign decides."""
    known = CODES.get(num)
    if known is not None:
        return known
    if num > 0:
        return _success(id or str(num), "done")
    return _never(id or str(num), "5.0.0", "refused")


def text(num: int, id: str = "") -> str:
    """A code for people: `-3 INVMBR: there is no such member`."""
    code = described(num, id)
    return f"{num} {code.id}: {code.words}"


def outcome(num: int, id: str, words: str, server: str, resend: bool) -> Outcome:
    """What an answer to a pushed message means. `words` are the OCE's own, `resend` says that we tried this before.

    A key that the OCE knows on our first attempt cannot be ours: an alarm, and a retry under a new key (see
    `is_strange`).
    """
    code = described(num, id)
    said = text(num, id) + (f" ({words})" if words else "")
    if code.means is Means.DELIVERED or (code.means is Means.REPEATED and resend):
        return Delivered(said, server)
    if code.means is Means.OUR_FAULT:
        return RouteFailure(said)
    if code.means is Means.NEVER:
        return PermanentFailure(Reply(550, code.status, code.words), said, server)
    return TransientFailure(Reply(450, "4.3.0", code.words), said, server=server)


def is_strange(num: int, resend: bool) -> bool:
    """Whether the OCE says that it has a message that we never sent."""
    return described(num).means is Means.REPEATED and not resend
