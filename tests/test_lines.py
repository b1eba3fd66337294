"""Line ends and dots, cut at every place a network may cut them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.lines import DotStuffer, DotUnstuffer, EitherEndUnstuffer, Normaliser, has_bare_newline

# What has been taken for an end of data by one server and not by another (threats.md, smuggling).
SMUGGLERS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\n.\x0b\r\n", b"\x0b.\x0b", b"\x0c.\x0c", b"\x1c.\x1c", b"\x85.\x85", b"\r\n.\x85", "\u2028.\u2028".encode(),
    b"\r\n .\r\n", b"\r\n. \r\n", b".\r\r\n", b"\r.\n", b"\ra\n",
]

# Texts in which CR and LF come in pairs only.
crlf_texts = st.lists(st.sampled_from([b".", b"..", b"\r\n", b"a", b"\r\n.", b".\r\n", b"xyz"]), max_size=30)
crlf_texts = crlf_texts.map(b"".join)
wild_texts = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"\0"]), max_size=30).map(b"".join)


def cuts(octets: bytes) -> Iterable[list[bytes]]:
    """The octets whole, one by one, and cut in two and in three at every place."""
    yield [octets]
    yield [octets[i:i + 1] for i in range(len(octets))]
    for i in range(len(octets) + 1):
        yield [octets[:i], octets[i:]]
        for j in range(i, min(len(octets), i + 6) + 1):
            yield [octets[:i], octets[i:j], octets[j:]]


def stuffed(chunks: Iterable[bytes]) -> bytes:
    """The wire form of a text that comes in chunks."""
    stuffer = DotStuffer()
    return b"".join(stuffer.feed(chunk) for chunk in chunks) + stuffer.finish()


def unstuffed(chunks: Iterable[bytes], unstuffer: DotUnstuffer | None = None) -> tuple[bytes, bytes | None]:
    """(text, what followed its end, None when there was no end)."""
    unstuffer, text = unstuffer or DotUnstuffer(), b""
    waiting = list(chunks)
    for index, chunk in enumerate(waiting):
        octets, rest = unstuffer.feed(chunk)
        text += octets
        if rest is not None:
            return text, rest + b"".join(waiting[index + 1:])
    return text, None


def normalised(chunks: Iterable[bytes]) -> bytes:
    """All line ends as CR LF."""
    normaliser = Normaliser()
    return b"".join(normaliser.feed(chunk) for chunk in chunks) + normaliser.finish()


class BareNewlineTests(SynchronousTestCase):
    """Finding a CR or LF without its partner."""

    def test_table(self) -> None:
        """CR LF pairs are well, everything else is bare."""
        for octets, bare in [
            (b"", False), (b"a", False), (b"\r\n", False), (b"a\r\nb\r\n", False), (b"\r\n\r\n", False), (b"\n", True),
            (b"\r", True), (b"\n\r", True), (b"\r\n\r", True), (b"\r\n\n", True), (b"\r\r\n", True), (b"a\nb\r", True),
            (b"\r\n\n\r", True), (b"\r\n" * 5000, False), (b"\r\n" * 5000 + b"\n", True), (b"\n\r" * 5000, True),
        ]:
            self.assertEqual(has_bare_newline(octets), bare, octets[:20])

    def test_separated_pair(self) -> None:
        """A CR and an LF with something between them are two bare ones."""
        self.assertTrue(has_bare_newline(b"\ra\n"))

    @given(wild_texts)
    def test_agrees_with_pattern(self, octets: bytes) -> None:
        """The fast answer is that of the plain definition."""
        self.assertEqual(has_bare_newline(octets), bool(re.search(rb"\r(?!\n)|(?<!\r)\n", octets)))


class NormaliserTests(SynchronousTestCase):
    """Line ends of old devices."""

    def test_table(self) -> None:
        """Every line end becomes CR LF, wherever the text is cut."""
        for octets, expected in [
            (b"a\nb", b"a\r\nb"), (b"a\rb", b"a\r\nb"), (b"a\r\nb", b"a\r\nb"), (b"\r\r\n", b"\r\n\r\n"),
            (b"\n\r", b"\r\n\r\n"), (b"\r.\n", b"\r\n.\r\n"),
            (b"a\r", b"a\r\n"), (b"\r\n", b"\r\n"), (b"", b""), (b"\n\n", b"\r\n\r\n"),
        ]:
            for chunks in cuts(octets):
                self.assertEqual(normalised(chunks), expected, chunks)

    @given(wild_texts)
    def test_nothing_bare_is_left(self, octets: bytes) -> None:
        """What comes out has no bare line end, and the same lines."""
        out = normalised([octets[:3], octets[3:]])
        self.assertFalse(has_bare_newline(out))
        self.assertEqual(out.replace(b"\r\n", b"\n"), re.sub(rb"\r\n|\r", b"\n", octets))
        self.assertEqual(normalised([out]), out)


class DotStufferTests(SynchronousTestCase):
    """The wire form of a text."""

    def test_table(self) -> None:
        """A dot at the start of a line is doubled and the end is marked, wherever the text is cut."""
        for octets, expected in [
            (b"", b".\r\n"), (b".", b"..\r\n.\r\n"), (b"a", b"a\r\n.\r\n"), (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"), (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"), (b"a.b\r\n", b"a.b\r\n.\r\n"),
            (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n.\r\n"), (b"\r\n\r\n.", b"\r\n\r\n..\r\n.\r\n"),
        ]:
            for chunks in cuts(octets):
                self.assertEqual(stuffed(chunks), expected, chunks)

    def test_split_at_buffer_end(self) -> None:
        """A line end at octet 16,384 with a dot after it does not end the message early (the stock client's fault)."""
        text = b"a" * 16_382 + b"\r\n" + b".\r\nMAIL FROM:<x@y>\r\n"
        wire = stuffed([text[:16_384], text[16_384:]])
        self.assertEqual(wire.find(b"\r\n.\r\n"), len(wire) - 5)


class DotUnstufferTests(SynchronousTestCase):
    """The text in the wire form, and its end."""

    def test_table(self) -> None:
        """Only CR LF dot CR LF ends a text; what follows is given back, wherever it is cut."""
        for wire, text, rest in [
            (b".\r\n", b"", b""), (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"), (b"a\r\n.\r\n", b"a\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n", b""), (b"\r\n..a\r\n.\r\nx", b"\r\n.a\r\n", b"x"),
            (b".a\r\n.\r\n", b"a\r\n", b""),
            (b"\r\n.\r\n.\r\n", b"\r\n", b".\r\n"), (b"...\r\n.\r\n", b"..\r\n", b""),
        ]:
            for chunks in cuts(wire):
                self.assertEqual(unstuffed(chunks), (text, rest), chunks)

    def test_no_end_yet(self) -> None:
        """A text without its end mark has none, however close it comes."""
        for wire in (b"", b".", b".\r", b"a", b"a\r\n", b"a\r\n.", b"a\r\n.\r", b"a.\r\n", b"\r\n..\r\n"):
            for chunks in cuts(wire):
                self.assertIsNone(unstuffed(chunks)[1], chunks)

    def test_smuggling(self) -> None:
        """Nothing that only looks like an end mark is one: the commands behind it stay text."""
        for trick in SMUGGLERS:
            wire = b"hello" + trick + b"MAIL FROM:<evil@x>\r\nhello\r\n.\r\n"
            for chunks in cuts(wire):
                text, rest = unstuffed(chunks)
                self.assertEqual(rest, b"", trick)
                self.assertIn(b"MAIL FROM:<evil@x>", text)

    def test_smuggling_out(self) -> None:
        """Normalised and stuffed, no trick makes an end mark in the middle of what a relay would send."""
        for trick in SMUGGLERS:
            wire = stuffed([normalised([b"hello" + trick + b"MAIL FROM:<evil@x>\r\n"])])
            self.assertEqual(re.sub(rb"\r\n|\r|\n", b"\r\n", wire).find(b"\r\n.\r\n"), len(wire) - 5, trick)

    @given(crlf_texts, st.lists(st.integers(0, 60), max_size=5))
    def test_inverse(self, text: bytes, places: list[int]) -> None:
        """Stuffed and unstuffed, every text is itself again, with the CR LF its last line may have lacked."""
        whole = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
        wire = stuffed(pieces(text, places)) + b"QUIT\r\n"
        self.assertEqual(unstuffed(pieces(wire, places)), (whole, b"QUIT\r\n"))

    @given(wild_texts, st.lists(st.integers(0, 60), max_size=5))
    def test_cuts_do_not_matter(self, wire: bytes, places: list[int]) -> None:
        """Whatever comes, the cut does not change where the text ends or what it is."""
        whole, cut = unstuffed([wire]), unstuffed(pieces(wire, places))
        self.assertEqual(whole, cut)


def pieces(octets: bytes, places: list[int]) -> list[bytes]:
    """The octets cut at these places."""
    ends = sorted({place for place in places if place < len(octets)}) + [len(octets)]
    return [octets[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class EitherEndUnstufferTests(SynchronousTestCase):
    """A text that may end with a line of space and dot."""

    def test_table(self) -> None:
        """The first of the two ends is the end, wherever the text is cut; nearly an end is text."""
        for wire, text, rest, cut in [
            (b" .\r\n", b"", b"", True), (b".\r\n", b"", b"", False),
            (b"a\r\n .\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n", True), (b"a\r\n.\r\n .\r\n", b"a\r\n", b" .\r\n", False),
            (b"a\r\n .\r\n.\r\n", b"a\r\n", b".\r\n", True), (b"..\r\n .\r\n", b".\r\n", b"", True),
            (b" ..\r\n. .\r\n .\r\n", b" ..\r\n .\r\n", b"", True),
            (b"a .\r\n .x\r\n.\r\n", b"a .\r\n .x\r\n", b"", False),
            (b"\r\n .\r\r\n .\n\r\n.\r\n", b"\r\n .\r\r\n .\n\r\n", b"", False),
        ]:
            for chunks in cuts(wire):
                unstuffer = EitherEndUnstuffer(b" .")
                self.assertEqual((*unstuffed(chunks, unstuffer), unstuffer.cut), (text, rest, cut), chunks)

    def test_smuggling(self) -> None:
        """What others take for an end is text for this client too, but for the one line that was agreed on."""
        for trick in SMUGGLERS:
            if trick == b"\r\n .\r\n":
                continue
            wire = b"a" + trick + b"MAIL FROM:<x@y>\r\n .\r\n"
            for chunks in cuts(wire):
                text, rest = unstuffed(chunks, EitherEndUnstuffer(b" ."))
                self.assertEqual(rest, b"", trick)
                self.assertIn(b"MAIL", text)

    @given(st.lists(st.sampled_from([b".", b" ", b"\r", b"\n", b"\r\n", b" .\r\n", b"end"]), max_size=20).map(b"".join),
           st.sampled_from([b" .", b"end", b"e", b" .."]), st.integers(0, 40))
    def test_agrees_with_definition(self, wire: bytes, line: bytes, at: int) -> None:
        """It ends where the first line is that is one of the two."""
        found = re.search(rb"(?<=\r\n)(\.|%b)\r\n" % re.escape(line), b"\r\n" + wire)
        text, rest = unstuffed([wire[:at], wire[at:]], EitherEndUnstuffer(line))
        if found is None:
            self.assertIsNone(rest)
        else:
            self.assertEqual(rest, (b"\r\n" + wire)[found.end():])
            self.assertEqual(text, (b"\r\n" + wire)[:found.start()].replace(b"\r\n.", b"\r\n")[2:])
