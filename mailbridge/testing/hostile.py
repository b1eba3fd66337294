"""An SMTP server that does as its script says: well by default, and in `MODES` as badly as servers on the net do.

It runs in memory (`testing.network`) and on sockets. It keeps what it was told and which messages it took, so that
a test can say whether a message was reported sent that was not, or came twice. It never stops a client by itself:
endless modes go on until the client has had enough.

The events of a script: `connect`, a verb or the beginning of a command (`RCPT TO:<no@`), `login` (a line of a login),
`content` (the first octets of a message), `end` (its end).
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

from mailbridge.lines import DotUnstuffer
from mailbridge.testing.acting import ActingServer, Close, Deaf, Endless, Script, Slowly

GREETING = b"220 hostile.example ESMTP\r\n"
OK = b"250 2.0.0 OK\r\n"
TAKEN = b"250 2.0.0 taken\r\n"
READY = b"354 go on\r\n"


def ehlo(*capabilities: str) -> bytes:
    """The answer to EHLO that lists `capabilities`."""
    lines = ("hostile.example", *capabilities)
    return b"".join(
        b"250%s%s\r\n" % (b"-" if number < len(lines) else b" ", line.encode()) for number, line in enumerate(lines, 1)
    )


_LISTED = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "DSN", "AUTH PLAIN LOGIN CRAM-MD5")
_TLS = ehlo("STARTTLS", "AUTH PLAIN LOGIN CRAM-MD5")

MODES: dict[str, Script] = {
    "silence": {"connect": ()},
    "endless banner": {"connect": (Endless(b"220-welcome to the server of servers\r\n"),)},
    "endless banner without line ends": {"connect": (Endless(b"220-" + b"x" * 1000),)},
    "endless multi-line reply": {"EHLO": (Endless(b"250-EXTENSION of the server\r\n"),)},
    "slow multi-line reply": {"EHLO": (Endless(b"250-EXTENSION\r\n", 60.0),)},
    "1yz": {"MAIL": (b"150 on its way\r\n",)},
    "1yz at the end": {"end": (b"150 on its way\r\n",)},
    "mixed codes": {"EHLO": (b"250-hostile.example\r\n550 no\r\n",)},
    "mixed codes at the end": {"end": (b"250-taken\r\n451 or not\r\n",)},
    "no SMTP": {"connect": (b"SSH-2.0-OpenSSH_9.6\r\n",)},
    "reply before command": {"EHLO": (ehlo("SIZE"), OK)},
    "reply before the greeting is answered": {"connect": (GREETING, OK, OK, OK, READY, TAKEN)},
    "354 with 250 in one segment": {"DATA": (READY + TAKEN,)},
    "250 during the content": {"content": (TAKEN,), "end": ()},
    "552 during the content": {"content": (b"552 5.3.4 enough\r\n",), "end": ()},
    "injected plaintext after STARTTLS": {
        "EHLO": (_TLS,), "STARTTLS": (b"220 2.0.0 go on\r\n250-hostile.example\r\n250 AUTH PLAIN LOGIN\r\n",),
    },
    "part of a reply after STARTTLS": {"EHLO": (_TLS,), "STARTTLS": (b"220 2.0.0 go on\r\n250-hostile",)},
    "STARTTLS stripped": {"EHLO": (ehlo("AUTH PLAIN LOGIN"),)},
    "STARTTLS refused": {"EHLO": (_TLS,), "STARTTLS": (b"454 4.7.0 not now\r\n",)},
    "STARTTLS hanging": {"EHLO": (_TLS,), "STARTTLS": ()},
    "STARTTLS hanging in the handshake": {"EHLO": (_TLS,), "STARTTLS": (b"220 2.0.0 go on\r\n", Deaf())},
    "deaf at DATA": {"DATA": (READY, Deaf())},
    "DATA unanswered": {"EHLO": (ehlo("SIZE"),), "DATA": ()},
    "slow drip": {"connect": (Slowly(b"220 hostile.example takes its time, and yours too\r\n"),)},
    "slow drip at the end": {"end": (Slowly(b"250 2.0.0 taken, but this takes quite a while to say\r\n", 30.0),)},
    "close after the dot": {"end": (Close(),)},
    "close after DATA": {"DATA": (READY, Close())},
    "close after a part of the last reply": {"end": (b"250-2.0.0 tak", Close())},
    "421 after the dot": {"end": (b"421 4.3.0 going down\r\n", Close())},
    "garbage after the last reply": {"end": (TAKEN + b"\xff\xfe\0\r\n",)},
    "lies about SIZE": {"EHLO": (ehlo("SIZE 99999999999999999999999", "SIZE -1"),), "end": (b"552 5.3.4 too big\r\n",)},
    "tiny SIZE": {"EHLO": (ehlo("SIZE 1"),)},
    "lies about PIPELINING": {"EHLO": (ehlo("PIPELINING"),), "RCPT": (b"503 5.5.1 one at a time\r\n", Close())},
    "lies about AUTH": {"EHLO": (ehlo("AUTH PLAIN LOGIN CRAM-MD5"),), "AUTH": (b"504 5.5.4 what is that\r\n",)},
    "AUTH that never ends": {"AUTH": (b"334 \r\n",), "login": (b"334 \r\n",)},
    "AUTH that goes on after *": {"AUTH": (b"334 ?\r\n",), "login": (b"334 VXNlcm5hbWU6\r\n",)},
    "AUTH that is repeated as a challenge": {"AUTH": (b"334 \0\r\n334 \0\r\n",), "login": (b"334 \0\r\n",)},
    "AUTH that is repeated as nonsense": {"AUTH": (b"\0\r\n",), "login": (b"what is \0\r\n",)},
    "AUTH that is repeated aloud": {"AUTH": (b"535 5.7.8 wrong: \0\r\n",), "login": (b"535 5.7.8 wrong: \0\r\n",)},
    "a million octets in a line": {"EHLO": (b"250 " + b"x" * 1_000_000 + b"\r\n",)},
    "a million octets without a line end": {"end": (b"2" * 1_000_000,)},
    "flood of 250": {"connect": (GREETING,), "EHLO": (ehlo("PIPELINING"), Endless(OK * 1000, 0.0))},
    "flood of 250 after the dot": {"end": (TAKEN, Endless(OK * 1000, 0.01))},
    "NUL and 8-bit": {"EHLO": (b"250-\0\xff\xfe\r\n250 \x1b[31mAUTH\r\n",), "end": (b"550 \x1b[2J\xff no\r\n",)},
}


class HostileServer(ActingServer):
    """One session. `commands` are the lines it got, `messages` those it answered with TAKEN or a script's positive."""

    factory: HostileFactory

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)
        self._buffer = b""
        self._text: DotUnstuffer | None = None
        self._content = b""
        self._content_begun = False
        self._login = False
        self._envelope: list[bytes] = []
        self.secured = False

    def connectionMade(self) -> None:
        """Greet, in the way of the mode."""
        self.factory.sessions.append(self)
        self._act("connect", GREETING)

    def dataReceived(self, data: bytes) -> None:
        """Lines, or content."""
        self._buffer += data
        while self._buffer and not (self.deaf or self.gone):
            if self._text is not None:
                if not self._read_content():
                    return
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    return
                self._buffer = rest
                self._line(line)

    def _read_content(self) -> bool:
        assert self._text is not None
        octets, self._buffer = self._buffer, b""
        if not self._content_begun:
            self._content_begun = True
            self._act("content", b"")
        text, rest = self._text.feed(octets)
        self._content += text
        if rest is None:
            return False
        self._text = None
        self._buffer = rest
        self.factory.messages.append((tuple(self._envelope), self._content))
        self._envelope = []
        self._act("end", TAKEN)
        return True

    def _line(self, line: bytes) -> None:
        self.factory.commands.append(line)
        if self._login:
            self._login = False
            self._answer("login", b"235 2.7.0 welcome\r\n", line)
            return
        verb = line.partition(b" ")[0].upper().decode("latin-1")
        if verb in ("MAIL", "RCPT"):
            self._envelope.append(line)
        if verb == "RSET":
            self._envelope = []
        capable = _LISTED if self.factory.tls is None or self.secured else ("STARTTLS", *_LISTED)
        replies = {
            "EHLO": ehlo(*capable), "LHLO": ehlo(*capable), "STARTTLS": b"220 2.0.0 go on\r\n", "DATA": READY,
            "AUTH": b"235 2.7.0 welcome\r\n", "QUIT": b"221 bye\r\n",
        }
        text = line.decode("utf-8", "replace")
        event = next((key for key in self.factory.script if " " in key and text.startswith(key)), verb)
        self._answer(event, replies.get(verb, OK), line)

    def _answer(self, event: str, default: bytes, line: bytes) -> None:
        self._act(event, default, line)
        last = self.factory.script.get(event, (default,))
        said = [each for each in last if isinstance(each, bytes)]
        if said and said[-1].startswith(b"334"):
            self._login = True
        elif event == "DATA" and any(each.startswith(b"354") for each in said):
            self._text = DotUnstuffer()
            self._content, self._content_begun = b"", False
        elif event == "STARTTLS" and self.factory.tls is not None:
            self.secured = True
            self.transport.startTLS(self.factory.tls)
        elif event == "QUIT":
            self.transport.loseConnection()

    def _act(self, event: str, default: bytes, line: bytes = b"") -> None:
        for action in self.factory.script.get(event, (default,)):
            if isinstance(action, bytes) and event in ("AUTH", "login"):
                action = action.replace(b"\0", line)
            self.act(action)


@define(eq=False)
class HostileFactory(Factory):
    """Servers of one script, and what they were told: `commands`, `messages` as ((MAIL, RCPT ... lines), content).

    With `tls`, which is what startTLS takes, STARTTLS is offered and done (on sockets).
    """

    clock: IReactorTime
    script: Script = field(factory=dict)
    tls: Any = None
    commands: list[bytes] = field(factory=list)
    messages: list[tuple[tuple[bytes, ...], bytes]] = field(factory=list)
    sessions: list[HostileServer] = field(factory=list)
    noisy = False

    def buildProtocol(self, addr: object) -> Any:
        """One session."""
        server = HostileServer(self.clock)
        server.factory = self
        return server

    def __call__(self) -> HostileServer:
        """The same, for `testing.network`."""
        server: HostileServer = self.buildProtocol(None)
        return server
