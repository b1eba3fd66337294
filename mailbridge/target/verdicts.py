"""Which trouble an exception is: the adapters' half of `queue.verdict`.

The first row that an exception belongs to decides; what belongs to none is a fault of our own, and transient.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import error as net
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.names import error as dns

from mailbridge.edge.connection import EarlyAnswer, Interrupted, TLSFailed, TooSlow
from mailbridge.edge.sending import TLSRefused
from mailbridge.errors import StoreError
from mailbridge.outcome import Outcome
from mailbridge.queue.verdict import TROUBLES, Row, Trouble, Way, judge, judge_answer, row_of_answer
from mailbridge.smtp.answer import Answer, AnswerError
from mailbridge.smtp.client import LoginFailed, Refused, Unable
from mailbridge.smtp.steps import Phase

_START = frozenset({Phase.CONNECT, Phase.GREETING, Phase.HELLO, Phase.TLS, Phase.AUTH})
_UNABLE = {"5.3.4": Trouble.TOO_LARGE, "5.6.7": Trouble.UTF8, "5.6.3": Trouble.EIGHT_BIT}


def _interrupted(error: Interrupted) -> Trouble:
    if error.after_content:
        return Trouble.AFTER_CONTENT
    if error.phase in _START:
        return Trouble.AT_THE_START
    return Trouble.TOO_SLOW if isinstance(error, TooSlow) else Trouble.DROPPED


ROWS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Trouble | Callable[..., Trouble]], ...] = (
    (Interrupted, _interrupted),
    (Unable, lambda error: _UNABLE.get(error.enhanced, Trouble.UNABLE)),
    (LoginFailed, Trouble.LOGIN_FAILED),
    (TLSFailed, Trouble.TLS_FAILED),
    (TLSRefused, Trouble.TLS_REFUSED),
    (AnswerError, Trouble.NOT_SMTP),
    (StoreError, Trouble.STORE),
    (dns.DNSNameError, Trouble.NO_DOMAIN),
    (dns.DNSQueryTimeoutError, Trouble.DNS_TIMEOUT),
    ((dns.DomainError, dns.ResolverError, net.DNSLookupError), Trouble.DNS_FAILED),
    (net.ConnectError, Trouble.UNREACHABLE),
    ((net.ConnectionLost, net.ConnectionDone, net.ConnectionAborted), Trouble.DROPPED),
    (CancelledError, Trouble.STOPPED),
    ((TimeoutError, DeferredTimeout), Trouble.TIME),
    (OSError, Trouble.SYSTEM),
)


def trouble(error: BaseException) -> Trouble:
    """What went wrong. Refusals and EarlyAnswer are answers, not troubles: see `outcome`."""
    for kinds, found in ROWS:
        if isinstance(error, kinds):
            return found if isinstance(found, Trouble) else found(error)
    return Trouble.OWN_FAULT


def answer_of(error: BaseException) -> tuple[Phase, Answer] | None:
    """The server's answer that an exception carries, with its phase."""
    if isinstance(error, Refused):
        return error.phase, error.answer
    if isinstance(error, EarlyAnswer):
        return Phase.END, error.answer
    if isinstance(error, LoginFailed) and error.answer is not None and not error.answer.positive:
        return Phase.AUTH, error.answer
    return None


def outcome(error: BaseException, way: Way, server: str = "") -> Outcome:
    """What a failure means for all recipients that it concerns."""
    answered = answer_of(error)
    if answered is not None:
        return judge_answer(*answered, way, server)
    found = trouble(error)
    text = type(error).__name__ if found is Trouble.OWN_FAULT else str(error)
    return judge(found, text, way, server)


def try_next(error: BaseException) -> bool:
    """Whether another server of the same destination may do better."""
    return _row(error).next_server


def _row(error: BaseException) -> Row:
    answered = answer_of(error)
    if answered is not None:
        return row_of_answer(answered[0], answered[1].code)
    return TROUBLES[trouble(error)]
