"""The client's side of SMTP and LMTP as steps, without I/O (RFC 5321, 1870, 2033, 2920, 3030, 3207, 3461, 4954, 6531).

Each function is one part of a session: `greet`, `hello`, `start_tls`, `login`, `send`, `reset`, `quit`. They yield
steps (see `smtp.steps`) and return a value or raise. Nothing that comes from outside is put into a command without
being an Address, a number or xtext, so no argument can become a second command.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

from mailbridge.address import Address
from mailbridge.errors import MailbridgeError
from mailbridge.sasl.client import ClientMechanism, MechanismFailed
from mailbridge.smtp.answer import Answer, AnswerError
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.outgoing import Outgoing, Recipient, Sent, xtext
from mailbridge.smtp.steps import Encrypt, Phase, Say, Steps, Stream, hear

MOST_CHALLENGES = 8
"""No mechanism needs more; a hostile server could go on for ever."""
_IN_CLEAR = frozenset({"PLAIN", "LOGIN"})


NO_WORD = Answer(451, "4.4.2", ("the connection ended before the answer for this recipient",))


class Refused(MailbridgeError):
    """The server said no: in which phase, and its answer."""

    def __init__(self, phase: Phase, answer: Answer) -> None:
        super().__init__(f"{phase.value}: {answer}")
        self.phase = phase
        self.answer = answer


class Unable(MailbridgeError):
    """The server cannot take this message whatever it says: `enhanced` is the status for it (RFC 3463)."""

    def __init__(self, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.enhanced = enhanced


class LoginFailed(MailbridgeError):
    """No mechanism got us in; `answer` is the last refusal, None when nothing could be tried."""

    def __init__(self, text: str, answer: Answer | None = None) -> None:
        super().__init__(text if answer is None else f"{text}: {answer}")
        self.answer = answer


def greet() -> Steps[Answer]:
    """The server's greeting. Raises Refused unless it is 220."""
    answer = yield from hear(Phase.GREETING)
    if answer.code != 220:
        raise Refused(Phase.GREETING, answer)
    return answer


def hello(name: str, lmtp: bool = False) -> Steps[Capabilities]:
    """EHLO (LHLO for LMTP), then HELO for a server that does not know it. Raises Refused."""
    named = name.encode("ascii")
    yield Say((b"LHLO " if lmtp else b"EHLO ") + named + b"\r\n")
    answer = yield from hear(Phase.HELLO)
    if answer.code == 250:
        return Capabilities.parse(answer)
    if lmtp or not answer.permanent:
        raise Refused(Phase.HELLO, answer)
    yield Say(b"HELO " + named + b"\r\n")
    answer = yield from hear(Phase.HELLO)
    if answer.code != 250:
        raise Refused(Phase.HELLO, answer)
    return Capabilities()


def start_tls() -> Steps[None]:
    """STARTTLS and the handshake. Say `hello` again: what was said in clear does not count (RFC 3207 4.2).

    Raises Refused, with the session still in clear.
    """
    yield Say(b"STARTTLS\r\n")
    answer = yield from hear(Phase.TLS)
    if answer.code != 220:
        raise Refused(Phase.TLS, answer)
    yield Encrypt()


def login(mechanisms: Sequence[ClientMechanism], offered: Sequence[str]) -> Steps[str]:
    """Try what both know, in the order of `mechanisms`; the name of the one that worked. Raises LoginFailed.

    A password that was shown and refused is not shown again by another mechanism: guessing locks accounts.
    """
    last: Answer | None = None
    shown = False
    for mechanism in mechanisms:
        if mechanism.name not in offered or (shown and mechanism.name in _IN_CLEAR):
            continue
        answer = yield from _authenticate(mechanism)
        if answer.positive:  # 235; smtp-sink says 250, and the first digit decides (RFC 5321 4.2)
            return mechanism.name
        last = answer
        shown = shown or (mechanism.name in _IN_CLEAR and answer.code == 535)
        if answer.closing:
            break
    if last is None:
        raise LoginFailed(f"the server offers no login that may be used here (it has: {', '.join(offered) or 'none'})")
    raise LoginFailed("the server refused the login", last)


def _authenticate(mechanism: ClientMechanism) -> Steps[Answer]:
    initial = mechanism.start()
    command = b"AUTH " + mechanism.name.encode("ascii")
    if initial is None:
        yield Say(command + b"\r\n")
    else:
        encoded = b64encode(initial) or b"="
        yield Say(command + b" " + encoded + b"\r\n", f"AUTH {mechanism.name} ***", (encoded, *mechanism.secrets))
    for _ in range(MOST_CHALLENGES):
        answer = yield from hear(Phase.AUTH)
        if answer.positive and not mechanism.satisfied:
            raise AnswerError(f"the server took {mechanism.name} without proving that it knows the password")
        if answer.code != 334:
            return answer
        try:
            response = mechanism.step(b64decode(answer.text.encode("ascii", "replace"), validate=True))
        except (ValueError, MechanismFailed):
            yield Say(b"*\r\n")
            answer = yield from hear(Phase.AUTH)
            if answer.code < 400:
                raise AnswerError("the server goes on with a login that was given up") from None
            return answer
        encoded = b64encode(response)
        yield Say(encoded + b"\r\n", "***", (encoded, *mechanism.secrets))
    raise AnswerError("the server's login has no end")


def send(mail: Outgoing, capabilities: Capabilities, *, lmtp: bool = False, at_least_one: bool = True) -> Steps[Sent]:
    """One transaction, pipelined where that is offered. Without `at_least_one`, one refused recipient ends it for all.

    Returns Sent, whose `final` is empty when nobody was taken. Raises Unable before anything is said when the server
    cannot take the message, and Refused when it says no to MAIL or DATA, or ends the session (421).
    """
    _check(mail, capabilities)
    chunked = "CHUNKING" in capabilities and not mail.ends_in_newline
    commands = [_mail_command(mail, capabilities), *(_rcpt_command(each, capabilities) for each in mail.recipients)]
    pipelined = "PIPELINING" in capabilities
    data_too = pipelined and at_least_one and not chunked
    if pipelined:
        yield Say(b"".join(commands) + (b"DATA\r\n" if data_too else b""))
    else:
        yield Say(commands[0])
    sender = yield from _hear_open(Phase.MAIL)
    if not sender.positive and not pipelined:
        raise Refused(Phase.MAIL, sender)
    refused: dict[Address, Answer] = {}
    for number, recipient in enumerate(mail.recipients, 1):
        if not pipelined:
            yield Say(commands[number])
        answer = yield from _hear_open(Phase.RCPT)
        if not answer.positive:
            refused[recipient.address] = answer
    taken = [recipient.address for recipient in mail.recipients if recipient.address not in refused]
    wanted = sender.positive and bool(taken) and (at_least_one or not refused)
    if data_too or (wanted and not chunked):
        if not data_too:
            yield Say(b"DATA\r\n")
        ready = yield from _hear_open(Phase.DATA)
        if ready.positive:
            raise AnswerError(f"the server said {ready} to DATA")
        if ready.code == 354 and not wanted:  # RFC 2920 3.1: the server believes in recipients that it has refused
            yield Say(b".\r\n")
            yield from _hear_open(Phase.END)
        elif wanted and ready.code != 354:
            raise Refused(Phase.DATA, ready)
    if not sender.positive:
        raise Refused(Phase.MAIL, sender)
    if not wanted:
        return Sent(refused)
    yield Stream(chunked)
    final = yield from _verdicts(taken, lmtp)
    return Sent(refused, final)


def _hear_open(phase: Phase) -> Steps[Answer]:
    """A reply that is not the end of the session."""
    answer = yield from hear(phase)
    if answer.closing:
        raise Refused(phase, answer)
    return answer


def _verdicts(taken: Sequence[Address], lmtp: bool) -> Steps[dict[Address, Answer]]:
    """The last word for each recipient: one for all, or in LMTP one for each (RFC 2033 4.2).

    If LMTP breaks off between two of them, the first have their message and the others get NO_WORD, to try again.
    """
    if not lmtp:
        answer = yield from hear(Phase.END)
        return dict.fromkeys(taken, answer)
    final: dict[Address, Answer] = {}
    for address in taken:
        try:
            final[address] = yield from hear(Phase.END)
        except MailbridgeError:
            if not final:
                raise
            return {each: final.get(each, NO_WORD) for each in taken}
    return final


def reset() -> Steps[Answer]:
    """RSET: the transaction is over."""
    yield Say(b"RSET\r\n")
    answer = yield from hear(Phase.RESET)
    return answer


def quit() -> Steps[Answer]:
    """QUIT: the session is over."""
    yield Say(b"QUIT\r\n")
    answer = yield from hear(Phase.QUIT)
    return answer


def _check(mail: Outgoing, capabilities: Capabilities) -> None:
    limit = capabilities.size
    if limit is not None and mail.size > limit:
        raise Unable("5.3.4", f"the message has {mail.size} octets, the server takes {limit}")
    if mail.utf8 and "SMTPUTF8" not in capabilities:
        raise Unable("5.6.7", "an address has other than ASCII letters, and the server does not take those")
    if mail.eight_bit and "8BITMIME" not in capabilities:
        raise Unable("5.6.3", "the message has 8-bit content, and the server does not take that")


def _mail_command(mail: Outgoing, capabilities: Capabilities) -> bytes:
    words = [b"MAIL FROM:<%s>" % mail.sender.text.encode("utf-8")]
    if "SIZE" in capabilities:
        words.append(b"SIZE=%d" % mail.size)
    if mail.eight_bit:
        words.append(b"BODY=8BITMIME")
    if mail.utf8 or (mail.utf8_header and "SMTPUTF8" in capabilities):
        words.append(b"SMTPUTF8")
    if "DSN" in capabilities:
        if mail.ret is not None:
            words.append(b"RET=" + mail.ret.encode("ascii"))
        if mail.envid is not None:
            words.append(b"ENVID=" + xtext(mail.envid))
    return b" ".join(words) + b"\r\n"


def _rcpt_command(recipient: Recipient, capabilities: Capabilities) -> bytes:
    words = [b"RCPT TO:<%s>" % recipient.address.text.encode("utf-8")]
    if "DSN" in capabilities:
        if recipient.notify:
            words.append(b"NOTIFY=" + ",".join(recipient.notify).encode("ascii"))
        if recipient.original is not None:
            words.append(b"ORCPT=" + _orcpt(recipient.original))
    return b" ".join(words) + b"\r\n"


def _orcpt(original: str) -> bytes:
    kind, semicolon, text = original.partition(";")
    return kind.encode("ascii") + b";" + xtext(text) if semicolon else b"rfc822;" + xtext(original)
