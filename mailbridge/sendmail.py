"""Sending one message by SMTP or LMTP, for any Twisted program: `sendmessage`.

Unites what POE::Component::Client::SMTP and Tcllib's `smtp` can do. The Deferred always fires, once: with a `SendResult`,
or with a `SendFailure` that is keyed and has one readable line. Cancelling it closes the connection at once. Nothing
defaults to an address of anybody, passwords never travel in clear unless told, and no text holds a secret.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import Message
from email.policy import SMTP as SMTP_POLICY
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from mailbridge.clock import rfc5322_date
from mailbridge.compose import Composed, ComposeError, Wishes, compose
from mailbridge.edge.clienttls import Trust
from mailbridge.edge.connection import EarlyAnswer, Interrupted, TLSFailed, TooSlow
from mailbridge.edge.sending import (
    Conversation,
    Login,
    Manner,
    Server,
    TLSPolicy,
    TLSRefused,
    open_session,
    say_ignored,
)
from mailbridge.errors import AddressError, MailbridgeError
from mailbridge.sasl.client import ClientMechanism, External, OAuthBearer, XOAuth2, for_password
from mailbridge.sasl.values import SASLError
from mailbridge.smtp import client
from mailbridge.smtp.answer import Answer, AnswerError
from mailbridge.smtp.outgoing import Outgoing, Recipient
from mailbridge.smtp.steps import Phase

CHUNK = 64 * 1024
DEFAULT_PORT = 25


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
    """The message is with the server. `refused` may name some recipients all the same (`at_least_one`)."""

    server: str
    answer: str
    refused: tuple[Refusal, ...] = ()
    tls: str | None = None
    mechanism: str | None = None
    context: object = None
    transcript: tuple[str, ...] | None = None


class SendFailure(MailbridgeError):
    """The message was not sent. `line` is one readable sentence, `reasons` has what each server tried came to.

    `code` is the SMTP code of the last answer, 0 if there was none; `maybe_sent` warns that all content had gone out
    when the connection ended.
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


def sendmessage(
    reactor: Any,
    message: bytes | str | Message | None = None,
    *,
    servers: str | Sequence[str] = ("localhost",),
    ports: int | Sequence[int] = (),
    client_name: str | None = None,
    originator: str | None = None,
    recipients: str | Sequence[str] | None = None,
    headers: Sequence[tuple[str, str]] = (),
    bcc: str = "deliver",
    at_least_one: bool = False,
    queue: bool = False,
    message_file: str | Path | None = None,
    file_handle: IO[bytes] | None = None,
    tls: str = "opportunistic",
    tls_policy: TLSPolicy | None = None,
    trust: Trust | None = None,
    username: str | None = None,
    password: str | None = None,
    token: str | Callable[[], Any] | None = None,
    two_step: bool = False,
    external: bool = False,
    password_in_clear: bool = False,
    login_required: bool = True,
    timeout: float = 120.0,
    limits: Mapping[Phase, float] | None = None,
    bind_address: str | None = None,
    bind_port: int = 0,
    lmtp: bool = False,
    notify: Sequence[str] = (),
    ret: str | None = None,
    envid: str | None = None,
    context: object = None,
    transaction_log: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Deferred[SendResult]:
    """Send a message to the first of `servers` that will talk to us. Fails with SendFailure, and with nothing else.

    * `message` is the whole message; `message_file` and then `file_handle` win over it. Bare CR or LF become CR LF.
    * `servers` and `ports` are walked in tandem; a missing port is 25 (465 for `tls="implicit"`).
    * `originator` empty is the null sender; None takes From of `headers` or of the message. `recipients` may be
      "from-message"; None takes To, Cc, Bcc and Dcc of `headers` (see `compose.Wishes`).
    * `tls`: opportunistic, require, implicit or off; `tls_policy(code, text)` returns "secure" or "insecure" when TLS
      cannot be had (default: secure when a login would follow). `trust` says whom to believe; default: verified, except
      that opportunistic TLS without a login takes any certificate.
    * Login by `username` and `password`, `token` (a text, or a callable that may return a Deferred) or `external`.
    * `timeout` seconds for everything from before the connect; `limits` seconds by phase beside it.
    * `notify`, `ret`, `envid` are delivery status wishes (RFC 3461), used where the server offers DSN.
    * `context` and, with `transaction_log`, the transcript (`<- ` heard, `-> ` said, secrets masked) come back with
      the result or the failure. `progress(sent, total)` is told octets.
    """
    job = _Job(reactor, context, [] if transaction_log else None)

    async def run() -> SendResult:
        choice = [servers] if isinstance(servers, str) else list(servers)
        doors = [ports] if isinstance(ports, int) else list(ports)
        if tls not in ("opportunistic", "require", "implicit", "off") or bcc not in ("deliver", "digest"):
            raise job.failure(Kind.CONFIGURATION, "tls is opportunistic, require, implicit or off; bcc deliver or digest")
        if not choice or not all(choice):
            raise job.failure(Kind.CONFIGURATION, "there is no server to send to")
        login = job.login(username, password, token, two_step, external, password_in_clear, login_required)
        believed = trust if trust is not None else Trust(verify=tls != "opportunistic" or login is not None)
        standard = 465 if tls == "implicit" else DEFAULT_PORT
        named = [
            Server(host, doors[number] if number < len(doors) else standard, tls, lmtp, believed)
            for number, host in enumerate(choice)
        ]
        own_name = client_name or ("localhost" if choice == ["localhost"] else _own_name())
        if not own_name.isascii() or any(c <= " " for c in own_name):
            raise job.failure(Kind.CONFIGURATION, f"client_name {own_name!r} is no host name")
        octets = job.octets(message, message_file, file_handle)
        envelopes = job.compose(octets, own_name, headers, originator, recipients, bcc)
        manner = Manner(
            own_name, login, tls_policy, limits or {},
            (bind_address or "", bind_port) if bind_address or bind_port else None,
            job.note if job.transcript is not None else None,
        )
        wishes = _DSN(tuple(notify), ret, envid)
        return await job.by_servers(named, manner, envelopes, wishes, at_least_one, queue, progress)

    sending: Deferred[SendResult] = Deferred.fromCoroutine(run())
    sending.addTimeout(timeout, reactor)

    def too_late(failure: Failure) -> Failure:
        if failure.check(DeferredTimeout):
            return Failure(job.failure(Kind.TIMEOUT, f"not sent within {timeout:g} seconds"))
        return failure

    return sending.addErrback(too_late)


@frozen
class _DSN:
    """The delivery status wishes of one message."""

    notify: tuple[str, ...]
    ret: str | None
    envid: str | None


@frozen
class _Octets:
    """Content in memory, told to `progress` as it goes out."""

    octets: bytes
    progress: Callable[[int, int], object] | None

    @property
    def size(self) -> int:
        """Octets."""
        return len(self.octets)

    def chunks(self) -> Iterator[bytes]:
        """From the start."""
        for at in range(0, len(self.octets), CHUNK):
            chunk = self.octets[at:at + CHUNK]
            yield chunk
            if self.progress is not None:
                self.progress(at + len(chunk), len(self.octets))


@frozen
class _Job:
    """One call of `sendmessage`: what it was given and what it notes."""

    reactor: Any
    context: object
    transcript: list[str] | None

    def note(self, line: str) -> None:
        """One line of the transcript."""
        if self.transcript is not None:
            self.transcript.append(line)

    def failure(self, kind: Kind, line: str, **more: Any) -> SendFailure:
        """A failure with the context and the transcript so far."""
        noted = tuple(self.transcript) if self.transcript is not None else None
        return SendFailure(kind, line, context=self.context, transcript=noted, **more)

    def octets(self, message: bytes | str | Message | None, file: str | Path | None, handle: IO[bytes] | None) -> bytes:
        """The message, wherever it is."""
        try:
            if file is not None:
                return Path(file).read_bytes()
            if handle is not None:
                read = handle.read()
                return read.encode("utf-8") if isinstance(read, str) else read
        except (OSError, ValueError) as error:
            raise self.failure(Kind.MESSAGE, f"the message could not be read: {error}") from None
        if isinstance(message, Message):
            return message.as_bytes(policy=SMTP_POLICY)
        if isinstance(message, str):
            return message.encode("utf-8")
        if message is None:
            raise self.failure(Kind.MESSAGE, "there is no message")
        return message

    def compose(
        self, octets: bytes, name: str, headers: Sequence[tuple[str, str]], originator: str | None,
        recipients: str | Sequence[str] | None, bcc: str,
    ) -> list[Composed]:
        """The envelopes."""
        from_message = recipients == "from-message"
        wishes = Wishes(
            date=rfc5322_date(self.reactor.seconds()),
            message_id=f"<{os.urandom(12).hex()}@{name}>",
            headers=tuple(headers),
            originator=originator,
            recipients=None if from_message else recipients,
            from_message=from_message,
            bcc=bcc,
        )
        try:
            return compose(octets, wishes)
        except (ComposeError, AddressError) as error:
            raise self.failure(Kind.MESSAGE, str(error)) from None

    def login(
        self, username: str | None, password: str | None, token: Any, two_step: bool, external: bool, in_clear: bool,
        required: bool,
    ) -> Login | None:
        """The ways to log in, None when there are no credentials."""
        if external:
            return Login(lambda server, encrypted: [External(username or "")], required)
        if username is None and password is None and token is None:
            return None
        if username is None or (password is None) == (token is None):
            raise self.failure(Kind.CONFIGURATION, "a login needs a username, and either a password or a token")

        async def mechanisms(server: Server, encrypted: bool) -> list[ClientMechanism]:
            may_show = encrypted or in_clear
            if password is not None:
                return for_password(username, password, server.host, _nonce, may_show)
            secret = await maybeDeferred(token) if callable(token) else token
            if not may_show:
                return []
            return [OAuthBearer(username, secret, server.host, server.port), XOAuth2(username, secret, two_step)]

        return Login(lambda server, encrypted: Deferred.fromCoroutine(mechanisms(server, encrypted)), required)

    async def by_servers(
        self, servers: list[Server], manner: Manner, envelopes: list[Composed], wishes: _DSN, at_least_one: bool,
        queue: bool, progress: Callable[[int, int], object] | None,
    ) -> SendResult:
        """Try one server after the other, until one is ready to talk."""
        reasons: list[tuple[str, str]] = []
        last: Exception | None = None
        for server in servers:
            try:
                session = await open_session(self.reactor, server, manner)
            except Exception as error:
                reasons.append((str(server), str(error) or type(error).__name__))
                last = error
                continue
            try:
                return await self._deliver(session, envelopes, wishes, at_least_one, queue, progress)
            except SendFailure:
                raise
            except Exception as error:
                raise self.failure(
                    _kind(error), f"{server}: {error}", code=_code(error), reasons=((str(server), str(error)),),
                    maybe_sent=isinstance(error, Interrupted) and error.after_content,
                ) from None
            finally:
                session.connection.abort()
        assert last is not None
        line = "; ".join(f"{server}: {reason}" for server, reason in reasons)
        raise self.failure(_kind(last), line, code=_code(last), reasons=tuple(reasons)) from None

    async def _deliver(
        self, session: Conversation, envelopes: list[Composed], wishes: _DSN, at_least_one: bool, queue: bool,
        progress: Callable[[int, int], object] | None,
    ) -> SendResult:
        """All envelopes over one session, then QUIT."""
        for keyword, command, wanted in (("XQUE", b"QUED", queue), ("ONEX", b"ONEX", len(envelopes) == 1)):
            if wanted and keyword in session.capabilities:
                await session.say(say_ignored(command))
        refused: list[Refusal] = []
        answer: Answer | None = None
        for envelope in envelopes:
            recipients = tuple(Recipient(address, wishes.notify) for address in envelope.recipients)
            mail = Outgoing(
                envelope.sender, recipients, len(envelope.content), not envelope.content.isascii(),
                envelope.content.endswith(b"\r\n"), wishes.ret, wishes.envid,
            )
            sent = await session.send(mail, _Octets(envelope.content, progress), at_least_one)
            refused += [Refusal(address.text, each.code, str(each)) for address, each in sent.refused.items()]
            good = [each for each in sent.final.values() if each.positive]
            refused += [
                Refusal(address.text, each.code, str(each)) for address, each in sent.final.items() if not each.positive
            ]
            if not good:
                last = next(iter(sent.final.values()), None) or next(iter(sent.refused.values()))
                raise self.failure(
                    Kind.SERVER, f"{session.server}: {last}", code=last.code, refused=tuple(refused),
                    reasons=((str(session.server), str(last)),),
                )
            answer = good[0]
        facts = session.tls
        try:
            await session.say(client.quit())
        except MailbridgeError:
            pass  # the message is theirs already; how they say goodbye changes nothing
        noted = tuple(self.transcript) if self.transcript is not None else None
        return SendResult(
            str(session.server), str(answer), tuple(refused), facts, session.mechanism, self.context, noted
        )


def _nonce() -> bytes:
    return os.urandom(18).hex().encode("ascii")


def _own_name() -> str:
    name = socket.getfqdn()
    return name if name.isascii() and " " not in name else "localhost"


def _kind(error: Exception) -> Kind:
    if isinstance(error, TooSlow):
        return Kind.TIMEOUT
    if isinstance(error, TLSFailed | TLSRefused):
        return Kind.TLS
    if isinstance(error, client.LoginFailed | SASLError):
        return Kind.LOGIN
    if isinstance(error, client.Refused | client.Unable | AnswerError | EarlyAnswer):
        return Kind.SERVER
    return Kind.CONNECTION


def _code(error: Exception) -> int:
    answer = getattr(error, "answer", None)
    return answer.code if isinstance(answer, Answer) else 0
