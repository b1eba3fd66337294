"""The client's core: answers find their questions, however the octets were cut; nothing unasked is believed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3 import commands
from mailbridge.pop3.answer import LONGEST_LINE, Answer
from mailbridge.pop3.client import WINDOW, Client
from mailbridge.pop3.commands import Command
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.testing.hostile_pop3 import dotted


def events(client: Client) -> list[tuple[Command, Any]]:
    """Everything that can be had now."""
    found = []
    while (event := client.next()) is not None:
        found.append(event)
    return found


def texts(found: list[tuple[Command, Any]]) -> list[Any]:
    """The events with the pieces of each text joined."""
    joined: list[Any] = []
    for command, event in found:
        if isinstance(event, bytes) and joined and isinstance(joined[-1][1], bytes):
            joined[-1] = (command.shown, joined[-1][1] + event)
        else:
            joined.append((command.shown, event))
    return joined


def pipelining(*asked: Command) -> Client:
    """A client that has asked these at once."""
    client = Client()
    client.pipelining = True
    for command in asked:
        client.ask(command)
    client.outgoing()
    return client


class ClientTests(SynchronousTestCase):
    """Commands and answers."""

    def fails(self, client: Client, octets: bytes) -> UpstreamError:
        """The error that these octets cause."""
        client.receive(octets)
        return self.assertRaises(UpstreamError, events, client)

    def test_one_at_a_time(self) -> None:
        """Without PIPELINING a command waits for the answer to the one before."""
        client = Client()
        client.ask(commands.STAT)
        client.ask(commands.dele(1))
        self.assertEqual(client.outgoing(), [commands.STAT])
        self.assertEqual(client.outgoing(), [])
        client.receive(b"+OK 1 2\r\n")
        self.assertEqual(events(client), [(commands.STAT, Answer(True, "1 2"))])
        self.assertEqual(client.outgoing(), [commands.dele(1)])

    def test_pipelined(self) -> None:
        """With it as many as fit the window leave at once, and answers come in order."""
        asked = [commands.retr(number) for number in range(1, WINDOW + 10)]
        client = Client()
        client.pipelining = True
        for command in asked:
            client.ask(command)
        self.assertEqual(client.outgoing(), asked[:WINDOW])
        client.receive(dotted(b"one\r\n") + b"-ERR gone\r\n" + dotted(b"three\r\n"))
        self.assertEqual(texts(events(client)), [
            ("RETR 1", Answer(True)), ("RETR 1", b"one\r\n"), ("RETR 1", None), ("RETR 2", Answer(False, "gone")),
            ("RETR 3", Answer(True)), ("RETR 3", b"three\r\n"), ("RETR 3", None),
        ])
        self.assertEqual(client.outgoing(), asked[WINDOW:WINDOW + 3])

    def test_some_commands_go_alone(self) -> None:
        """QUIT, STLS and logins are neither pipelined nor followed."""
        client = pipelining(commands.STAT, commands.QUIT, commands.NOOP)
        self.assertEqual(client.front, commands.STAT)
        client.receive(b"+OK 0 0\r\n")
        events(client)
        self.assertEqual(client.outgoing(), [commands.QUIT])
        client.receive(b"+OK\r\n")
        events(client)
        self.assertEqual(client.outgoing(), [commands.NOOP])

    def test_unasked_answers(self) -> None:
        """An answer before its command is an error, also when its command follows."""
        self.assertIs(self.fails(Client(), b"+OK\r\n").kind, Kind.PROTOCOL)
        self.assertIs(self.fails(Client(), b"+O").kind, Kind.PROTOCOL)
        client = pipelining(commands.STAT)
        client.receive(b"+OK 1 2\r\n+OK\r\n")
        self.assertEqual(client.next(), (commands.STAT, Answer(True, "1 2")))
        client.ask(commands.dele(1))
        self.assertIs(self.assertRaises(UpstreamError, client.outgoing).kind, Kind.PROTOCOL)

    def test_a_farewell_is_told(self) -> None:
        """A server that leaves with a reason is lost, and the reason is told."""
        error = self.fails(Client(), b"-ERR [SYS/TEMP] Disconnected for inactivity\r\n")
        self.assertIs(error.kind, Kind.LOST)
        self.assertEqual(error.code, "SYS/TEMP")
        self.assertIn("inactivity", str(error))

    def test_long_lines(self) -> None:
        """A first line has a limit, complete or not."""
        for octets in (b"+OK " + b"x" * LONGEST_LINE + b"\r\n", b"x" * LONGEST_LINE):
            self.assertIs(self.fails(pipelining(commands.STAT), octets).kind, Kind.PROTOCOL)

    def test_challenges_in_logins_only(self) -> None:
        """`+` alone is an answer to AUTH and to nothing else."""
        client = pipelining(commands.auth("PLAIN"))
        client.receive(b"+ Zm9v\r\n")
        ((_, challenge),) = events(client)
        self.assertEqual(challenge.octets, b"foo")
        self.assertNotIn("foo", repr(challenge) + str(challenge))
        self.assertIs(self.fails(pipelining(commands.STAT), b"+ Zm9v\r\n").kind, Kind.PROTOCOL)

    def test_secrets_are_hidden(self) -> None:
        """A password that the server repeats is not shown."""
        client = pipelining(commands.password("swordfish9"))
        client.receive(b"-ERR what is swordfish9?\r\n")
        self.assertEqual(events(client)[0][1], Answer(False, "what is ***?"))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.binary(max_size=60).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b"\r\n"))
                 | st.sampled_from([b"", b".\r\n", b"..\r\n.\r\n", b"\r\n\r\n", b".x\r\n" * 5]), max_size=5),
        st.lists(st.integers(1, 40), max_size=60),
    )
    def test_any_cut(self, messages: list[bytes], cuts: list[int]) -> None:
        """The same messages come out of any cutting of the octets, pause or no pause between them."""
        messages = [text if text.endswith(b"\r\n") or not text else text + b"\r\n" for text in messages]
        octets = b"".join(map(dotted, messages))
        asked = [commands.retr(number) for number in range(1, len(messages) + 1)]
        whole, cut = pipelining(*asked), pipelining(*asked)
        whole.receive(octets)
        found: list[tuple[Command, Any]] = []
        for size in [*cuts, len(octets)]:
            cut.receive(octets[:size])
            octets = octets[size:]
            found += events(cut)
        expected = []
        for number, text in enumerate(messages, 1):
            expected.append((f"RETR {number}", Answer(True)))
            if text:
                expected.append((f"RETR {number}", text))
            expected.append((f"RETR {number}", None))
        self.assertEqual(texts(events(whole)), expected)
        self.assertEqual(texts(found), expected)
        self.assertTrue(whole.idle and cut.idle)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300), st.integers(1, 50))
    def test_any_octets(self, octets: bytes, size: int) -> None:
        """Whatever a server sends gives events or one typed error, and little is kept."""
        client = pipelining(commands.STAT, commands.retr(1), commands.LIST, commands.dele(1))
        try:
            for at in range(0, len(octets), size):
                client.receive(octets[at:at + size])
                events(client)
        except UpstreamError as error:
            self.assertTrue(str(error).isprintable())
        self.assertLessEqual(client.buffered, len(octets))
