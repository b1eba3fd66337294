"""What `sendmail.sendmessage` fires with: a result, or a failure that is keyed and has one readable line."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mailbridge.edge.connection import EarlyAnswer, TLSFailed, TooSlow
from mailbridge.edge.contentflow import ContentChanged
from mailbridge.edge.sending import TLSRefused
from mailbridge.errors import MailbridgeError
from mailbridge.sasl.client import MechanismFailed
from mailbridge.sasl.values import SASLError
from mailbridge.smtp.answer import Answer, AnswerError
from mailbridge.smtp.client import LoginFailed, Refused, Unable


class Kind(StrEnum):
    """What a failure is about: the key of POE's error hash, in words."""

    CONFIGURATION = "configuration"
    MESSAGE = "message"
    CONNECTION = "connection"
    TLS = "tls"
    LOGIN = "login"
    TIMEOUT = "timeout"
    SERVER = "server"


@frozen
class Refusal:
    """One recipient that was refused: Tcllib's {address code diagnostic}."""

    address: str
    code: int
    text: str


@frozen
class SendResult:
    """The message is with the server. `refused` may name some recipients all the same.

    `server` is host:port, `answer` its last word; `tls` protocol and cipher or None, `mechanism` that of the login.
    """

    server: str
    answer: str
    refused: tuple[Refusal, ...] = ()
    tls: str | None = None
    mechanism: str | None = None
    context: object = None
    transcript: tuple[str, ...] | None = None


class SendFailure(MailbridgeError):
    """The message was not sent. `line` is one readable sentence, `reasons` has what each server tried came to.

    `code` is the SMTP code of the last answer, 0 if there was none; `refused` names the recipients that were refused;
    `maybe_sent` warns that all content had gone out when the connection ended, so that a repeat may be a second copy.
    """

    def __init__(
        self,
        kind: Kind,
        line: str,
        *,
        code: int = 0,
        reasons: tuple[tuple[str, str], ...] = (),
        refused: tuple[Refusal, ...] = (),
        maybe_sent: bool = False,
        context: object = None,
        transcript: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(line)
        self.kind = kind
        self.line = line
        self.code = code
        self.reasons = reasons
        self.refused = refused
        self.maybe_sent = maybe_sent
        self.context = context
        self.transcript = transcript


def kind_of(error: Exception) -> Kind:
    """The key of what went wrong in a session."""
    if isinstance(error, TooSlow):
        return Kind.TIMEOUT
    if isinstance(error, TLSFailed | TLSRefused):
        return Kind.TLS
    if isinstance(error, LoginFailed | SASLError | MechanismFailed):
        return Kind.LOGIN
    if isinstance(error, Refused | Unable | AnswerError | EarlyAnswer):
        return Kind.SERVER
    if isinstance(error, ContentChanged):
        return Kind.MESSAGE
    return Kind.CONNECTION


def code_of(error: Exception) -> int:
    """The SMTP code of what went wrong, 0 if there was none."""
    answer = getattr(error, "answer", None)
    return answer.code if isinstance(answer, Answer) else 0
