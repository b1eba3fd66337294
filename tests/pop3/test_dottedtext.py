"""Multi-line answers: the end is found wherever the network cut it, and nowhere else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3.dottedtext import DottedText

STATUS = b"+OK\r\n"


def read(*pieces: bytes) -> tuple[bytes, bytes | None]:
    """(text, what follows its end or None) of an answer's text in these pieces; the first begins after a status."""
    text, out = DottedText(), b""
    data, at = STATUS + pieces[0], len(STATUS)
    for piece in (*pieces[1:], b""):
        octets, at = text.take(data, at)
        out += octets
        if text.ended:
            return out, data[at:] + piece + b"".join(pieces[len(pieces):])
        data, at = piece, 0
    return out, None


class DottedTextTests(SynchronousTestCase):
    """Texts, whole and cut."""

    TEXTS = (
        (b".\r\n", b""), (b"a\r\n.\r\n", b"a\r\n"), (b"..\r\n.\r\n", b".\r\n"), (b"...\r\n.\r\n", b"..\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"), (b"\r\n\r\n.\r\n", b"\r\n\r\n"), (b"a\n.\r\n.\r\n", b"a\r\n.\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"), (b"a\rb\r\r\n.\r\n", b"a\r\nb\r\n\r\n"),
        (b"\0\xff\r\n.\r\n", b"\0\xff\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"), (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
    )

    def test_whole(self) -> None:
        """Each text in one piece, with what follows left alone."""
        for wire, text in self.TEXTS:
            self.assertEqual(read(wire + b"+OK next"), (text, b"+OK next"), wire)

    def test_cut_everywhere(self) -> None:
        """The same cut in two at each octet, and octet by octet."""
        for wire, text in self.TEXTS:
            for at in range(1, len(wire)):
                self.assertEqual(read(wire[:at], wire[at:]), (text, b""), (wire, at))
            self.assertEqual(read(*(wire[at:at + 1] for at in range(len(wire)))), (text, b""), wire)

    def test_no_end(self) -> None:
        """Nothing but CR LF dot CR LF is an end."""
        for wire in (b"a\n.\n", b"a\r\n.", b"a\r\n.\r", b"a\r\n.\n", b"a\n.\r\n", b"a\r.\r", b"a\r\n. \r\n", b""):
            self.assertIsNone(read(wire)[1], wire)

    def test_the_next_end_is_not_taken_for_this_one(self) -> None:
        """An end mark that is cut is found although another answer with one follows in the same octets."""
        wire, rest = b"one\r\n.\r\n", b"+OK\r\ntwo\r\n.\r\n"
        for at in range(1, len(wire)):
            text = DottedText()
            first, _ = text.take(STATUS + wire[:at], len(STATUS))
            second, end = text.take(wire[at:] + rest, 0)
            self.assertTrue(text.ended)
            self.assertEqual((first + second, (wire[at:] + rest)[end:]), (b"one\r\n", rest), at)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n."]), min_size=1), st.data())
    def test_any_cut(self, parts: list[bytes], data: st.DataObject) -> None:
        """Any octets, cut in any two places, give what they give whole, with CR and LF in pairs only."""
        wire = b"".join(parts) + b"\r\n.\r\n"
        whole, rest = read(wire)
        one = data.draw(st.integers(0, len(wire)))
        two = data.draw(st.integers(one, len(wire)))
        text, out, left = DottedText(), b"", wire
        for piece in (wire[:one], wire[one:two], wire[two:]):
            if text.ended or not piece:
                continue
            octets, _ = text.take(piece, 0)
            out += octets
            left = left[len(piece):]
        self.assertTrue(text.ended)
        self.assertEqual(out, whole)
        self.assertEqual(out.count(b"\r"), out.count(b"\n"))
        self.assertEqual(out.count(b"\r\n"), out.count(b"\n"))
        self.assertIsNotNone(rest)
