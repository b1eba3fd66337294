"""The verdict on every failure: one table, from what went wrong to what becomes of the delivery.

A failure is transient, permanent, or a fault of our own side that pauses the route with an alarm (DESIGN invariant 7).
The same failure can mean different things at our own smart host, which we are configured for, and at a stranger's MX.
Whatever has no row is transient. Knows no connection: `target/verdicts.py` says which exception is which Trouble.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import Reply
from mailbridge.smtp.answer import Answer
from mailbridge.smtp.steps import Phase


class Way(Enum):
    """Whose server it is: one that our configuration names, or one that DNS names for the recipient's domain."""

    SMART_HOST = "smart host"
    MX = "MX"


class Judgement(Enum):
    """What a failure means for a delivery. PAUSE is for faults of our own side: nothing bounces."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    PAUSE = "pause the route"


class Trouble(Enum):
    """Everything that can go wrong besides an answer of the server."""

    NO_DOMAIN = "the domain does not exist"
    NULL_MX = "the domain takes no mail"
    DNS_FAILED = "the name server failed"
    DNS_TIMEOUT = "the name server did not answer"
    LOOP = "the mail server of the domain is this one"
    UNREACHABLE = "no connection"
    AT_THE_START = "the server did not get as far as taking mail"
    TLS_FAILED = "TLS could not be set up"
    TLS_REFUSED = "the server does without TLS, and we do not"
    LOGIN_FAILED = "the login failed"
    DROPPED = "the connection was lost"
    TOO_SLOW = "the server took too long"
    AFTER_CONTENT = "the connection was lost when all was sent"
    NOT_SMTP = "the server does not speak SMTP"
    TOO_LARGE = "the message is too large for the server"
    UTF8 = "the server does not take UTF-8 addresses"
    EIGHT_BIT = "the server does not take 8-bit content"
    UNABLE = "the server cannot take this message"
    STORE = "the message could not be read"
    SYSTEM = "the system refused"
    TIME = "the attempt took too long"
    STOPPED = "the attempt was stopped"
    NO_TARGET = "the way out is not configured"
    OWN_FAULT = "a fault in mailbridge"


@frozen
class Row:
    """What a failure means at our smart host and at an MX.

    `enhanced` is its status without the class (RFC 3463). `next_server` says whether another server of the same
    destination may do better; `unreachable`, whether the whole lane waits once none did.
    """

    smart_host: Judgement
    mx: Judgement
    enhanced: str
    next_server: bool = False
    unreachable: bool = False

    def judgement(self, way: Way) -> Judgement:
        """What it means there."""
        return self.smart_host if way is Way.SMART_HOST else self.mx


_T, _P, _PAUSE = Judgement.TRANSIENT, Judgement.PERMANENT, Judgement.PAUSE

TROUBLES: dict[Trouble, Row] = {
    # A name in our own configuration that DNS does not know is our fault; a recipient's domain is the sender's.
    Trouble.NO_DOMAIN: Row(_PAUSE, _P, "1.2", next_server=True),
    Trouble.NULL_MX: Row(_PAUSE, _P, "1.10"),
    Trouble.DNS_FAILED: Row(_T, _T, "4.3", next_server=True, unreachable=True),
    Trouble.DNS_TIMEOUT: Row(_T, _T, "4.3", next_server=True, unreachable=True),
    Trouble.LOOP: Row(_PAUSE, _P, "4.6"),
    Trouble.UNREACHABLE: Row(_T, _T, "4.1", next_server=True, unreachable=True),
    Trouble.AT_THE_START: Row(_T, _T, "4.2", next_server=True, unreachable=True),
    Trouble.TLS_FAILED: Row(_PAUSE, _T, "7.5", next_server=True, unreachable=True),
    Trouble.TLS_REFUSED: Row(_PAUSE, _T, "7.4", next_server=True, unreachable=True),
    Trouble.LOGIN_FAILED: Row(_PAUSE, _T, "7.8", unreachable=True),
    Trouble.DROPPED: Row(_T, _T, "4.2", next_server=True),
    Trouble.TOO_SLOW: Row(_T, _T, "4.2", next_server=True),
    Trouble.AFTER_CONTENT: Row(_T, _T, "4.2"),
    Trouble.NOT_SMTP: Row(_T, _T, "5.0", next_server=True),
    Trouble.TOO_LARGE: Row(_P, _P, "3.4"),
    Trouble.UTF8: Row(_P, _P, "6.7"),
    Trouble.EIGHT_BIT: Row(_P, _P, "6.3"),
    Trouble.UNABLE: Row(_P, _P, "6.0"),
    Trouble.STORE: Row(_T, _T, "3.0"),
    Trouble.SYSTEM: Row(_T, _T, "3.0", next_server=True),
    Trouble.TIME: Row(_T, _T, "4.7"),
    Trouble.STOPPED: Row(_T, _T, "3.2"),
    Trouble.NO_TARGET: Row(_PAUSE, _PAUSE, "3.5"),
    Trouble.OWN_FAULT: Row(_T, _T, "3.0"),
}


@frozen
class AnswerRow:
    """What an answer means: the first row whose phases and codes hold it. No phases: any."""

    phases: frozenset[Phase]
    codes: range | tuple[int, ...]
    row: Row


def _of(phases: tuple[Phase, ...], codes: range | tuple[int, ...], row: Row) -> AnswerRow:
    return AnswerRow(frozenset(phases), codes, row)


_4YZ, _5YZ = range(400, 500), range(500, 600)
_OPENING = (Phase.CONNECT, Phase.GREETING, Phase.HELLO)

ANSWERS: tuple[AnswerRow, ...] = (
    # The server goes away (RFC 5321 3.8): at the start another one may stay.
    _of(_OPENING, (421,), Row(_T, _T, "3.2", next_server=True, unreachable=True)),
    _of((), (421,), Row(_T, _T, "3.2")),
    # RFC 5321 3.1 and 4.3.2: a server that takes no mail (554) or none from us.
    _of(_OPENING, _4YZ, Row(_T, _T, "3.2", next_server=True, unreachable=True)),
    _of(_OPENING, _5YZ, Row(_PAUSE, _T, "3.2", next_server=True, unreachable=True)),
    _of(_OPENING, range(200, 400), Row(_T, _T, "5.0", next_server=True, unreachable=True)),  # 250 for a greeting
    _of((Phase.TLS,), _4YZ, Row(_T, _T, "7.0", next_server=True, unreachable=True)),
    _of((Phase.TLS,), _5YZ, Row(_PAUSE, _T, "7.4", next_server=True, unreachable=True)),
    _of((Phase.AUTH,), _4YZ, Row(_T, _T, "7.0", unreachable=True)),
    _of((Phase.AUTH,), _5YZ, Row(_PAUSE, _T, "7.8", unreachable=True)),
    # "Log in first", "TLS first" (RFC 4954 6, RFC 3207 4): of a server that our configuration names.
    _of((Phase.MAIL, Phase.RCPT, Phase.DATA), (530, 534, 535, 538), Row(_PAUSE, _P, "7.0")),
    # RFC 5321 4.5.3.1.10: too many recipients, which some servers call 552.
    _of((Phase.RCPT,), (552,), Row(_T, _T, "5.3")),
    _of((), _4YZ, Row(_T, _T, "0.0")),
    _of((Phase.RESET, Phase.QUIT), _5YZ, Row(_T, _T, "5.0")),
    _of((), _5YZ, Row(_P, _P, "0.0")),
)
_ODD = Row(_T, _T, "5.0")

MAY_REPEAT = "all of the message had been sent: the server may have it, and get it a second time"


def row_of_answer(phase: Phase, code: int) -> Row:
    """The row for a negative answer; one for what makes no sense there, such as 3yz."""
    for each in ANSWERS:
        if code in each.codes and (not each.phases or phase in each.phases):
            return each.row
    return _ODD


def judge(trouble: Trouble, text: str, way: Way, server: str = "") -> Outcome:
    """The outcome of a failure. `text` is one readable sentence, `server` whose doing it was."""
    row = TROUBLES[trouble]
    detail = f"{MAY_REPEAT} ({server or 'server unknown'})" if trouble is Trouble.AFTER_CONTENT else server
    said = text if text.startswith(trouble.value) or not text else f"{trouble.value}: {text}"
    return _outcome(row, way, 0, "", said or trouble.value, detail, "")


def judge_answer(phase: Phase, answer: Answer, way: Way, server: str = "") -> Outcome:
    """The outcome of an answer: Delivered for a positive one to all of the message.

    Whatever else a server says, such as 250 for a greeting, delivers nothing.
    """
    if answer.positive and phase is Phase.END:
        return Delivered(str(answer), server)
    return _outcome(row_of_answer(phase, answer.code), way, answer.code, answer.enhanced, answer.text,
                    f"{server} answered {phase.value}" if server else phase.value, server)


def _outcome(row: Row, way: Way, code: int, enhanced: str, text: str, detail: str, server: str) -> Outcome:
    judgement = row.judgement(way)
    if judgement is Judgement.PAUSE:
        parts = (detail, " ".join(part for part in (str(code or ""), enhanced, text) if part))
        return RouteFailure(": ".join(part for part in parts if part))
    digit = "5" if judgement is Judgement.PERMANENT else "4"
    if not enhanced.startswith(digit):
        enhanced = f"{digit}.{row.enhanced}"
    if str(code)[0] != digit:
        code = 554 if digit == "5" else 452 if code == 552 else 451
    reply = Reply(code, enhanced, text)
    if judgement is Judgement.PERMANENT:
        return PermanentFailure(reply, detail, server)
    return TransientFailure(reply, detail, row.unreachable, server)
