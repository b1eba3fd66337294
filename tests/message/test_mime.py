"""Whole messages as trees of entities."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.mime import Entity, TooIntricate, parse
from mailbridge.message.parts import Kind, What, walk
from tests.message.hostile import seconds

MIXED = (b"From: a@b\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n\r\none\r\n"
         b"--b 1 \t\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n--b2\r\n\r\ntwo\r\n\r\n--b2\r\n"
         b"Content-Type: text/html\r\n\r\n<p>--b2x\r\n--b2--\r\nepilogue\r\n--b 1\r\n"
         b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nthree\r\n--b 1--\r\nend")
PIECES = [b"--b", b"--c", b"--", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"a: b", b" ", b"text", b"\xff", b"\0",
          b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=c\r\n",
          b"Content-Type: message/rfc822\r\n", b"Content-Type: text/html; charset=\"x\r\n",
          b"Content-Transfer-Encoding: base64\r\n", b"Content-Disposition: attachment; filename*0*=%\r\n"]
ANY = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=80)


def shape(entity: Entity) -> object:
    """Types as nested lists, and the bodies of leaves."""
    return [entity.type, [shape(part) for part in entity.parts]] if entity.parts else [entity.type, entity.body]


def with_header(header: bytes) -> Entity:
    """A message of this header."""
    return parse(header + b"\r\n\r\nbody\r\n")


class TreeTests(SynchronousTestCase):
    """What is where."""

    def test_parts(self) -> None:
        """Parts in parts and attached messages, in order; what stands before and after parts is nobody's."""
        expected = ["multipart/mixed", [
            ["text/plain", b"one"], ["multipart/alternative", [["text/plain", b"two\r\n"], ["text/html", b"<p>--b2x"]]],
            ["message/rfc822", [["text/plain", b"three"]]],
        ]]
        self.assertEqual(shape(parse(MIXED)), expected)
        self.assertEqual(shape(parse(MIXED.replace(b"\r\n", b"\n"))), [
            "multipart/mixed", [["text/plain", b"one"], ["multipart/alternative", [
                ["text/plain", b"two\n"], ["text/html", b"<p>--b2x"]]], ["message/rfc822", [["text/plain", b"three"]]]],
        ])
        self.assertEqual([entity.type for entity in parse(MIXED).walk()], [
            "multipart/mixed", "text/plain", "multipart/alternative", "text/plain", "text/html", "message/rfc822",
            "text/plain",
        ])
        self.assertEqual(parse(MIXED).parts[2].body, b"Subject: inner\r\n\r\nthree")
        self.assertEqual(parse(MIXED).parts[2].parts[0].value("subject"), "inner")

    def test_boundaries(self) -> None:
        """Missing ends, a boundary inside a header, the boundary of an outer multipart, the same one twice."""
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        for body, parts in (
            (b"--b\r\n\r\nx", [b"x"]), (b"--b\r\n\r\nx\r\n--b", [b"x", b""]), (b"--b--\r\n--b\r\n\r\nx", []),
            (b"--b\r\na: b\r\n--b\r\n\r\nx\r\n--b--", [b"", b"x"]), (b"--bb\r\n\r\nx", []), (b"-b\r\n\r\n", []),
            (b"--b\r\n\r\n--b--", [b""]), (b"--b\r\nno header\r\n\r\nx\r\n--b--", [b"no header\r\n\r\nx"]),
            (b"x--b\r\n\r\ny", []), (b"--b  \r\n\r\nx\r\n--b-- \r\ny", [b"x"]), (b"--b\r\n\r\n\r\n--b--", [b""]),
            (b"--b\rx\r\n\r\nx", []), (b"\r\n--b\r\n\r\nx\r\n\r\n--b--", [b"x\r\n"]), (b"", []),
        ):
            self.assertEqual([part.body for part in parse(head + body).parts], parts, body)
        inner = b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n"
        nested = head + b"--b\r\n" + inner + b"--b\r\n\r\ny\r\n--c\r\nz"
        self.assertEqual(shape(parse(nested)), [
            "multipart/mixed", [["multipart/mixed", [["text/plain", b"x"]]], ["text/plain", b"y\r\n--c\r\nz"]]])
        same = head + b"--b\r\n" + head + b"--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n--b--"
        self.assertEqual(shape(parse(same)), [
            "multipart/mixed", [["multipart/mixed", [["text/plain", b"x"]]], ["text/plain", b"y"]]])

    def test_what_a_part_says(self) -> None:
        """Type, name, disposition and encoding; what is broken counts as not said."""
        for header, type_, disposition, filename, encoding in (
            (b"a: b", "text/plain", "", None, "7bit"),
            (b"Content-Type: TEXT/HTML; charset=x", "text/html", "", None, "7bit"),
            (b"Content-Type: text", "text/plain", "", None, "7bit"),
            (b"Content-Type: text/html charset=utf-8", "text/html", "", None, "7bit"),
            (b"Content-Type: image/png; name=a.png\r\nContent-Disposition: inline", "image/png", "inline", "a.png",
             "7bit"),
            (b"Content-Disposition: attachment;\r\n filename*=utf-8''%C5%BE%2F..\r\ncontent-transfer-encoding: BASE64 ",
             "text/plain", "attachment", "ž/..", "base64"),
            (b"Content-Disposition: filename=a", "text/plain", "", "a", "7bit"),
            (b"Content-Disposition: strange; filename=\"\"", "text/plain", "attachment", None, "7bit"),
            (b"Content-Type: text/html\r\nContent-Type: image/png", "text/html", "", None, "7bit"),
            (b"Content-Type: multipart/mixed", "multipart/mixed", "", None, "7bit"),
            (b"Content-Type: message/partial; id=x", "message/partial", "", None, "7bit"),
        ):
            found = with_header(header)
            self.assertEqual((found.type, found.disposition, found.filename, found.encoding),
                             (type_, disposition, filename, encoding), header)

    def test_digest(self) -> None:
        """The parts of a digest are messages unless they say what they are."""
        octets = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: s\r\n\r\nx\r\n--b--"
        self.assertEqual(parse(octets).parts[0].parts[0].value(b"Subject"), "s")

    def test_odd_messages(self) -> None:
        """No header, only a header, the line of a mailbox file, old line ends, nothing at all."""
        for octets, subject, body in (
            (b"", "", b""), (b"Subject: s", "s", b""), (b"Subject: s\r\n\r\n", "s", b""), (b"\r\nbody", "", b"body"),
            (b"only text\r\nSubject: s", "", b"only text\r\nSubject: s"), (b"Subject: s\n\nx\n", "s", b"x\n"),
            (b"From a@b Sat\r\nSubject: s\r\n\r\nx", "s", b"x"),
            (b"Subject: s\r\n t\r\nSubject: u\r\n\r\nx", "s t", b"x"),
            (b"Subject : s\r\nbroken line\r\nX: y\r\n\r\nx", "s", b"x"), (b"\xff\xfe\x00", "", b"\xff\xfe\x00"),
        ):
            found = parse(octets)
            self.assertEqual((found.value("Subject"), found.body), (subject, body), octets)

    def test_text(self) -> None:
        """The text of a body: encoding and charset taken off, one kind of line end."""
        found = parse(b"Content-Type: text/plain; charset=cp1250\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                      b"=9Ee=\r\nna\r\nb\rc=0D=0Ad")
        self.assertEqual(found.text(), "žena\nb\nc\nd")
        self.assertEqual(found.octets(), b"\x9eena\r\nb\rc\r\nd")

    def test_reads_boundaries_as_recoding_does(self) -> None:
        """The reader of chunks, which writes messages anew, finds the same leaves."""
        parts = []  # type: ignore[var-annotated]
        bodies: dict[int, bytes] = {}
        for what, number, octets in walk([MIXED], parts):
            if what is What.BODY:
                bodies[number] = bodies.get(number, b"") + octets
        leaves = [bodies[number] for number, part in enumerate(parts) if part.kind is Kind.LEAF]
        self.assertEqual(leaves, [entity.body for entity in parse(MIXED).walk() if not entity.parts])

    def test_shown_without_content(self) -> None:
        """What is logged of a message has nothing of what it says."""
        found = repr(parse(b"Subject: secret\r\nContent-Type: a/b; name=secret\r\n\r\nsecret"))
        self.assertNotIn("secret", found)


class MailboxTests(SynchronousTestCase):
    """Address fields."""

    def test_first(self) -> None:
        """The name is read, the address is taken as it stands, and a broken field has none."""
        for value, mailbox in (
            ("a@b.c", ("", "a@b.c")), ("<a@b.c>", ("", "a@b.c")),
            ('"Lamp, Room" <a@b.c>, x@y', ("Lamp, Room", "a@b.c")),
            ("Carl Orff/Music INC/Composers <61388454@fax>", ("Carl Orff/Music INC/Composers", "61388454@fax")),
            ("=?utf-8?Q?Nov=C3=A1,_=C5=BD?= <a@b.c>", ("Nová, Ž", "a@b.c")),
            ("a@b.c (Old Form)", ("Old Form", "a@b.c")),
            ("=?utf-8?q?x?= =?utf-8?q?y?= <a@b.c>", ("xy", "a@b.c")), ("Žofie <a@b.c>", ("Žofie", "a@b.c")),
            ('"a \\"b\\"" <a@b.c>', ('a "b"', "a@b.c")), ("group: a@b.c, d@e;", ("", "a@b.c")),
            ("=?utf-8?q?a=0D=0ABcc:_x?= <a@b.c>", ("a Bcc: x", "a@b.c")), (", , a@b.c", ("", "a@b.c")),
            ("A <a@b.c>, broken )", ("A", "a@b.c")), ("@r,@s:a@b.c", None), ("x <@r,@s:a@b.c>", ("x", "a@b.c")),
            # No address that is certain.
            ("", None), ("harold", None), ("a@b)c@d", None), ("a b@c", None), ("<a@b", None), ("a@b <c@d>", None),
            ("=?utf-8?q?evil=40x.y?=", None), ("=?utf-8?q?=3Cevil=40x.y=3E?=", None), ("undisclosed:;", None),
            ("=?utf-8?q?evil=40x.y,?=@b.c", None), ("<a@b> <c@d>", None), ("(" * 400 + "a@b", None), ('"a <a@b>', None),
        ):
            found = parse(b"From: " + value.encode() + b"\r\n\r\n").mailbox("from")
            self.assertEqual(found, mailbox, value)
        self.assertIsNone(parse(b"").mailbox("from"))
        word = parse(b"From: =?utf-8?q?evil=40x.y?=@b.c\r\n\r\n").mailbox("from")
        self.assertEqual(word, ("", "=?utf-8?q?evil=40x.y?=@b.c"))  # never decoded

    def test_all(self) -> None:
        """All mailboxes of a field, without those that are broken, up to a thousand."""
        found = parse(b"To: A <a@b>, b c@d, =?utf-8?q?E?= <e@f>, grp: g@h;, i@j\r\n\r\n").mailboxes(b"To")
        self.assertEqual(found, [("A", "a@b"), ("E", "e@f"), ("", "g@h"), ("", "i@j")])
        self.assertEqual(len(parse(b"To: " + b"a@b," * 5000 + b"\r\n\r\n").mailboxes("to")), 1000)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from([*"<>@,:;()\"\\[] ab.", "=?utf-8?q?", "?=", "a@b", "ž"]), max_size=25).map("".join))
    def test_any_field(self, value: str) -> None:
        """Whatever the field holds, an address stands in it letter for letter."""
        found = parse(b"To: " + value.encode() + b"\r\n\r\n").mailbox("to")
        if found is not None:
            local, _, domain = found[1].rpartition("@")
            self.assertIn(domain, value)
            self.assertIn(local.strip('"').replace("\\", ""), re.sub(r"\s*\\", "", value))


class HostileTests(SynchronousTestCase):
    """Messages made to hurt."""

    def test_too_intricate(self) -> None:
        """Too many parts, too deep, or a header without end: refused, and at once."""
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000))
        for octets in (
            nested, b"Content-Type: message/rfc822\r\n\r\n" * 1000,
            b"a: b\r\n" * 100_000, b"Subject: " + b"a" * 300_000,
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000,
            b"To: a@b\r\n" * 100_000 + b"\r\nbody",
        ):
            self.assertLess(seconds(lambda: self.assertRaises(TooIntricate, parse, octets)), 1.0)  # noqa: B023

    def test_at_the_limits(self) -> None:
        """As much as is allowed is read in a moment."""
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(50))
        lines = b"To: a@b\r\n" * 29_000
        mixed = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        for octets in (
            nested + b"\r\n\n--x" * 500_000, nested + b"\r\n" + b"--49x\r\n" * 300_000, lines + b"\r\nbody",
            mixed + (b"--b\r\n\r\n" + b"\n" * 2000) * 999,
            mixed + b"--b\r\na: b\r\n" * 999 + b"\r\n" + b"x" * 4_000_000,
            b"Content-Type: multipart/mixed; boundary=\"" + b"-" * 200 + b"\"\r\n\r\n" + b"-" * 4_000_000,
            b"To: " + b"(" * 200_000, b"To: " + b"a@b," * 60_000, b"Subject:" + b" =?utf-8?q?a?=" * 18_000,
        ):
            took = seconds(lambda: [(entity.value("subject"), entity.mailbox("to"), entity.mailboxes("to"))
                                    for entity in parse(octets).walk()])  # noqa: B023
            self.assertLess(took, 1.5, octets[:60])

    @settings(max_examples=400, deadline=None)
    @given(ANY)
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets are a message: every part can be read."""
        for entity in parse(octets).walk():
            entity.text().encode()
            entity.value("a").encode()
            entity.mailboxes("a")
            self.assertIn(entity.disposition, ("", "inline", "attachment"))
            self.assertTrue(re.fullmatch(r"[^\s/]+/[^\s/]+", entity.type))
            (entity.filename or "").encode()
