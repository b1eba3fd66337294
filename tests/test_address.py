"""Envelope addresses: what is taken, what is refused, and that no trick turns one address into another."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, Address, parse_mailbox, parse_path
from mailbridge.errors import AddressError

TAKEN: list[tuple[bytes, str, str]] = [
    (b"bonnie@example.org", "bonnie", "example.org"),
    (b"Bonnie.Q@Example.ORG", "Bonnie.Q", "Example.ORG"),
    (b"bonnie+shop@example.org", "bonnie+shop", "example.org"),
    (b"bonnie", "bonnie", ""),
    (b"postmaster", "postmaster", ""),
    (b".dot@x", ".dot", "x"),
    (b"a..b@x", "a..b", "x"),
    (b"bonnie@example.org.", "bonnie", "example.org"),
    (b"bonnie@under_score.example", "bonnie", "under_score.example"),
    (b'"joe"@x', "joe", "x"),
    (b'"two words"@x', "two words", "x"),
    (b'"a@b"@x', "a@b", "x"),
    (b'"a\\"b\\\\c"@x', 'a"b\\c', "x"),
    (b"bonnie@[192.0.2.1]", "bonnie", "[192.0.2.1]"),
    (b"bonnie@[ipv6:2001:DB8:0::1]", "bonnie", "[IPv6:2001:db8::1]"),
    ("jürgen@bücher.example".encode(), "jürgen", "bücher.example"),
    ("用户@例子.公司".encode(), "用户", "例子.公司"),
    (b"user%other@x", "user%other", "x"),
    (b"host!user@x", "host!user", "x"),
    (b"|cat@x", "|cat", "x"),
    (b"${run{true}}@x", "${run{true}}", "x"),
    (b"../../etc/passwd@x", "../../etc/passwd", "x"),
    (b"=?utf-8?q?admin=40evil.example?=@x", "=?utf-8?q?admin=40evil.example?=", "x"),
]

REFUSED: list[bytes] = [
    b"", b"@", b"@example.org", b"bonnie@", b"bonnie@-", b"bonnie@.", b"bonnie@a..b", b"bonnie@.a", b"bonnie@a-",
    b"bon nie@x", b"bonnie @x", b"bonnie@ x", b"bonnie@x y", b"bonnie@x\r\n", b"bonnie\r\nRCPT TO:<x>@y", b"b\0@x",
    b"b\t@x",
    b'"@x', b'"joe@x', b'joe"@x', b'"joe"x@y', b'""@x', b'"a\r\nb"@x', b'"a\\\r"@x', b'"a\0"@x',
    # address confusion (threats.md): comments, two addresses, brackets
    b"a@b)c@d", b"a@b]c@d", b"a(comment)@b", b"a@b(comment)", b"a@b,c@d", b"a@b;c@d", b"a@b>c@d", b"a@b<c@d", b"a:b@c",
    b"<a@b>", b"a@b>", b";sleep 5;@x", b"{{7*7}} @x", b"<%=x%>@x",
    b"a@b@c@d", b'"a"@b@c', b"a@@b", b"a@b@",
    b"bonnie@[192.0.2.256]", b"bonnie@[1.2.3]", b"bonnie@[IPv6:::g]", b"bonnie@[IPv6:192.0.2.1]", b"bonnie@[x]",
    b"bonnie@[]", b"bonnie@[192.0.2.1", b"bonnie@[192.0.2.1]x", b"bonnie@192.0.2.1]",
    b"\xff@x", b"bonnie@\xc3", b"\xc0\x80@x", b"\xed\xa0\x80@x",
    b"l" * 256 + b"@x", b"bonnie@" + b"d" * 256,
]


class MailboxTests(SynchronousTestCase):
    """One address with nothing around it."""

    def test_taken(self) -> None:
        """What people and devices use is taken, part by part."""
        for octets, local, domain in TAKEN:
            address = parse_mailbox(octets)
            self.assertEqual((address.local, address.domain, address.double_at), (local, domain, False), octets)

    def test_refused(self) -> None:
        """Everything else is refused, with a text that says why."""
        for octets in REFUSED:
            error = self.assertRaises(AddressError, parse_mailbox, octets)
            self.assertTrue(str(error), octets)

    def test_quotes_mean_nothing(self) -> None:
        """`"joe"@x` and joe@x are the same address, spelled the short way."""
        self.assertEqual(parse_mailbox(b'"joe"@x'), parse_mailbox(b"joe@x"))
        self.assertEqual(parse_mailbox(b'"joe"@x').text, "joe@x")

    def test_quoted_space_stays_inside(self) -> None:
        """`"x@evil "@dom` is one mailbox of dom, never one of evil (nodemailer GHSA-mm7p-fcc7-pg87)."""
        address = parse_mailbox(b'"x@evil "@dom')
        self.assertEqual((address.local, address.domain, address.text), ("x@evil ", "dom", '"x@evil "@dom'))

    def test_quoted_at_is_not_double_at(self) -> None:
        """`"a@b"@c` and a@b@c are different addresses with different texts."""
        quoted, double = parse_mailbox(b'"a@b"@c'), parse_mailbox(b"a@b@c")
        self.assertNotEqual(quoted, double)
        self.assertNotEqual(quoted.text, double.text)

    def test_fullwidth_at(self) -> None:
        """A fullwidth @ is a letter like any other: it separates nothing."""
        self.assertEqual(parse_mailbox("a＠evil@x".encode()).local, "a＠evil")
        self.assertEqual(parse_mailbox("a＠evil".encode()).domain, "")

    def test_double_at(self) -> None:
        """The forms of fax gateways are kept whole and marked."""
        for octets, local, domain in [
            (b"name@420603899285@fax", "name@420603899285", "fax"),
            (b"name@+420603899285@fax", "name@+420603899285", "fax"),
            (b"name@+420603899285.company@sms", "name@+420603899285.company", "sms"),
        ]:
            address = parse_mailbox(octets)
            self.assertEqual((address.local, address.domain, address.double_at), (local, domain, True), octets)
            self.assertEqual(address.text.encode(), octets)

    def test_key_ignores_case(self) -> None:
        """The key of an address is the same in any case."""
        self.assertEqual(parse_mailbox(b"Joe@X.Example").key, parse_mailbox(b"joe@x.EXAMPLE").key)

    def test_ascii(self) -> None:
        """An address knows whether it needs SMTPUTF8."""
        self.assertTrue(parse_mailbox(b"a@b").is_ascii)
        self.assertFalse(parse_mailbox("a@ü".encode()).is_ascii)
        self.assertFalse(parse_mailbox("ü@b".encode()).is_ascii)

    def test_longest(self) -> None:
        """A local part and a domain of 255 octets each are taken."""
        address = parse_mailbox(b"l" * 255 + b"@" + b"d" * 255)
        self.assertEqual((len(address.local), len(address.domain)), (255, 255))

    def test_error_is_short(self) -> None:
        """An endless address does not end up in the log whole."""
        error = self.assertRaises(AddressError, parse_mailbox, b"(" * 1500)
        self.assertLess(len(str(error)), 200)
        self.assertIn("too long", str(self.assertRaises(AddressError, parse_mailbox, b"a" * 100_000)))


class PathTests(SynchronousTestCase):
    """The argument of MAIL FROM: and RCPT TO:."""

    def test_taken(self) -> None:
        """A path gives the address and the parameters; devices may leave the brackets out or put a space before."""
        for octets, text, rest in [
            (b"<a@b>", "a@b", b""),
            (b" <a@b>", "a@b", b""),
            (b"  <a@b>  ", "a@b", b""),
            (b"<a@b> SIZE=1 BODY=8BITMIME", "a@b", b"SIZE=1 BODY=8BITMIME"),
            (b"a@b", "a@b", b""),
            (b"a@b SIZE=1", "a@b", b"SIZE=1"),
            (b"<>", "", b""),
            (b"<> SIZE=1", "", b"SIZE=1"),
            (b"<postmaster>", "postmaster", b""),
            (b"<Postmaster>", "Postmaster", b""),
            (b'<"a b"@c> X=1', '"a b"@c', b"X=1"),
            (b'"a b"@c X=1', '"a b"@c', b"X=1"),
            (b'<"a>b"@c>', '"a>b"@c', b""),
            (b"<@relay.example:a@b>", "a@b", b""),
            (b"<@one.example,@two.example:a@b>", "a@b", b""),
            (b"<name@+420@fax>", "name@+420@fax", b""),
            (b"Bob <a@b>", "Bob", b"<a@b>"),  # no display names: what follows is a parameter, and a wrong one
        ]:
            address, parameters = parse_path(octets)
            self.assertEqual((address.text, parameters), (text, rest), octets)

    def test_null(self) -> None:
        """`<>` is the null sender and nothing else is."""
        self.assertEqual(parse_path(b"<>"), (NULL, b""))
        self.assertTrue(NULL.is_null)
        self.assertFalse(parse_path(b"<a>")[0].is_null)

    def test_refused(self) -> None:
        """A broken path is refused, never repaired."""
        for octets in (
            b"", b" ", b"<", b"<a@b", b"<a@b>x", b"<a@b>SIZE=1", b"<<a@b>>", b"<a@b>>", b"< a@b>", b"<a@b >",
            b"<a b@c>", b"<@relay.example>", b"<@relay.example:>", b"<@relay.example,:a@b>", b"<:a@b>", b"<@:a@b>",
            b"<@a,@b,c:d@e>",
            b"<a@b>\r\nRCPT TO:<c@d>", b"<a@b\r\n>", b"a@b\r\n", b"<>x", b"Bob<a@b>",
        ):
            self.assertRaises(AddressError, parse_path, octets)


class PropertyTests(SynchronousTestCase):
    """What holds for all octets."""

    @given(st.binary(max_size=400))
    @example(b"a@" + b"b." * 200)
    @example(b'"' + b"\\" * 399)
    @example(b"<@" + b"a," * 180)
    def test_only_address_errors(self, octets: bytes) -> None:
        """Octets are an address or an AddressError, whatever they are."""
        for parse in (parse_mailbox, parse_path):
            try:
                parse(octets)
            except AddressError:
                continue

    @given(st.text(alphabet='ab.@"\\ <>[]:+-1é(,%!', max_size=20))
    def test_text_round_trip(self, text: str) -> None:
        """The text of an address parses to that address."""
        try:
            address = parse_mailbox(text.encode())
        except AddressError:
            return
        self.assertEqual(parse_mailbox(address.text.encode()), address)
        self.assertEqual(parse_path(f"<{address.text}> X".encode()), (address, b"X"))

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60))
    def test_any_printable_local_part(self, local: str) -> None:
        """Any printable local part survives being written and read."""
        address = Address(local, "example.org")
        self.assertEqual(parse_mailbox(address.text.encode()), address)

    @given(st.binary(min_size=1, max_size=60))
    def test_no_line_break(self, octets: bytes) -> None:
        """No address that is taken holds a CR, LF, NUL or another control character of ASCII."""
        for candidate in (octets, b'"' + octets + b'"@x', octets + b"@x"):
            try:
                text = parse_mailbox(candidate).text
            except AddressError:
                continue
            self.assertFalse([c for c in text if c < " " or c == "\x7f"], candidate)
