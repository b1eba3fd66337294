"""A session with a witness: what an operator wants to read of it, for listeners that have a log.

The plain `Server` knows nothing of this and pays nothing. Lines have a level: I for mail accepted and logins, W for
what was refused, T for the whole dialogue, with content where that was asked for. What may be a password is never told:
the arguments and answers of AUTH, and lines that are no command, as clients send a password after an AUTH was refused.
"""

from __future__ import annotations

from collections.abc import Callable

from mailbridge.reply import Reply
from mailbridge.sasl.mechanisms import CRAM_MD5, LOGIN, PLAIN, SCRAM_SHA_256
from mailbridge.smtp.decisions import Decisions, ServerSettings
from mailbridge.smtp.grammar import parse_mail, parse_rcpt
from mailbridge.smtp.server import VERBS, Server

MOST_NAMED = 100
"""Recipients named in one line; of more it says how many."""

HIDDEN = "(hidden)"
_MECHANISMS = frozenset({PLAIN, LOGIN, CRAM_MD5, SCRAM_SHA_256})

Note = Callable[[str, str], object]
"""Takes a letter of E, W, I, T and a text of any characters."""


class WitnessedServer(Server):
    """A Server that tells `note`. `trace` says whether T is wanted; content goes through `Tap`."""

    __slots__ = ("_at_content", "_command", "_named", "_note", "_sender", "_trace", "_unnamed")

    def __init__(
        self, decisions: Decisions, settings: ServerSettings, note: Note, trace: bool = False, tls: bool = False,
        normalise: bool = False, end_line: bytes = b"",
    ) -> None:
        self._note = note
        self._trace = trace
        self._at_content = False
        self._command = b""
        self._sender = ""
        self._named: list[str] = []
        self._unnamed = 0
        super().__init__(decisions, settings, tls, normalise, end_line)

    def greet(self) -> bytes:
        """As the server does."""
        if self._trace:
            self._note("T", "connected")
        return super().greet()

    def close(self, farewell: Reply) -> bytes:
        """As the server does; a farewell that is a refusal is told."""
        if not self.closing and not farewell.is_positive:
            self._note("W", f"sent away: {farewell}")
        elif self._trace:
            self._note("T", "ended")
        return super().close(farewell)

    # --- the dialogue -------------------------------------------------------------------------------------------------

    def _line(self, line: bytes) -> None:
        self._at_content = False
        if self._exchange is None:
            self._command = line
        if self._trace:
            self._note("T", f"<- {shown(line) if self._exchange is None else HIDDEN}")
        super()._line(line)

    def _reply(self, answer: Reply) -> None:
        if self._trace:
            self._note("T", f"-> {answer}")
        super()._reply(answer)

    def _fail(self, answer: Reply) -> None:
        if answer.code >= 400:
            self._note("W", f"refused {self._refused}: {answer}")
        if self._trace:
            self._note("T", f"-> {answer}")
        super()._fail(answer)

    # --- mail ---------------------------------------------------------------------------------------------------------

    def _mail_answered(self, answer: Reply) -> None:
        if answer.is_positive:
            self._sender = parse_mail(self._argument)[0].text
            self._named = []
            self._unnamed = 0
        super()._mail_answered(answer)

    def _rcpt_answered(self, answer: Reply) -> None:
        if answer.is_positive:
            if len(self._named) < MOST_NAMED:
                self._named.append(f"<{parse_rcpt(self._argument)[0].text}>")
            else:
                self._unnamed += 1
        super()._rcpt_answered(answer)

    @property
    def _argument(self) -> bytes:
        return self._command.partition(b" ")[2]

    def _read_content(self, data: bytes) -> bytes:
        self._at_content = True
        return super()._read_content(data)

    def _end_answered(self, answer: Reply) -> None:
        if answer.is_positive:
            self._note("I", f"accepted {self._about}: {answer}")
        super()._end_answered(answer)

    @property
    def _about(self) -> str:
        more = f" and {self._unnamed} more" if self._unnamed else ""
        return f"mail from <{self._sender}> to {', '.join(self._named)}{more}"

    @property
    def _refused(self) -> str:
        if self._at_content:
            return self._about
        sender = f" from <{self._sender}>" if self._command[:4].upper() == b"RCPT" else ""
        return shown(self._command) + sender

    def _login_answered(self, answer: Reply) -> None:
        if answer.is_positive:
            self._note("I", "logged in")
        super()._login_answered(answer)


def shown(line: bytes) -> str:
    """A command as it may be read in a log."""
    verb, _, argument = line.partition(b" ")
    if verb.upper() not in VERBS:
        return f"an unknown command of {len(line)} octets"
    if verb.upper() != b"AUTH":
        return line.decode("utf-8", "surrogateescape")
    mechanism = argument.partition(b" ")[0].decode("ascii", "replace").upper()
    return f"AUTH {mechanism if mechanism in _MECHANISMS else ''} {HIDDEN}".replace("  ", " ")


class Tap:
    """Decisions that tell the content as well: as received, without the dots of DATA."""

    def __init__(self, decisions: Decisions, note: Note) -> None:
        self._decisions = decisions
        self._note = note

    def content(self, octets: bytes) -> None:
        """Tell it and pass it on."""
        self._note("T", f"<- {octets.decode('utf-8', 'surrogateescape')}")
        self._decisions.content(octets)

    def __getattr__(self, name: str) -> object:
        return getattr(self._decisions, name)
