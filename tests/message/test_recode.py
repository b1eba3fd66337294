"""Eight bits to seven: what goes out is ASCII, what is decoded is octet for octet what was there."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterable

from attrs import frozen
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.lines import Normaliser
from mailbridge.message.recode import CannotRecode, recoded, survey


def cut(octets: bytes, size: int) -> list[bytes]:
    """`octets` in chunks."""
    return [octets[at:at + size] for at in range(0, len(octets), size)]


def recode(octets: bytes, size: int = 65536) -> bytes:
    """The recoded message. Raises CannotRecode."""
    passes = survey(cut(octets, size))
    while True:
        try:
            next(passes)
        except StopIteration as stop:
            plan = stop.value
            break
    return b"".join(recoded(cut(octets, size), plan))


def paired(octets: bytes) -> bytes:
    """`octets` as the store has them: CR and LF come in pairs only."""
    normaliser = Normaliser()
    return normaliser.feed(octets) + normaliser.finish()


def message(*lines: bytes) -> bytes:
    """Lines with CR LF."""
    return b"".join(line + b"\r\n" for line in lines)


HIGH = "grüße".encode()
TEXT = b"Content-Type: text/plain; charset=utf-8"


class LeafTests(SynchronousTestCase):
    """One part."""

    def test_seven_bits_pass(self) -> None:
        """A message without 8-bit octets is not changed, but for a label that is not true any more."""
        for octets in (message(b"Subject: x", b"", b"body"), b"", b"\r\nbody", b"A: b", message(b"A: b")):
            self.assertEqual(recode(octets), octets)
        self.assertEqual(
            recode(message(b"Content-Transfer-Encoding: 8BIT", b"", b"body")),
            message(b"Content-Transfer-Encoding: 7bit", b"", b"body"))

    def test_text(self) -> None:
        """Text becomes quoted-printable, its old label goes."""
        self.assertEqual(
            recode(message(b"MIME-Version: 1.0", TEXT, b"Content-Transfer-Encoding:\r\n 8bit", b"Subject: x", b"",
                           HIGH, b"a=b ", b".")),
            message(b"MIME-Version: 1.0", TEXT, b"Subject: x", b"Content-Transfer-Encoding: quoted-printable", b"",
                    b"gr=C3=BC=C3=9Fe", b"a=3Db=20", b"=2E"))

    def test_unlabelled(self) -> None:
        """A body of an unknown character set says so."""
        self.assertEqual(
            recode(message(b"Subject: x", b"", b"\xe9")),
            message(b"Subject: x", b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=unknown-8bit",
                    b"Content-Transfer-Encoding: quoted-printable", b"", b"=E9"))

    def test_other_types(self) -> None:
        """What is no text becomes base64, with lines of 76."""
        octets = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"")
        out = recode(message(b"MIME-Version: 1.0", b"Content-Type: application/octet-stream", b"", octets))
        head, _, body = out.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Transfer-Encoding: base64", head)
        self.assertEqual(b64decode(body), octets + b"\r\n")
        self.assertEqual({len(line) for line in body.split(b"\r\n")[:-2]}, {76})

    def test_long_line(self) -> None:
        """A line of a million octets costs no memory and breaks softly."""
        line = (b"\xe9" + b"x" * 30) * 40_000
        out = recode(message(TEXT, b"MIME-Version: 1.0", b"", line, b"end"))
        body = out.partition(b"\r\n\r\n")[2]
        self.assertEqual(a2b_qp(body), line + b"\r\nend\r\n")
        self.assertLessEqual(max(map(len, body.split(b"\r\n"))), 76)

    def test_dkim_is_no_reason(self) -> None:
        """A DKIM signature does not keep a message from going out."""
        out = recode(message(b"DKIM-Signature: v=1; bh=x", TEXT, b"", HIGH))
        self.assertTrue(out.isascii())
        self.assertTrue(out.startswith(b"DKIM-Signature: v=1; bh=x\r\n"))


class StructureTests(SynchronousTestCase):
    """Parts in parts."""

    def test_only_parts_that_need_it(self) -> None:
        """Each part keeps its octets unless it has 8-bit ones; the labels of what is around them follow."""
        self.assertEqual(
            recode(message(
                b'Content-Type: multipart/mixed; boundary="B =x"', b"Content-Transfer-Encoding: 8bit", b"",
                b"preamble \xe9", b"--B =x", TEXT, b"", HIGH, b"--B =x  ", b"", b"=plain= ", b"--B =x",
                b"Content-Type: image/png", b"", b"\xff", b"--B =x--", b"epilogue \xe9")),
            message(
                b'Content-Type: multipart/mixed; boundary="B =x"', b"Content-Transfer-Encoding: 7bit", b"",
                b"preamble ?", b"--B =x", TEXT, b"Content-Transfer-Encoding: quoted-printable", b"",
                b"gr=C3=BC=C3=9Fe", b"--B =x  ", b"", b"=plain= ", b"--B =x",
                b"Content-Type: image/png", b"Content-Transfer-Encoding: base64", b"", b"/w==", b"--B =x--",
                b"epilogue ?"))

    def test_attached_message(self) -> None:
        """A forwarded message is not encoded as a whole: its own parts are."""
        for kind in (b"Content-Type: message/rfc822", None):
            subtype = b"mixed" if kind else b"digest"
            out = recode(message(
                b"Content-Type: multipart/" + subtype + b"; boundary=B", b"", b"--B", *([kind] if kind else []), b"",
                b"Subject: inner", TEXT, b"", HIGH, b"--B--"))
            self.assertIn(message(TEXT, b"Content-Transfer-Encoding: quoted-printable", b"", b"gr=C3=BC=C3=9Fe"), out)

    def test_not_to_be_recoded(self) -> None:
        """Signed parts, headers, parts encoded already, parts of messages: the message cannot go that way."""
        for octets, why in [
            (message(b"Content-Type: multipart/signed; boundary=B", b"", b"--B", TEXT, b"", HIGH, b"--B--"), "signed"),
            (message(b"Content-Type: multipart/mixed; boundary=A", b"", b"--A",
                     b"Content-Type: Multipart/Signed; boundary=B", b"", b"--B", b"Content-Type: message/rfc822", b"",
                     TEXT, b"", HIGH, b"--B--", b"--A--"), "signed"),
            (message(b"Subject: " + HIGH, b"", b"x"), "header"),
            (message(b"Content-Type: multipart/mixed; boundary=B", b"", b"--B", b"X: \xe9", b"", b"--B--"), "header"),
            (message(b"Content-Transfer-Encoding: base64", b"", b"\xe9"), "encoded already"),
            (message(b"Content-Type: message/partial", b"", b"\xe9"), "message/partial"),
            (message(b"Content-Type: multipart/mixed", b"", b"\xe9"), "without boundary"),
            (message(b"A: " + b"x" * 300_000), "long header"),
            (message(b"Content-Type: multipart/mixed; boundary=B", b"") + b"--B\r\n\r\n" * 1001, "too many parts"),
            (message(b"Content-Type: message/rfc822", b"") * 60, "too many parts"),
        ]:
            error = self.assertRaises(CannotRecode, recode, octets)
            self.assertIn(why, str(error))

    def test_signed_seven_bits(self) -> None:
        """A signed part without 8-bit octets stays as it is beside one that is recoded."""
        signed = message(b"Content-Type: multipart/signed; boundary=S", b"Content-Transfer-Encoding: 8bit", b"", b"--S",
                         b"Content-Transfer-Encoding: 8bit", b"", b"signed = ", b"--S", b"", b"sig", b"--S--")
        out = recode(message(b"Content-Type: multipart/mixed; boundary=B", b"", b"--B") + signed
                     + message(b"--B", TEXT, b"", HIGH, b"--B--"))
        self.assertIn(signed, out)
        self.assertTrue(out.isascii())

    def test_no_new_boundary(self) -> None:
        """A soft line break cannot make text into a boundary."""
        line = b"\xe9" + b"x" * 69
        for dashes in (b"--B", b"----B", b"-" * 100 + b"B"):
            for pad in range(8):
                text = line + b"y" * pad + dashes + b" and more"
                octets = message(b"Content-Type: multipart/mixed; boundary=B", b"", b"--B", TEXT, b"", text, b"--B--")
                out = recode(octets)
                self.assertEqual(sum(line.startswith(b"--B") for line in out.split(b"\r\n")), 2, text)
                self.assertEqual(leaves(out), leaves(octets))


# --- any structure ----------------------------------------------------------------------------------------------------


@frozen
class Leaf:
    """A part to make: its type and its octets."""

    kind: bytes
    octets: bytes

    def make(self, number: list[int]) -> bytes:
        """The part as octets, with its header."""
        head = b"Content-Type: " + self.kind + b"\r\n" if self.kind else b""
        return head + b"\r\n" + self.octets


@frozen
class Branch:
    """A multipart to make."""

    parts: tuple[Leaf | Branch, ...]

    def make(self, number: list[int]) -> bytes:
        """The multipart as octets; boundaries are prefixes of each other, to make it hard."""
        number[0] += 1
        edge = b"-B" + b"b" * number[0]
        inner = b"".join(b"--%s\r\n%s\r\n" % (edge, part.make(number)) for part in self.parts)
        return b'Content-Type: multipart/mixed; boundary="%s"\r\n\r\n%s--%s--\r\n' % (edge, inner, edge)


lines = st.lists(st.binary(max_size=90).map(lambda octets: re.sub(rb"[\r\n]", b"", octets))
                 | st.sampled_from([b"", b".", b"--", b"--x", b"-", b"x " * 60, b"\xe9" * 80, b"=\xe9=", b" ",
                                    b"-" * 90]),
                 max_size=6).map(b"\r\n".join)
leaf = st.builds(Leaf, st.sampled_from([b"", b"text/plain", b"text/html; charset=utf-8", b"image/png", b"x/y"]), lines)
trees = st.recursive(leaf, lambda inner: st.builds(Branch, st.lists(inner, min_size=1, max_size=4).map(tuple)),
                     max_leaves=8)


def leaves(octets: bytes) -> list[bytes]:
    """The decoded octets of every leaf, by a reader of its own: recursive, on whole octets."""
    head, _, body = (b"\r\n" + octets).partition(b"\r\n\r\n")
    found = re.search(rb'boundary="?([^"\r\n]+)"?', head)
    if found is None:
        encoding = re.search(rb"(?i)content-transfer-encoding: (\S+)", head)
        word = encoding.group(1) if encoding else b""
        return [a2b_qp(body) if word == b"quoted-printable" else b64decode(body) if word == b"base64" else body]
    pieces = re.split(rb"(?:\A|\r\n)--" + re.escape(found.group(1)) + rb"(?:--)?[ \t]*(?=\r\n|\Z)", body)
    return [leaf for piece in pieces[1:-1] for leaf in leaves(piece.removeprefix(b"\r\n"))]


class PropertyTests(SynchronousTestCase):
    """What holds for all messages."""

    @property_settings(deadline=None, max_examples=150)
    @given(trees, st.sampled_from([1, 7, 100, 65536]))
    def test_any_structure(self, tree: Leaf | Branch, size: int) -> None:
        """Any tree of parts goes out as ASCII with lines that fit, and decodes to the same octets."""
        octets = b"MIME-Version: 1.0\r\n" + tree.make([0])
        out = recode(octets, size)
        self.assertTrue(out.isascii())
        self.assertEqual([one.removesuffix(b"\r\n") for one in leaves(out)],
                         [one.removesuffix(b"\r\n") for one in leaves(octets)])
        self.assertEqual(out, recode(octets))
        self.assertEqual(recode(out), out)

    pieces: Iterable[bytes] = [
        b"Content-Type: multipart/mixed; boundary=B\r\n", b"Content-Type: text/plain\r\n", b"\r\n", b"--B\r\n",
        b"--B--\r\n", b"\xe9", b"--B", b"\r", b"\n", b"-", b"Content-Transfer-Encoding: 8bit\r\n",
        b"Content-Type: message/rfc822\r\n", b"x", b" ",
        b"Content-Type: multipart/digest; boundary=\"B--\"\r\n", b"=", b":", b"boundary=",
    ]

    @property_settings(deadline=None, max_examples=200)
    @given((st.lists(st.sampled_from(list(pieces)), max_size=25).map(b"".join) | st.binary(max_size=200)).map(paired),
           st.sampled_from([1, 5, 65536]))
    def test_any_octets(self, octets: bytes, size: int) -> None:
        """Any stored content is recoded to ASCII, or cannot be; how it is cut makes no difference."""
        try:
            out = recode(octets)
        except CannotRecode:
            self.assertRaises(CannotRecode, recode, octets, size)
            return
        self.assertTrue(out.isascii())
        self.assertEqual(recode(octets, size), out)
        if octets.isascii() and b"8bit" not in octets:
            self.assertEqual(out, octets)
