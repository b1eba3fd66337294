"""A world for the POP3 core: a maildrop in memory and one user, `bonnie` with the password `tan gerine`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mailbridge.limits import Limits
from mailbridge.pop3 import dialogue
from mailbridge.pop3.server import Server
from mailbridge.pop3.settings import Settings
from mailbridge.sasl.mechanisms import Mechanisms
from mailbridge.sasl.values import Apop, Credentials, Password, Proof
from mailbridge.sasl.verifier import ScramVerifier, false_verifier

MESSAGES = (
    b"Return-Path: <a@x>\r\nSubject: one\r\n\r\nfirst\r\n.second\r\n",
    b"Subject: two\r\n\r\nno line end",
    b"Subject: three\r\n\r\nlast\r\n",
)
STAMP = b"<1896.697170952@mail.example>"


class Verifiers:
    """Knows bonnie's SCRAM verifier."""

    def scram(self, username: str) -> ScramVerifier:
        """Hers, or a false one."""
        if username == "bonnie":
            return ScramVerifier.derive("tan gerine", b"salt" * 4)
        return false_verifier(b"key", username)


class FakeOutside:
    """An `Outside`, and a `tests.dialogue.Peer`. With `slow`, answers wait for `settle` or an `E: settle` line."""

    def __init__(self, messages: tuple[bytes, ...] = MESSAGES, *, slow: bool = False, tls: bool = False,
                 can_tls: bool = False, loopback: bool = True, stamp: bytes = b"", limits: Limits | None = None,
                 settings: Settings | None = None) -> None:
        self.messages = messages
        self.slow = slow
        self.written: list[bytes] = []
        self.calls: list[str] = []
        self.pending: list[Callable[[], None]] = []
        self.turns = 0
        self.closed = self.handshaking = self.busy = self.failing = self.in_chunks = False
        self.greeted = False
        self.deleted: list[int] = []
        self.offered: tuple[str, ...] = ("SCRAM-SHA-256", "PLAIN")
        self.core = Server(self, settings or Settings("mail.example"), limits or Limits(), tls=tls, can_tls=can_tls,
                           loopback=loopback, stamp=stamp)

    def _soon(self, answer: Callable[[], None]) -> None:
        if self.slow:
            self.pending.append(answer)
        else:
            answer()

    def settle(self) -> None:
        """Give all answers that wait."""
        while self.pending:
            self.pending.pop(0)()

    # --- Peer ---------------------------------------------------------------------------------------------------------

    def feed(self, octets: bytes) -> bytes:
        """What the server says to these octets, over as many turns as it asks for."""
        if not self.greeted:
            self.greeted = True
            self.write(dialogue.greeting("mail.example", self.core.stamp))
        if octets and not self.closed:
            self.core.receive(octets)
        return self.said()

    def said(self) -> bytes:
        """What the server has said since, in all the turns it wants."""
        while self.turns and not self.closed:
            self.turns -= 1
            self.core.go_on()
        octets = b"".join(self.written)
        self.written.clear()
        return octets

    def event(self, text: str) -> bytes:
        """`settle`, `slow`, `busy`, `failing`, `chunks`, or `pause` and `resume`."""
        if text == "settle":
            self.settle()
        elif text == "slow":
            self.slow = True
        elif text == "busy":
            self.busy = True
        elif text == "failing":
            self.failing = True
        elif text == "chunks":
            self.in_chunks = True
        elif text == "pause":
            self.core.pause()
        elif text == "resume":
            self.core.resume()
        else:
            raise AssertionError(f"there is no event {text!r}")
        return self.said()

    # --- Outside ------------------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Kept."""
        assert not self.closed
        self.written.append(octets)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Kept as well."""
        def send() -> None:
            for piece in pieces:
                self.write(piece)
            self.core.streamed()

        self._soon(send)

    def come_back(self) -> None:
        """Counted."""
        self.turns += 1

    def close(self) -> None:
        """Noted."""
        self.closed = True

    def start_tls(self) -> None:
        """As if the handshake were done."""
        self.handshaking = True
        self.core.secured()

    def mechanisms(self) -> Mechanisms:
        """PLAIN and SCRAM-SHA-256."""
        return Mechanisms(self.offered, "mail.example", lambda count: b"n" * count, Verifiers())

    def login(self, credentials: Credentials) -> None:
        """Bonnie only."""
        self.calls.append("login")
        if isinstance(credentials, Password):
            right = credentials.username == b"bonnie" and credentials.password == b"tan gerine"
        elif isinstance(credentials, Apop):
            right = credentials.username == b"bonnie" and credentials.proves(b"tan gerine")
        else:
            right = isinstance(credentials, Proof) and credentials.proven
        if not right:
            self._soon(lambda: self.core.refused(dialogue.WRONG_PASSWORD))
        elif self.busy:
            self._soon(lambda: self.core.refused(dialogue.IN_USE))
        else:
            self._soon(lambda: self.core.opened([_size(message) for message in self.messages]))

    def uid(self, index: int) -> bytes:
        """A fixed one."""
        return b"e.%d" % (index + 100)

    def retrieve(self, index: int) -> bytes | Iterator[bytes] | None:
        """The message, unless it has to be waited for."""
        if self.slow or self.failing:
            self._index = index
            return None
        message = self.messages[index]
        return iter([message[at:at + 7] for at in range(0, len(message), 7)]) if self.in_chunks else message

    def fetch(self) -> None:
        """The message, or a failing store."""
        index = self._index
        if self.failing:
            self._soon(lambda: self.core.answer(dialogue.NOT_NOW))
        else:
            self._soon(lambda: self.core.retrieved(self.messages[index]))

    def delete(self, indices: Iterator[int]) -> None:
        """Noted, unless the store fails."""
        def answer() -> None:
            if self.failing:
                self.core.updated(dialogue.NOT_REMOVED)
            else:
                self.deleted = list(indices)
                self.core.updated(dialogue.BYE)

        self._soon(answer)


def _size(message: bytes) -> int:
    return len(message) if message.endswith(b"\r\n") else len(message) + 2


def logged_in(outside: FakeOutside) -> FakeOutside:
    """`outside` after bonnie's login."""
    answer = outside.feed(b"USER bonnie\r\nPASS tan gerine\r\n")
    outside.settle()
    answer += outside.said()
    assert answer.endswith(b"octets)\r\n"), answer
    return outside
