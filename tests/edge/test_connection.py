"""The connection to a server: content at every split, any octets from the server, ends and time-outs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import Address
from mailbridge.edge.connection import Connection, EarlyAnswer, Interrupted, TLSFailed, TooSlow
from mailbridge.edge.contentflow import ContentChanged
from mailbridge.lines import DotUnstuffer
from mailbridge.smtp import client
from mailbridge.smtp.answer import AnswerError
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.outgoing import Outgoing, Recipient, Sent
from mailbridge.smtp.steps import LIMITS, Phase, Steps
from mailbridge.testing.network import BUFFER, Network

KNOWN = (AnswerError, EarlyAnswer, Interrupted, TLSFailed, ContentChanged, client.Refused, client.Unable)
B = Address("b", "x.example")
ANSWERS = b"250 ok\r\n250 ok\r\n354 go\r\n"


class Pieces:
    """Content in given pieces; `size` may lie."""

    def __init__(self, *pieces: bytes, size: int | None = None, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces)) if size is None else size
        self.error = error

    def chunks(self) -> Iterator[bytes]:
        """From the start."""
        yield from self.pieces
        if self.error is not None:
            raise self.error


class Ear(Protocol):
    """A server that keeps what it hears, and says what the test wants."""

    def __init__(self) -> None:
        self.heard = b""
        self.sips = False

    def dataReceived(self, data: bytes) -> None:
        """Kept; a server that sips reads no more for now."""
        self.heard += data
        if self.sips:
            self.transport.pauseProducing()  # type: ignore[union-attr]


class Wired:
    """A connection and a server in memory."""

    def __init__(self, **settings: Any) -> None:
        self.network = Network()
        self.ear = Ear()
        self.connection = Connection(self.network, **settings)
        self.ends = self.network.join(self.connection, self.ear)
        self.outcomes: list[Any] = []

    def run(self, steps: Steps[Any], source: Pieces | None = None) -> None:
        """Begin steps."""
        self.deferred = self.connection.run(steps, source)
        self.deferred.addBoth(self.outcomes.append)
        self.network.flush()

    def send(self, source: Pieces, *capabilities: str, ends_in_newline: bool = True) -> None:
        """One transaction."""
        mail = Outgoing(B, (Recipient(B),), source.size, ends_in_newline=ends_in_newline)
        self.run(client.send(mail, Capabilities(dict.fromkeys(("PIPELINING", *capabilities), ()))), source)

    def says(self, octets: bytes) -> None:
        """Octets from the server."""
        self.ear.transport.write(octets)  # type: ignore[union-attr]
        self.network.flush()

    @property
    def outcome(self) -> Any:
        """The one outcome."""
        (found,) = self.outcomes
        return found.value if isinstance(found, Failure) else found


class ContentTests(SynchronousTestCase):
    """The message on its way."""

    def test_every_split(self) -> None:
        """However the content is cut into chunks, the server gets it with its dots stuffed, once, and one end mark."""
        content = b".\r\n..\r\na\r\n.\r\n.b\r\n\r\n.\r\nQUIT\r\n."
        for first in range(len(content) + 1):
            for second in (first, min(first + 1, len(content)), len(content)):
                wired = Wired()
                wired.send(Pieces(content[:first], content[first:second], content[second:]))
                wired.says(ANSWERS)
                wired.says(b"250 taken\r\n")
                self.assertIsInstance(wired.outcome, Sent)
                text, rest = DotUnstuffer().feed(wired.ear.heard.partition(b"DATA\r\n")[2])
                self.assertEqual((text, rest), (content + b"\r\n", b""))

    def test_chunk(self) -> None:
        """BDAT sends the octets as they are."""
        wired = Wired()
        wired.send(Pieces(b".a\r\n", b".\r\nend"), "CHUNKING", ends_in_newline=False)
        wired.says(b"250 ok\r\n250 ok\r\n")
        self.assertTrue(wired.ear.heard.endswith(b"RCPT TO:<b@x.example>\r\nBDAT 10 LAST\r\n.a\r\n.\r\nend"))
        wired.says(b"250 taken\r\n")
        self.assertEqual([answer.text for answer in wired.outcome.final.values()], ["taken"])

    def test_half_a_message(self) -> None:
        """A source that fails, or gives more or less than it promised, never becomes a whole message."""
        for source, error in (
            (Pieces(b"half\r\n", error=OSError("disk")), OSError), (Pieces(b"half\r\n", size=99), ContentChanged),
            (Pieces(b"long\r\n", b"er\r\n", size=7), ContentChanged),
        ):
            wired = Wired()
            wired.send(source)
            wired.says(ANSWERS)
            self.assertIsInstance(wired.outcome, error)
            self.assertNotIn(b"\r\n.\r\n", wired.ear.heard)
            self.assertFalse(wired.connection.after_content)
            self.assertFalse(wired.ends[0].connected)

    def test_no_faster_than_the_server_reads(self) -> None:
        """A server that stops reading holds the content up; memory stays where it is, and the phase has its limit."""
        wired = Wired()
        chunks = [b"x" * 62 + b"\r\n"] * 1024
        wired.send(Pieces(*[b"".join(chunks)] * 100))
        wired.ends[1].reading = False
        wired.says(ANSWERS)
        self.assertLess(wired.ends[1].most_unread, 2 * BUFFER + 1)
        wired.network.advance(LIMITS[Phase.CONTENT])
        self.assertIsInstance(wired.outcome, TooSlow)
        self.assertIs(wired.outcome.phase, Phase.CONTENT)

    def test_slow_but_steady(self) -> None:
        """A server that reads slowly has its message in the end: the limit is for standing still."""
        wired = Wired()
        wired.send(Pieces(*[(b"x" * 62 + b"\r\n") * 256] * 16))
        wired.says(ANSWERS[:16])
        wired.ear.sips = True
        wired.says(ANSWERS[16:])
        while wired.ends[0].peer.unread:
            self.assertEqual(wired.outcomes, [])
            wired.network.advance(LIMITS[Phase.CONTENT] / 8)  # 16 KiB each time: less than two minutes for 64 KiB
            wired.ends[1].reading = True
            wired.network.flush()
        self.assertGreater(wired.network.seconds(), LIMITS[Phase.CONTENT] * 1.5)
        wired.says(b"250 taken\r\n")
        self.assertIsInstance(wired.outcome, Sent)


class EndTests(SynchronousTestCase):
    """Ways to end."""

    def test_each_phase_has_its_limit(self) -> None:
        """Silence ends each phase after its own time."""
        for phase, begin in (
            (Phase.GREETING, lambda wired: wired.run(client.greet())),
            (Phase.HELLO, lambda wired: wired.run(client.hello("us"))),
            (Phase.MAIL, lambda wired: wired.send(Pieces(b"x\r\n"))),
            (Phase.RESET, lambda wired: wired.run(client.reset())),
            (Phase.QUIT, lambda wired: wired.run(client.quit())),
        ):
            for limits in ({}, {phase: 7.0}):
                wired = Wired(limits=limits)
                begin(wired)
                seconds = limits.get(phase, LIMITS[phase])
                wired.network.advance(seconds - 0.1)
                self.assertEqual(wired.outcomes, [])
                wired.network.advance(0.2)
                self.assertIsInstance(wired.outcome, TooSlow)
                self.assertIs(wired.outcome.phase, phase)
                self.assertEqual(wired.network.getDelayedCalls(), [])

    def test_reply_and_close(self) -> None:
        """A last reply that comes together with the end of the connection counts."""
        for last in (b"250 taken\r\n", b"250 taken\r\n\xff\xff\r\n"):
            wired = Wired()
            wired.send(Pieces(b"x\r\n"))
            wired.says(ANSWERS)
            wired.ear.transport.write(last)  # type: ignore[union-attr]
            wired.ear.transport.loseConnection()  # type: ignore[union-attr]
            wired.network.flush()
            self.assertIsInstance(wired.outcome, Sent)
            self.assertFalse(wired.connection.usable)

    def test_goodbye_between_messages(self) -> None:
        """A kept connection that has heard 421, or anything unasked, is not used again."""
        for octets in (b"421 idle\r\n", b"250 what\r\n"):
            wired = Wired()
            wired.run(client.reset())
            wired.says(b"250 ok\r\n")
            self.assertTrue(wired.connection.usable)
            wired.says(octets)
            self.assertFalse(wired.connection.usable)

    def test_gone(self) -> None:
        """Steps on a connection that is gone fail at once, and steps on a busy one are a fault of the caller."""
        wired = Wired()
        wired.run(client.reset())
        self.assertRaises(RuntimeError, wired.connection.run, client.reset())
        wired.ends[1].loseConnection()
        wired.network.flush()
        self.assertIsInstance(wired.outcome, Interrupted)
        self.assertIsInstance(self.failureResultOf(wired.connection.run(client.reset())).value, Interrupted)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([
        b"220 hi\r\n", b"250 ok\r\n", b"250-SIZE\r\n", b"354 go\r\n", b"334 \r\n", b"421 bye\r\n", b"550 no\r\n", b"25",
        b"0 ok\r\n", b"\r\n", b"250-", b"250 STARTTLS\r\n", b"235 in\r\n", ANSWERS,
    ])), max_size=30))
    def test_any_octets(self, pieces: list[bytes]) -> None:
        """Whatever a server says, in whatever pieces: one outcome, a known one, and it never hangs."""
        wired = Wired()
        wired.run(_session(), Pieces(b"hello\r\n"))
        for piece in pieces:
            wired.says(piece)
        wired.network.advance(100_000)
        outcome = wired.outcome
        self.assertIsInstance(outcome, (Sent, *KNOWN))
        self.assertEqual(wired.network.getDelayedCalls(), [])
        if isinstance(outcome, Sent) and outcome.final:
            self.assertIn(b"hello\r\n.\r\n", wired.ear.heard)


def _session() -> Steps[Sent]:
    yield from client.greet()
    capabilities = yield from client.hello("us")
    mail = Outgoing(B, (Recipient(B),), 7)
    sent = yield from client.send(mail, capabilities)
    return sent
