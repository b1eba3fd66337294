"""One call of `sendmail.sendmessage` at work: the message read and composed, servers tried, the outcome told once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import IO, Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Cooperator

from mailbridge.clock import rfc5322_date
from mailbridge.edge.connection import EarlyAnswer
from mailbridge.edge.sending import Conversation, Login, Manner, Server, open_session, say_ignored
from mailbridge.errors import AddressError
from mailbridge.message.compose import Composed, ComposeError, Wishes, compose
from mailbridge.message.header import end_of_header, fields
from mailbridge.message.recode import CannotRecode, recoded, survey
from mailbridge.sasl.client import ClientMechanism, External, OAuthBearer, XOAuth2, for_password
from mailbridge.sendresult import Kind, Refusal, SendFailure, SendResult, code_of, kind_of
from mailbridge.smtp.answer import Answer
from mailbridge.smtp.client import Refused, Unable
from mailbridge.smtp.outgoing import Outgoing, Recipient

CHUNK = 64 * 1024
Progress = Callable[[int, int], object]


@frozen
class Delivery:
    """How the envelopes are handed over: the keywords of `sendmessage` of the same names."""

    at_least_one: bool = False
    queue: bool = False
    notify: tuple[str, ...] = ()
    ret: str | None = None
    envid: str | None = None
    progress: Progress | None = None


@frozen
class Octets:
    """Content in memory, told to `progress` as it goes out."""

    octets: bytes = field(repr=False)
    progress: Progress | None = None

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


@define
class Job:
    """What a call was given to report with, and what it knows so far."""

    reactor: Any
    context: object
    transcript: list[str] | None
    listener: Callable[[str], object] | None = None
    reasons: list[tuple[str, str]] = field(factory=list)
    maybe_sent: bool = False

    @property
    def note(self) -> Callable[[str], object] | None:
        """What takes the lines of the transcript, None when nobody wants it."""
        return self._note if self.transcript is not None else None

    def _note(self, line: str) -> None:
        assert self.transcript is not None
        self.transcript.append(line)
        if self.listener is not None:
            self.listener(line)

    def failure(self, kind: Kind, line: str, code: int = 0, refused: Sequence[Refusal] = ()) -> SendFailure:
        """A failure with all that is known so far."""
        noted = tuple(self.transcript) if self.transcript is not None else None
        return SendFailure(
            kind, line, code=code, reasons=tuple(self.reasons), refused=tuple(refused), maybe_sent=self.maybe_sent,
            context=self.context, transcript=noted,
        )

    # --- the message --------------------------------------------------------------------------------------------------

    def read(self, message: bytes | str | Message | None, file: str | Path | None, handle: IO[Any] | None) -> bytes:
        """The message, wherever it is. Raises SendFailure."""
        try:
            if file is not None:
                return Path(file).read_bytes()
            found = message if handle is None else handle.read()
            if isinstance(found, Message):
                return self._flat(found)
            if isinstance(found, str):
                return found.encode("utf-8")
        except (OSError, ValueError, LookupError, RecursionError) as error:
            raise self.failure(Kind.MESSAGE, f"the message could not be read: {error}") from None
        if not isinstance(found, bytes | bytearray | memoryview):
            raise self.failure(Kind.MESSAGE, "there is no message, or it is neither octets, text nor a Message")
        return bytes(found)

    def _flat(self, message: Message) -> bytes:
        """A Message as octets; its library lets some header values begin a second header (CVE-2024-6923)."""
        octets = message.as_bytes(policy=SMTP_POLICY)
        head = octets[:max(0, end_of_header(octets))]
        if [name for name, _ in fields(head)] != [name.lower().encode() for name in message.keys()]:  # noqa: SIM118
            raise ValueError("a header value has a line end in it")
        return octets

    def compose(
        self, octets: bytes, name: str, headers: Sequence[tuple[str, str]], originator: str | None,
        recipients: str | Sequence[str] | None, bcc: str,
    ) -> list[Composed]:
        """The envelopes. Raises SendFailure."""
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

    # --- the way out --------------------------------------------------------------------------------------------------

    def login(
        self, username: str | None, password: str | None, token: Any, two_step: bool, external: bool, in_clear: bool,
        required: bool,
    ) -> Login | None:
        """The ways to log in, None when there are no credentials. Raises SendFailure."""
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
            if not may_show:
                return []
            secret = await maybeDeferred(token) if callable(token) else token
            return [OAuthBearer(username, secret, server.host, server.port), XOAuth2(username, secret, two_step)]

        return Login(lambda server, encrypted: Deferred.fromCoroutine(mechanisms(server, encrypted)), required)

    async def send(
        self, servers: Sequence[Server], manner: Manner, envelopes: Sequence[Composed], delivery: Delivery
    ) -> SendResult:
        """Try one server after the other until one is ready to talk; it has the only say. Raises SendFailure."""
        for number, server in enumerate(servers, 1):
            try:
                session = await open_session(self.reactor, server, manner)
                break
            except CancelledError:
                raise
            except Exception as error:
                self.reasons.append((str(server), str(error) or type(error).__name__))
                if number == len(servers):
                    line = "; ".join(f"{name}: {reason}" for name, reason in self.reasons)
                    raise self.failure(kind_of(error), line, code_of(error)) from None
        try:
            return await self._deliver(session, envelopes, delivery)
        except CancelledError:
            self.maybe_sent = session.after_content
            raise
        finally:
            await session.quit()

    async def _deliver(
        self, session: Conversation, envelopes: Sequence[Composed], delivery: Delivery
    ) -> SendResult:
        """All envelopes over one session. Once one of them is taken this succeeds, with the others' recipients refused:
        who is told of a failure repeats everything."""
        taken: Answer | None = None
        refused: list[Refusal] = []
        for envelope in envelopes:
            try:
                if taken is None:
                    await self._prelude(session, delivery, len(envelopes) == 1)
                answer, missed = await self._transaction(session, envelope, delivery)
            except Exception as error:
                if taken is None:
                    if isinstance(error, CancelledError | SendFailure):
                        raise
                    raise self._interrupted(session, error) from None
                missed = [Refusal(each.text, code_of(error), str(error)) for each in envelope.recipients]
            else:
                taken = answer if answer is not None else taken
            refused += missed
            if taken is None:
                raise self._unwanted(session, refused)
        noted = tuple(self.transcript) if self.transcript is not None else None
        return SendResult(
            str(session.server), str(taken), tuple(refused), session.tls, session.mechanism, self.context, noted
        )

    async def _prelude(self, session: Conversation, delivery: Delivery, single: bool) -> None:
        for keyword, command, wanted in (("XQUE", b"QUED", delivery.queue), ("ONEX", b"ONEX", single)):
            if wanted and keyword in session.capabilities:
                await session.say(say_ignored(command))

    async def _transaction(
        self, session: Conversation, envelope: Composed, delivery: Delivery
    ) -> tuple[Answer | None, list[Refusal]]:
        """(the answer that took the message, who does not get it)."""
        recipients = tuple(Recipient(address, delivery.notify) for address in envelope.recipients)
        content = envelope.content
        if not content.isascii() and "8BITMIME" not in session.capabilities:
            content = await self._seven_bit(content)
        mail = Outgoing(
            envelope.sender, recipients, len(content), not content.isascii(), content.endswith(b"\r\n"), delivery.ret,
            delivery.envid, utf8_header=not content[:end_of_header(content)].isascii(),
        )
        sent = await session.send(mail, Octets(content, delivery.progress), delivery.at_least_one)
        answers = {**sent.refused, **sent.final}
        missed = [
            Refusal(address.text, answer.code, str(answer)) for address, answer in answers.items()
            if not answer.positive
        ]
        return next((answer for answer in sent.final.values() if answer.positive), None), missed

    async def _seven_bit(self, content: bytes) -> bytes:
        """The message for a server that takes seven bits only, made while others go on. Raises Unable."""
        pieces: list[bytes] = []
        source = Octets(content)

        def steps() -> Iterator[None]:
            plan = yield from survey(source.chunks())
            for piece in recoded(source.chunks(), plan):
                pieces.append(piece)
                yield

        turns = Cooperator(scheduler=lambda call: self.reactor.callLater(0, call))
        try:
            await turns.cooperate(steps()).whenDone()
        except CannotRecode as error:
            raise Unable("5.6.3", f"{error}, and the server does not take them") from None
        finally:
            turns.stop()
        return b"".join(pieces)

    def _interrupted(self, session: Conversation, error: Exception) -> SendFailure:
        self.maybe_sent = session.after_content and not isinstance(error, Refused | EarlyAnswer)
        self.reasons.append((str(session.server), str(error) or type(error).__name__))
        return self.failure(kind_of(error), f"{session.server}: {error}", code_of(error))

    def _unwanted(self, session: Conversation, refused: Sequence[Refusal]) -> SendFailure:
        texts = list(dict.fromkeys(each.text for each in refused))
        line = f"nobody gets the message: {texts[0]}" + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "")
        self.reasons.append((str(session.server), line))
        return self.failure(Kind.SERVER, f"{session.server}: {line}", refused[0].code, refused)


def _nonce() -> bytes:
    return os.urandom(18).hex().encode("ascii")
