"""What a sender is told of one recipient: action and status of a notice, made of a delivery and its outcome (RFC 3464).

Who wants to hear what is decided here too (RFC 3461 4.1, 5.2).
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

from mailbridge.outcome import Delivered, Outcome, PermanentFailure, TransientFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Wishes

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_GIVEN_UP = "4.4.7"  # RFC 3463 3.5: delivery time expired
_NO_ANSWER = "no server has taken the message"


class Action(Enum):
    """RFC 3464 2.3.3. Relayed: passed on to a system that sends no notices. Expanded: to several maildrops."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@frozen
class Fate:
    """What became of one recipient. `said` are the words of `server`, or our own when there is none.

    `attempted` is when it was tried last, `retry_until` when it will be given up; seconds since 1970. One that is
    delayed without a `retry_until` is not tried again: it waits for somebody else.
    """

    recipient: str
    action: Action
    status: str
    original: str | None = None
    server: str = ""
    said: str = ""
    attempted: float | None = None
    retry_until: float | None = None


def wants(wishes: Wishes, word: str) -> bool:
    """Whether the sender wants to hear of FAILURE, DELAY or SUCCESS; of success only when asked for."""
    return word in wishes.notify or (not wishes.notify and word != "SUCCESS")


def failed(recipient: str, wishes: Wishes, outcome: Outcome, now: float) -> Fate:
    """Given up: for good, or because no attempt succeeded in time."""
    status = _status(outcome.reply, "5") if isinstance(outcome, PermanentFailure) else _GIVEN_UP
    return Fate(recipient, Action.FAILED, status, wishes.original, *_words(outcome), now)


def delayed(recipient: str, wishes: Wishes, outcome: Outcome, now: float, until: float) -> Fate:
    """Not delivered yet."""
    status = _status(outcome.reply, "4") if isinstance(outcome, TransientFailure) else "4.0.0"
    return Fate(recipient, Action.DELAYED, status, wishes.original, *_words(outcome), now, until)


def wants_unclaimed(wishes: Wishes) -> bool:
    """Whether the sender wants to hear that nobody has taken the message: it may be late, or lost."""
    return wants(wishes, "DELAY") or wants(wishes, "FAILURE")


def unclaimed(recipient: str, wishes: Wishes, outcome: Outcome, now: float) -> Fate:
    """Handed over in time, and not taken: late, and not tried again by us."""
    status = _status(outcome.reply, "4") if isinstance(outcome, TransientFailure) else "4.0.0"
    return Fate(recipient, Action.DELAYED, status, wishes.original, *_words(outcome), now)


def delivered(recipient: str, wishes: Wishes, outcome: Delivered, now: float) -> Fate:
    """Delivered, or passed on."""
    action = Action.DELIVERED if outcome.final else Action.RELAYED
    return Fate(recipient, action, "2.0.0", wishes.original, outcome.server, outcome.detail if outcome.server else "",
                now)


def arrived(recipient: str, wishes: Wishes, maildrops: int, now: float) -> Fate:
    """In the maildrop, or in those of all members of an alias (RFC 3461 5.2.7)."""
    action = Action.DELIVERED if maildrops == 1 else Action.EXPANDED
    return Fate(recipient, action, "2.0.0", wishes.original, attempted=now)


def _words(outcome: Outcome) -> tuple[str, str]:
    """(server, what it said). A fault of our own route is for the operator: its reason is told to nobody else."""
    if not isinstance(outcome, PermanentFailure | TransientFailure):
        return "", _NO_ANSWER
    return outcome.server, str(outcome.reply) if outcome.server else outcome.reply.text


def _status(reply: Reply, digit: str) -> str:
    if reply.enhanced.startswith(digit) and _STATUS.fullmatch(reply.enhanced):
        return reply.enhanced
    return f"{digit}.0.0"
