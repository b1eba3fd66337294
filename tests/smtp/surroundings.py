"""Surroundings of a pure SMTP session for tests: answers by script, and a record of what the session asked."""

from __future__ import annotations

from mailbridge import reply
from mailbridge.address import Address
from mailbridge.envelope import MailParameters
from mailbridge.limits import Limits
from mailbridge.reply import Reply
from mailbridge.sasl.exchange import Exchange
from mailbridge.sasl.simple import Login, Plain
from mailbridge.sasl.values import Credentials, Password
from mailbridge.smtp.decisions import ServerSettings
from mailbridge.smtp.server import Server
from mailbridge.store.changes import Wishes

STORED = Reply(250, "2.0.0", "Stored as ABC")
LIMITS = Limits(errors=4, junk_commands=6, recipients=3, message_size=2000)
TABLE = reply.wire_table()


class Surroundings:
    """`script` maps a question (mail, rcpt, data, end, login) to its answers in order; None is an answer that comes
    later. Without a script everybody is welcome and `bonnie` has the password `right`."""

    def __init__(self) -> None:
        self.script: dict[str, list[Reply | None]] = {}
        self.asked: list[str] = []
        self.names: list[str] = []
        self.accepted: list[bytes] = []
        self.wishes: list[Wishes] = []
        self.resets = 0
        self.offered: tuple[str, ...] = ("PLAIN", "LOGIN")
        self._content = b""

    def _answer(self, question: str, default: Reply) -> Reply | None:
        self.asked.append(question)
        answers = self.script.get(question)
        return answers.pop(0) if answers else default

    def helo(self, name: str, esmtp: bool) -> None:
        self.names.append(name)

    def mail(self, sender: Address, parameters: MailParameters) -> Reply | None:
        self._content = b""
        return self._answer("mail", Reply(250, "2.1.0", f"Sender <{sender}> OK"))

    def rcpt(self, recipient: Address, wishes: Wishes) -> Reply | None:
        self.wishes.append(wishes)
        return self._answer("rcpt", Reply(250, "2.1.5", f"Recipient <{recipient}> OK"))

    def data(self) -> Reply | None:
        answers = self.script.get("data")
        return answers.pop(0) if answers else None

    def content(self, octets: bytes) -> None:
        self._content += octets

    def end(self) -> Reply | None:
        self.accepted.append(self._content)
        return self._answer("end", STORED)

    def reset(self) -> None:
        self.resets += 1
        self._content = b""

    def etrn(self, domain: str) -> Reply | None:
        self.asked.append(f"etrn {domain}")
        return reply.NOTHING_WAITS

    def mechanisms(self) -> tuple[str, ...]:
        return self.offered

    def exchange(self, mechanism: str) -> Exchange | None:
        if mechanism not in self.offered:
            return None
        return Plain() if mechanism == "PLAIN" else Login()

    def login(self, credentials: Credentials) -> Reply | None:
        right = isinstance(credentials, Password) and credentials.password == b"right"
        return self._answer("login", reply.LOGGED_IN if right else reply.WRONG_PASSWORD)


class Client:
    """One session seen from the client: feed it octets, let it be resumed as the reactor would."""

    def __init__(self, starttls: str = "offer", normalise: bool = False, limits: Limits = LIMITS,
                 end_line: bytes = b"") -> None:
        self.surroundings = Surroundings()
        settings = ServerSettings("bridge.example.org", limits, starttls)
        self.server = Server(self.surroundings, settings, normalise=normalise, end_line=end_line)
        self._greeted = False

    @property
    def closed(self) -> bool:
        """Whether the server wants the connection closed."""
        return self.server.closing

    def feed(self, octets: bytes) -> bytes:
        """Octets to the server; the greeting first."""
        out = b"" if self._greeted else self.server.greet()
        self._greeted = True
        out += self.server.receive(octets)
        while self.server.has_more:
            out += self.server.resume()
        return out

    def event(self, text: str) -> bytes:
        """`later mail` leaves a question open, `answer NAME` gives a reply of the table, `reply rcpt NAME` scripts
        one; `tls` is the handshake; `got TEXT` demands the content accepted last, `wishes NOTIFY ORCPT` those of
        the last recipient; `fresh WORD ...` is a new server."""
        word, _, rest = text.partition(" ")
        if word == "later":
            self.surroundings.script.setdefault(rest, []).append(None)
        elif word == "reply":
            question, _, name = rest.partition(" ")
            self.surroundings.script.setdefault(question, []).append(TABLE[name])
        elif word == "answer":
            assert self.server.waiting, "nothing was asked"
            out = self.server.answer(TABLE.get(rest, STORED))
            while self.server.has_more:
                out += self.server.resume()
            return out
        elif word == "tls":
            assert self.server.wants_tls, "no STARTTLS"
            self.server.tls_started()
        elif word == "got":
            wanted = rest.encode().decode("unicode_escape").encode("latin-1")
            assert self.surroundings.accepted[-1:] == [wanted], self.surroundings.accepted
        elif word == "nothing":
            assert not self.surroundings.accepted, self.surroundings.accepted
        elif word == "wishes":
            last = self.surroundings.wishes[-1]
            found = ",".join(last.notify) or "-"
            assert rest == (found if last.original is None else f"{found} {last.original}"), last
        elif word == "resets":
            assert self.surroundings.resets == int(rest), self.surroundings.resets
        elif word == "offer":
            self.surroundings.offered = tuple(rest.split())
        elif word == "fresh":
            words = rest.split()
            starttls = "".join(set(words) & {"off", "require"}) or "offer"
            end_line = b" ." if "endline" in words else b""
            self.__init__(starttls, "normalise" in words, end_line=end_line)  # type: ignore
            self._greeted = True
        else:
            raise AssertionError(f"what is {text!r}?")
        return b""
