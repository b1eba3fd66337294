"""Messages on the wire."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.lines import DotUnstuffer
from mailbridge.pop3.message import dotted, dotted_pieces, top

WIRE = (
    (b"", b".\r\n"),
    (b"a\r\n", b"a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b".", b"..\r\n.\r\n"),
    (b".\r\n", b"..\r\n.\r\n"),
    (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
    (b"a\r\n..b\r\n", b"a\r\n...b\r\n.\r\n"),
)

text = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n\r\n", b"..", b"xyz"]), max_size=30).map(b"".join)


def cut(octets: bytes, size: int) -> Iterator[bytes]:
    """`octets` in pieces of `size`."""
    return iter([octets[at:at + size] for at in range(0, len(octets), size)])


def simple_top(message: bytes, lines: int) -> bytes:
    """TOP by the book: the header, the blank line, `lines` lines."""
    header, blank, body = (b"\r\n" + message).partition(b"\r\n\r\n")
    taken = b"".join(line + b"\r\n" for line in body.split(b"\r\n")[:lines])
    if len(taken) > len(body):
        taken = body
    return (header + blank)[2:] + taken if blank else message


class MessageTests(SynchronousTestCase):
    """Dots, end marks, tops."""

    def test_table(self) -> None:
        """Dots are doubled and the end mark stands on a line of its own."""
        for message, wire in WIRE:
            self.assertEqual(dotted(message), wire)

    @given(text, st.integers(1, 9))
    def test_pieces_are_the_whole(self, message: bytes, size: int) -> None:
        """However a message is cut, the same octets go out, and a client gets the message back."""
        wire = b"".join(dotted_pieces(cut(message, size)))
        self.assertEqual(wire, dotted(message))
        back, rest = DotUnstuffer().feed(wire)
        self.assertEqual(back, message if message.endswith(b"\r\n") or not message else message + b"\r\n")
        self.assertEqual(rest, b"")

    @given(text, st.integers(0, 6), st.integers(1, 9))
    def test_top(self, message: bytes, lines: int, size: int) -> None:
        """TOP is the header and so many lines, however the message is cut."""
        self.assertEqual(b"".join(top(cut(message, size), lines)), simple_top(message, lines))

    def test_top_stops_reading(self) -> None:
        """TOP of a huge message reads no further than it shows, and lets go of the message."""
        read, ended = [], []

        def chunks() -> Iterator[bytes]:
            try:
                while True:
                    read.append(1)
                    yield b"a: b\r\n\r\n" + b"line\r\n" * 1000
            finally:
                ended.append(1)

        b"".join(dotted_pieces(top(chunks(), 1500)))
        self.assertEqual((len(read), len(ended)), (2, 1))
