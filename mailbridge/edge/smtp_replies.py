"""What comes of a question that a session had to wait for, as its Reply."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge import reply
from mailbridge.accounts.login import LoginLater, WrongPassword
from mailbridge.reply import Reply

_log = Logger()


def etrn_reply(count: int) -> Reply:
    """How many deliveries ETRN has made due (RFC 1985 5.3)."""
    return Reply(253, "2.0.0", f"Trying {count} that waited") if count else reply.NOTHING_WAITS


def etrn_failed(failure: Failure) -> Reply:
    """The queue could not be told; the log has why."""
    _log.failure("ETRN failed", failure)
    return reply.ETRN_UNAVAILABLE


def same(answer: Reply) -> Reply:
    """A Reply as it is."""
    return answer


def login_refused(failure: Failure) -> Reply:
    """Why a login failed: the client's fault, the throttle's word, or our own fault, which the log has."""
    if failure.check(WrongPassword):
        return reply.WRONG_PASSWORD
    if failure.check(LoginLater):
        return reply.LOGIN_LATER
    _log.failure("a login could not be judged", failure)
    return reply.AUTH_UNAVAILABLE
