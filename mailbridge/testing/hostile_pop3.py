"""A POP3 server that does as its script says: well by default, and in `MODES` as badly as servers on the net do.

It runs in memory (`testing.network`) and on sockets, holds a maildrop that outlives its sessions, and keeps what it was
told and what was deleted, so that a test can say whether mail was lost, came twice, or was deleted too early.

The events of a script: `connect`, a verb or a whole command (`RETR 2`), `login` (a line of a SASL login). A server that
is silent, or has begun something endless or slow, answers nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

from mailbridge.lines import DotStuffer
from mailbridge.testing.acting import ActingServer, Close, Deaf, Endless, Script, Slowly

GREETING = b"+OK hostile.example ready <1.2@hostile.example>\r\n"
OK = b"+OK\r\n"
ERR = b"-ERR no\r\n"
CHALLENGE = b"+ \r\n"
CAPABILITIES = ("TOP", "UIDL", "USER", "RESP-CODES", "PIPELINING", "SASL PLAIN")

MESSAGES: tuple[tuple[str, bytes], ...] = (
    ("uid-1", b"Subject: one\r\n\r\nfirst\r\n"),
    ("uid-2", b"Subject: two\r\n\r\n.\r\n..\r\n.dot\r\n"),
    ("uid-3", b"Subject: three\r\n\r\n" + b"0123456789abcdef\r\n" * 500),
)
"""What the maildrop holds when a test says nothing else: unique id and octets of each."""


def listed(*lines: str) -> bytes:
    """A multi-line answer."""
    return OK + b"".join(line.encode("latin-1") + b"\r\n" for line in lines) + b".\r\n"


def dotted(octets: bytes) -> bytes:
    """A message as RETR sends it."""
    stuffer = DotStuffer()
    return OK + stuffer.feed(octets) + stuffer.finish()


_TLS = {"CAPA": (listed("STLS", *CAPABILITIES),)}
_SASL = {"CAPA": (listed("SASL PLAIN"),)}
_HEAD = OK + b"Subject: endless\r\n"
_LINE = b"x" * 70 + b"\r\n"

MODES: dict[str, Script] = {
    # the greeting
    "silence": {"connect": ()},
    "closed at once": {"connect": (Close(),)},
    "endless greeting": {"connect": (Endless(b"+OK " + b"x" * 1000),)},
    "no POP3": {"connect": (b"SSH-2.0-OpenSSH_9.6\r\n",)},
    "-ERR at the greeting": {"connect": (b"-ERR [SYS/TEMP] come back later\r\n",)},
    "drip in the greeting": {"connect": (Slowly(b"+OK hostile.example takes its time\r\n"),)},
    "APOP bait": {"connect": (b"+OK <@\"\x01<x\xff\xfe\0bait>, <a@b\t>\r\n",)},
    "answers before commands": {"connect": (GREETING + OK * 5,)},
    "flood of unasked answers": {"connect": (GREETING, Endless(OK * 1000, 0.01))},
    "control characters": {"connect": (b"+OK \x1b[2J\0\xff\x9b31m\r\n",), "QUIT": (b"-ERR \x1b[31m\0\xff no\r\n",)},
    # CAPA
    "silence at CAPA": {"CAPA": ()},
    "-ERR at CAPA": {"CAPA": (ERR,)},
    "endless CAPA": {"CAPA": (OK, Endless(b"X-CAPABILITY of the server\r\n" * 100))},
    "endless CAPA line": {"CAPA": (OK, Endless(b"x" * 10_000))},
    "CAPA without an end": {"CAPA": (OK + b"TOP\r\nUIDL\r\n", Deaf())},
    "CAPA with stray CR": {"CAPA": (OK + b"UIDL\r\r\nPIPELINING \r\r\nSASL  PLAIN\r\r\n\r\n.\r\n",)},
    # TLS
    "STLS missing": {},
    "STLS refused": {**_TLS, "STLS": (ERR,)},
    "STLS unanswered": {**_TLS, "STLS": ()},
    "STLS hanging in the handshake": {**_TLS, "STLS": (OK, Deaf())},
    "garbage at STLS": {**_TLS, "STLS": (b"220 go on\r\n",)},
    "plaintext injected after STLS": {**_TLS, "STLS": (OK + listed("SASL PLAIN") + OK * 3,)},
    "part of an answer after STLS": {**_TLS, "STLS": (OK + b"+O",)},
    # logging in
    "-ERR at USER": {"CAPA": (ERR,), "USER": (ERR,)},
    "-ERR at PASS": {"CAPA": (ERR,), "PASS": (b"-ERR [AUTH] wrong\r\n",)},
    "IN-USE at PASS": {"CAPA": (ERR,), "PASS": (b"-ERR [in-use] locked\r\n",)},
    "silence at USER": {"CAPA": (ERR,), "USER": ()},
    "silence at PASS": {"CAPA": (ERR,), "PASS": ()},
    "garbage at PASS": {"CAPA": (ERR,), "PASS": (b"\0\r\n",)},
    "password repeated at PASS": {"CAPA": (ERR,), "PASS": (b"-ERR what is \0?\r\n",)},
    "AUTH refused": {**_SASL, "AUTH": (b"-ERR [AUTH] no\r\n",)},
    "silence at AUTH": {**_SASL, "AUTH": ()},
    "silence in a login": {**_SASL, "login": ()},
    "AUTH that never ends": {**_SASL, "AUTH": (CHALLENGE,), "login": (CHALLENGE,)},
    "AUTH that is repeated aloud": {**_SASL, "login": (b"-ERR wrong: \0\r\n",)},
    "AUTH that is repeated as a challenge": {**_SASL, "login": (b"+ \0\r\n",)},
    "AUTH that is repeated as nonsense": {**_SASL, "login": (b"what is \0\r\n",)},
    # STAT
    "-ERR at STAT": {"STAT": (ERR,)},
    "silence at STAT": {"STAT": ()},
    "huge numbers at STAT": {"STAT": (b"+OK 99999999999999999999999 " + b"9" * 4000 + b"\r\n",)},
    "nonsense at STAT": {"STAT": (b"+OK -1 many\r\n",)},
    # LIST
    "-ERR at LIST": {"LIST": (ERR,)},
    "silence at LIST": {"LIST": ()},
    "endless LIST": {"LIST": (OK, Endless(b"1 1\r\n" * 20_000, 0.01))},
    "endless LIST line": {"LIST": (OK, Endless(b"1" * 100_000, 0.01))},
    "LIST without an end": {"LIST": (OK + b"1 23\r\n", Deaf())},
    "drip in LIST": {"LIST": (OK, Slowly(b"1 23\r\n2 33\r\n"))},
    "LIST cut": {"LIST": (OK + b"1 23\r\n2", Close())},
    "LIST with wrong counts": {"LIST": (listed("1 23", *(f"{n} 10" for n in range(2, 30))),)},
    "LIST with fewer than there are": {"LIST": (listed("2 33"),)},
    "LIST with huge numbers": {"LIST": (listed("1 23", "5000000000 7", "9" * 500 + " 7", "2 " + "9" * 30, "3 9012"),)},
    "LIST with repeats": {"LIST": (listed("1 23", "2 33", "2 1", "1 23", "3 9012"),)},
    "LIST with number 0 and below": {"LIST": (listed("0 7", "-1 7", "+1 7", "1 23", "2 33", "3 9012"),)},
    "LIST with wrong sizes": {"LIST": (listed("1 1", "2 999999999999", "3 -5"),)},
    "LIST with malformed lines": {"LIST": (listed("", "x", "1", "1 23", "2 \xff", "\0", "2 33 more", "3  9012"),)},
    # UIDL
    "-ERR at UIDL": {"UIDL": (ERR,)},
    "silence at UIDL": {"UIDL": ()},
    "endless UIDL": {"UIDL": (OK, Endless(b"".join(b"%d u%064d\r\n" % (n, n) for n in range(1, 1000)), 0.01))},
    "a million-octet UID": {"UIDL": (listed("1 uid-1", "2 " + "u" * 1_000_000, "3 uid-3"),)},
    "UIDs like paths": {"UIDL": (listed("1 ../../../etc/passwd", "2 /dev/null", "3 C:\\uid;rm"),)},
    "UIDs with control characters": {"UIDL": (listed("1 uid\0", "2 \x1b[2J", "3 uid-3"),)},
    "UIDL with wrong counts": {"UIDL": (listed(*(f"{n} uid-{n}" for n in range(1, 30))),)},
    "UIDL with huge numbers": {"UIDL": (listed("99999999999 a", "1 uid-1", "2 uid-2", "3 uid-3"),)},
    "UIDL with repeats": {"UIDL": (listed("1 uid-1", "2 same", "3 same", "1 other"),)},
    "UIDL with number 0 and below": {"UIDL": (listed("0 a", "-1 b", "1 uid-1", "2 uid-2", "3 uid-3"),)},
    "UIDL without UIDs": {"UIDL": (listed("1", "2 ", "3 uid-3"),)},
    # RETR
    "-ERR at RETR": {"RETR 2": (ERR,)},
    "silence at RETR": {"RETR 2": ()},
    "garbage at RETR": {"RETR 2": (b"Subject: no status\r\n\r\n.\r\n",)},
    "endless line": {"RETR 2": (_HEAD + b"\r\n", Endless(b"x" * 50_000, 0.01))},
    "endless header": {"RETR 2": (OK, Endless(b"X-Header: of the server\r\n" * 2000, 0.01))},
    "endless message": {"RETR 2": (_HEAD + b"\r\n", Endless(_LINE * 700, 0.01))},
    "no final dot": {"RETR 2": (OK + MESSAGES[0][1], Deaf())},
    "an answer left out": {"RETR 2": (b"",)},
    "an end left out": {"RETR 2": (OK + MESSAGES[0][1],)},
    "silence inside RETR": {"RETR 2": (_HEAD, Deaf())},
    "cut inside RETR": {"RETR 2": (_HEAD + b"\r\nhalf", Close())},
    "cut before the final dot": {"RETR 2": (_HEAD + b"\r\nall\r\n", Close())},
    "drip in RETR": {"RETR 2": (OK, Slowly(MESSAGES[1][1] * 100))},
    "a message of no lines": {"RETR 2": (OK + b".\r\n",)},
    "lone dots": {"RETR 2": (dotted(b".\r\n" * 5),)},
    "NULs": {"RETR 2": (dotted(b"Subject: \0\0\r\n\r\n\0\r\n"),)},
    "bare CR and LF": {"RETR 2": (OK + b"Subject: bare\n\nLF\nCR\rCR LF\r\n.\r\n",)},
    "false ends": {"RETR 2": (OK + b"one\n.\ntwo\r.\rthree\r\n.\nfour\n.\r\nfive\r\n.\r\n",)},
    "flood after RETR": {"RETR 3": (dotted(MESSAGES[2][1]), Endless(OK * 1000, 0.01))},
    "closed without a word after RETR": {"RETR 3": (dotted(MESSAGES[2][1]), Close())},
    # the end
    "-ERR at DELE": {"DELE 2": (ERR,)},
    "silence at DELE": {"DELE 2": ()},
    "closed at DELE": {"DELE 2": (Close(),)},
    "-ERR at QUIT": {"QUIT": (b"-ERR [SYS/PERM] some messages not removed\r\n",)},
    "silence at QUIT": {"QUIT": ()},
    "closed at QUIT": {"QUIT": (Close(),)},
}


class HostilePOP3(ActingServer):
    """One session."""

    factory: HostilePOP3Factory

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)
        self._buffer = b""
        self._login = self._stuck = False
        self._marked: set[int] = set()
        self._held: list[tuple[str, bytes]] = []

    def connectionMade(self) -> None:
        """Greet, in the way of the mode."""
        self._held = list(self.factory.messages)
        self.answer("connect", GREETING)

    def dataReceived(self, data: bytes) -> None:
        """Commands."""
        self._buffer += data
        while not (self.deaf or self.gone):
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            self._buffer = rest
            self.factory.commands.append(line)
            if not self._stuck:
                self._line(line)

    def _line(self, line: bytes) -> None:
        if self._login:
            self._login = False
            self.answer("login", OK, line)
            return
        words = line.decode("latin-1").split(" ")
        verb = words[0].upper()
        serve: Callable[[Sequence[str]], bytes] = getattr(self, f"_serve_{verb.lower()}", lambda _: OK)
        try:
            default = serve(words[1:])
        except (IndexError, ValueError):
            default = ERR
        text = line.decode("latin-1")
        event = text if text in self.factory.script else verb
        self.answer(event, default, line)
        if verb == "STLS" and self.factory.tls is not None:
            self.transport.startTLS(self.factory.tls)
        if verb == "QUIT" and event not in self.factory.script:
            self.transport.loseConnection()

    def answer(self, event: str, default: bytes, line: bytes = b"") -> None:
        """Do what the script says at `event`; a NUL in its octets is the line that was sent, in a login."""
        actions = self.factory.script.get(event, (default,))
        self._stuck = not actions or isinstance(actions[-1], Endless | Slowly)
        for action in actions:
            if isinstance(action, bytes) and event in ("PASS", "login"):
                action = action.replace(b"\0", line.removeprefix(b"PASS "))
            if isinstance(action, bytes) and action.startswith(b"+ "):
                self._login = True
            self.act(action)

    def _serve_capa(self, _words: Sequence[str]) -> bytes:
        tls = () if self.factory.tls is None else ("STLS",)
        return listed(*tls, *CAPABILITIES)

    def _serve_auth(self, _words: Sequence[str]) -> bytes:
        return CHALLENGE

    def _serve_stat(self, _words: Sequence[str]) -> bytes:
        left = self._left()
        return b"+OK %d %d\r\n" % (len(left), sum(len(self._held[number - 1][1]) for number in left))

    def _serve_list(self, _words: Sequence[str]) -> bytes:
        return listed(*(f"{number} {len(self._held[number - 1][1])}" for number in self._left()))

    def _serve_uidl(self, _words: Sequence[str]) -> bytes:
        return listed(*(f"{number} {self._held[number - 1][0]}" for number in self._left()))

    def _serve_retr(self, words: Sequence[str]) -> bytes:
        return dotted(self._message(words[0])[1])

    def _serve_top(self, words: Sequence[str]) -> bytes:
        header, _, body = self._message(words[0])[1].partition(b"\r\n\r\n")
        lines = body.split(b"\r\n")[:int(words[1])]
        return dotted(header + b"\r\n\r\n" + b"".join(line + b"\r\n" for line in lines))

    def _serve_dele(self, words: Sequence[str]) -> bytes:
        self._message(words[0])
        self._marked.add(int(words[0]))
        return OK

    def _serve_rset(self, _words: Sequence[str]) -> bytes:
        self._marked.clear()
        return OK

    def _serve_quit(self, _words: Sequence[str]) -> bytes:
        if "QUIT" not in self.factory.script:
            gone = [self._held[number - 1] for number in sorted(self._marked)]
            self.factory.deleted += [uid for uid, _ in gone]
            self.factory.messages = [each for each in self.factory.messages if each not in gone]
        return OK

    def _left(self) -> list[int]:
        return [number for number in range(1, len(self._held) + 1) if number not in self._marked]

    def _message(self, number: str) -> tuple[str, bytes]:
        if int(number) not in self._left():
            raise IndexError(number)
        return self._held[int(number) - 1]


@define(eq=False)
class HostilePOP3Factory(Factory):
    """Servers of one script over one maildrop. `messages` are (unique id, octets), `deleted` the ids of those that a
    QUIT removed, `commands` what clients said. With `tls`, which is what startTLS takes, STLS is offered and done."""

    clock: IReactorTime
    script: Script = field(factory=dict)
    messages: list[tuple[str, bytes]] = field(factory=lambda: list(MESSAGES))
    tls: Any = None
    commands: list[bytes] = field(factory=list)
    deleted: list[str] = field(factory=list)
    noisy = False

    def buildProtocol(self, addr: object) -> Any:
        """One session."""
        server = HostilePOP3(self.clock)
        server.factory = self
        return server

    def __call__(self) -> HostilePOP3:
        """The same, for `testing.network`."""
        server: HostilePOP3 = self.buildProtocol(None)
        return server
