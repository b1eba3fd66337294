"""The server's side of an SMTP session, without I/O (RFC 5321, 1870, 2034, 2920, 3030, 3207, 3461, 4954, 6152, 6531).

Octets go in by `receive`, octets to send come back; what the session cannot know it asks of `Decisions`. Any question
may be answered later: the session then waits, and pipelined commands wait with it, so replies are always in order.
Commands are a table (`VERBS`). Whatever a peer sends, the session answers or closes; it never raises.
"""

from __future__ import annotations

from collections.abc import Callable

from mailbridge import reply
from mailbridge.reply import Reply
from mailbridge.sasl.exchange import MAX_RESPONSE, Exchange
from mailbridge.sasl.values import Cancelled, Challenge, SASLError
from mailbridge.smtp.conversation import Conversation
from mailbridge.smtp.data import IncomingContent
from mailbridge.smtp.decisions import Decisions, ServerSettings
from mailbridge.smtp.extensions import extensions, greeting
from mailbridge.smtp.grammar import CommandError, parse_bdat, parse_etrn, parse_helo, parse_mail, parse_rcpt

# Parameters may lengthen a line: SIZE, BODY, SMTPUTF8 and AUTH of MAIL, NOTIFY and an ORCPT of 500 characters of RCPT.
PARAMETER_OCTETS = 1024


class Server(Conversation):
    """One session. `tls` and `logged_in` tell where it stands."""

    __slots__ = (
        "_content", "_decisions", "_end_line", "_exchange", "_helo", "_recipients", "_sender_given", "_settings",
        "_surplus", "_utf8", "logged_in", "tls",
    )

    def __init__(
        self, decisions: Decisions, settings: ServerSettings, tls: bool = False, normalise: bool = False,
        end_line: bytes = b"",
    ) -> None:
        super().__init__(settings.limits, normalise)
        self._decisions = decisions
        self._settings = settings
        self._end_line = end_line
        self._surplus: bytes | None = None
        self.tls = tls
        self.logged_in = False
        self._begin()

    def _begin(self) -> None:
        self._helo = False
        self._exchange: Exchange | None = None
        self._clear()

    def _clear(self) -> None:
        self._sender_given = False
        self._recipients = 0
        self._utf8 = False
        self._content: IncomingContent | None = None
        self._reading = False

    # --- the outside's side -------------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL was said and the message is not settled: an orderly stop waits for it."""
        return self._sender_given

    def greet(self) -> bytes:
        """The opening of the session."""
        return greeting(self._settings).wire

    def tls_started(self) -> None:
        """The handshake begins: nothing said before it counts (RFC 3207 4.2)."""
        self.wants_tls = False
        self.tls = True
        self.logged_in = False
        self._input = b""
        self._decisions.reset()
        self._begin()

    def _longest_line(self) -> int:
        if self._exchange is not None:
            return MAX_RESPONSE
        return self._limits.command_line + PARAMETER_OCTETS

    def _line(self, line: bytes) -> None:
        if self._exchange is not None:
            self._auth_step(line)
            return
        verb, _, argument = line.partition(b" ")
        command = VERBS.get(verb) or VERBS.get(verb.upper())
        if command is None or b"\0" in line or b"\r" in line:
            self._fail(reply.NOT_CRLF if b"\0" in line or b"\r" in line else reply.UNKNOWN_COMMAND)
            return
        if self._settings.starttls == "require" and not self.tls and command not in _BEFORE_TLS:
            self._fail(reply.NEED_TLS)
            return
        try:
            command(self, argument)
        except CommandError as error:
            self._fail(error.reply)

    # --- commands -----------------------------------------------------------------------------------------------------

    def _hello(self, argument: bytes, esmtp: bool) -> None:
        name = parse_helo(argument)
        self._drop_transaction()
        self._helo = True
        self._decisions.helo(name, esmtp)
        if not esmtp:
            self._reply(Reply(250, "", self._settings.hostname))
            self._count_junk()
            return
        mechanisms = () if self.logged_in else self._decisions.mechanisms()
        self._reply(extensions(self._settings, not self.tls, mechanisms))
        self._count_junk()

    def _ehlo(self, argument: bytes) -> None:
        self._hello(argument, True)

    def _helo_command(self, argument: bytes) -> None:
        self._hello(argument, False)

    def _mail(self, argument: bytes) -> None:
        if not self._helo:
            raise CommandError(reply.NEED_HELO)
        if self._sender_given:
            raise CommandError(reply.BAD_SEQUENCE)
        sender, parameters = parse_mail(argument)
        self._clear()
        if parameters.size is not None and parameters.size > self._limits.message_size:
            raise CommandError(reply.TOO_LARGE)
        if not parameters.utf8 and not sender.is_ascii:
            raise CommandError(reply.UTF8_NEEDED)
        self._utf8 = parameters.utf8
        self._ask(self._decisions.mail(sender, parameters), self._mail_answered)

    def _mail_answered(self, answer: Reply) -> None:
        if answer.code < 400:
            self._sender_given = True
            self._reply(answer)
        else:
            self._fail(answer)

    def _rcpt(self, argument: bytes) -> None:
        if not self._sender_given:
            raise CommandError(reply.NEED_MAIL)
        if self._content is not None:
            raise CommandError(reply.CHUNKING_STARTED)
        recipient, wishes = parse_rcpt(argument)
        if not self._utf8 and not (recipient.is_ascii and (wishes.original is None or wishes.original.isascii())):
            raise CommandError(reply.UTF8_NEEDED)
        if self._recipients >= self._limits.recipients:
            raise CommandError(reply.TOO_MANY_RECIPIENTS)
        self._ask(self._decisions.rcpt(recipient, wishes), self._rcpt_answered)

    def _rcpt_answered(self, answer: Reply) -> None:
        if answer.code < 400:
            self._recipients += 1
            self._reply(answer)
        else:
            self._fail(answer)

    def _data(self, argument: bytes) -> None:
        if argument:
            raise CommandError(reply.SYNTAX)
        if not self._sender_given:
            raise CommandError(reply.NEED_MAIL)
        if self._content is not None:
            raise CommandError(reply.CHUNKING_STARTED)
        if not self._recipients:
            raise CommandError(reply.NEED_RCPT)
        refusal = self._decisions.data()
        if refusal is not None:
            self._drop_transaction()
            raise CommandError(refusal)
        self._content = IncomingContent(self._limits.message_size, self.normalise)
        self._content.begin_data(self._end_line)
        self._reading = True
        self._reply(reply.SEND_DATA)

    def _bdat(self, argument: bytes) -> None:
        try:
            length, last = parse_bdat(argument)
        except CommandError:  # its octets follow and their number is unknown: no way back to commands
            self.closing = True
            raise
        if self._content is None:
            self._content = IncomingContent(self._limits.message_size, self.normalise)
            if not self._sender_given:
                self._content.fault = reply.NEED_MAIL
            elif not self._recipients:
                self._content.fault = reply.NEED_RCPT
            else:
                self._content.fault = self._decisions.data()
        self._content.begin_chunk(length, last)
        self._reading = True
        if not length:
            self._read_content(b"")

    def _read_content(self, data: bytes) -> bytes:
        """Give content on; what follows its end."""
        content = self._content
        assert content is not None
        octets, rest = content.feed(data)
        if octets:
            self._decisions.content(octets)
        if rest is None:
            return b""
        self._reading = False
        if content.cut:
            self._surplus, rest = rest, b""
        if content.fault is not None:
            self._content_refused(content, content.fault)
        elif content.complete:
            self._ask(self._decisions.end(), self._end_answered)
        else:
            self._reply(reply.CHUNK_OK)
        return rest

    def _content_refused(self, content: IncomingContent, fault: Reply) -> None:
        self._drop_transaction()
        if not content.complete:  # the chunks still to come are read and refused as well (RFC 3030 2)
            self._content = content
        self._fail(fault)
        self._after_message()

    def _end_answered(self, answer: Reply) -> None:
        self._clear()
        if answer.code < 400:
            self._junk = 0
            self._reply(answer)
        else:
            self._fail(answer)
        self._after_message()

    def _after_message(self) -> None:
        surplus, self._surplus = self._surplus, None
        if surplus is not None and (surplus or self._input):  # who ends like that waits for its reply: smuggled
            self._reply(reply.TOO_EARLY)
            self.closing = True

    def _drop_transaction(self) -> None:
        if self._sender_given:
            self._decisions.reset()
        self._clear()

    def _rset(self, argument: bytes) -> None:
        self._drop_transaction()
        self._reply(reply.FLUSHED)
        self._count_junk()

    def _noop(self, argument: bytes) -> None:
        self._reply(reply.OK)
        self._count_junk()

    def _vrfy(self, argument: bytes) -> None:
        self._reply(reply.CANNOT_VERIFY if argument.strip() else reply.SYNTAX)
        self._count_junk()

    def _etrn(self, argument: bytes) -> None:
        if not self._helo:
            raise CommandError(reply.NEED_HELO)
        if self._sender_given:
            raise CommandError(reply.BAD_SEQUENCE)
        self._count_junk()
        self._ask(self._decisions.etrn(parse_etrn(argument)), self._fail)

    def _help(self, argument: bytes) -> None:
        self._reply(reply.HELP)
        self._count_junk()

    def _quit(self, argument: bytes) -> None:
        self._drop_transaction()
        self._reply(reply.BYE)
        self.closing = True

    def _starttls(self, argument: bytes) -> None:
        if self.tls:
            raise CommandError(reply.ALREADY_TLS)
        if self._settings.starttls == "off":
            raise CommandError(reply.NO_TLS)
        if argument:
            raise CommandError(reply.SYNTAX)
        self._reply(reply.READY_FOR_TLS)
        self.wants_tls = True

    # --- AUTH (RFC 4954) ----------------------------------------------------------------------------------------------

    def _auth(self, argument: bytes) -> None:
        if self.logged_in:
            raise CommandError(reply.ALREADY_LOGGED_IN)
        if not self._helo:
            raise CommandError(reply.NEED_HELO)
        if self._sender_given:
            raise CommandError(reply.BAD_SEQUENCE)
        name, _, initial = argument.strip(b" ").partition(b" ")
        if not name:
            raise CommandError(reply.SYNTAX)
        mechanism = name.decode("ascii", "replace").upper()
        self._exchange = self._decisions.exchange(mechanism)
        if self._exchange is None:
            plain_without_tls = mechanism in ("PLAIN", "LOGIN") and not self.tls and self._settings.starttls != "off"
            raise CommandError(reply.NEED_TLS_FOR_LOGIN if plain_without_tls else reply.UNKNOWN_MECHANISM)
        self._auth_step(initial or None)

    def _auth_step(self, response: bytes | None) -> None:
        assert self._exchange is not None
        try:
            result = self._exchange.step(response)
        except Cancelled:
            self._auth_over(reply.AUTH_CANCELLED)
        except SASLError:
            self._auth_over(reply.BAD_BASE64)
        else:
            if isinstance(result, Challenge):
                self._out.append(b"334 " + result.data + b"\r\n")
            else:
                self._exchange = None
                self._ask(self._decisions.login(result.credentials), self._login_answered)

    def _auth_over(self, answer: Reply) -> None:
        self._exchange = None
        self._fail(answer)

    def _login_answered(self, answer: Reply) -> None:
        if answer.code < 400:
            self.logged_in = True
            self._reply(answer)
        else:
            self._fail(answer)


VERBS: dict[bytes, Callable[[Server, bytes], None]] = {
    b"EHLO": Server._ehlo,
    b"HELO": Server._helo_command,
    b"MAIL": Server._mail,
    b"RCPT": Server._rcpt,
    b"DATA": Server._data,
    b"BDAT": Server._bdat,
    b"RSET": Server._rset,
    b"NOOP": Server._noop,
    b"VRFY": Server._vrfy,
    b"ETRN": Server._etrn,
    b"HELP": Server._help,
    b"QUIT": Server._quit,
    b"STARTTLS": Server._starttls,
    b"AUTH": Server._auth,
}

_BEFORE_TLS = frozenset(VERBS[verb] for verb in (b"EHLO", b"HELO", b"NOOP", b"QUIT", b"RSET", b"HELP", b"STARTTLS"))
