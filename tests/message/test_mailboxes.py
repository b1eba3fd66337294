"""Mailbox lists of headers: real ones, nasty ones, any."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import AddressError
from mailbridge.message.mailboxes import DEEPEST, MOST_MAILBOXES, parse_mailboxes

GOOD = (
    ("", []),
    ("a@b", ["a@b"]),
    ("root", ["root"]),
    (" a@b ,, c@d , ", ["a@b", "c@d"]),
    ("Joe <a@b>, Jane Doe <c@d>", ["a@b", "c@d"]),
    ('"Doe, Joe" <a@b>', ["a@b"]),
    ('"a@b" <c@d>', ["c@d"]),
    ("a@b <a@b>", ["a@b"]),
    ("Joe (the @ man, c@d) <a@b> (again)", ["a@b"]),
    ("a(comment (nested \\) deep))@b", ["a@b"]),
    ("friends: a@b, Joe <c@d>; e@f", ["a@b", "c@d", "e@f"]),
    ("undisclosed-recipients:;", []),
    ("a@b; c@d", ["a@b", "c@d"]),
    ("<@relay,@other:a@b>", ["a@b"]),
    ('"john doe"@b', ['"john doe"@b']),
    ('"a@b"@c', ['"a@b"@c']),
    ('"joe"@b', ["joe@b"]),
    ("a@[192.0.2.1], <b@[IPv6:2001:db8::1]>", ["a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"]),
    ("=?utf-8?q?admin=40evil.example?=@host", ["=?utf-8?q?admin=40evil.example?=@host"]),
    ("=?utf-8?q?a=40b=2C?= <c@d>", ["c@d"]),
    ("Žofie\u00a0Nová <žofie@nová.example>", ["žofie@nová.example"]),
    ("first\r\n\tlast <a@b>", ["a@b"]),
    ("a@b.", ["a@b"]),
)
BAD = (
    "a@b)c@d", "a@b]c@d", "a@b@c", "a@b c@d", "Joe a@b", "alice@a <bob@b>", "<a@b", "a@b>", "<<a@b>>", "<a@b><c@d>",
    "<a@b> x", "<a b@c>", "<>", "a@", "@b", "(a@b", "a@b)", '"a@b', 'a"b@c', "a:b@c:d", "x@y:b@c;", "group: a@b",
    "<a@b,c@d>", "a\\@b", "a@b\0", "a@[b]", "\udcff@b", "\ud800@b", "a,b: c@d <",
    "(" * (DEEPEST + 1) + ")" * (DEEPEST + 1), "a" * 300 + "@b", "a@b,\x00", "[a@b]",
)


class MailboxTests(SynchronousTestCase):
    """Lists by table."""

    def test_good(self) -> None:
        """What people and programs write."""
        for text, wanted in GOOD:
            with self.subTest(text):
                self.assertEqual([str(each) for each in parse_mailboxes(text)], wanted)

    def test_bad(self) -> None:
        """What is ambiguous, or no list, is refused as a whole: never two addresses where one stands."""
        for text in BAD:
            with self.subTest(text):
                self.assertRaises(AddressError, parse_mailboxes, text)

    def test_bounds(self) -> None:
        """Long lists are fine, longer ones refused; nothing takes long."""
        begun = time.process_time()
        self.assertEqual(len(parse_mailboxes(",".join(f"a{n}@b" for n in range(MOST_MAILBOXES)))), MOST_MAILBOXES)
        for text in ("a@b," * (MOST_MAILBOXES + 1), "x" * 300_000, "(" * 200_000, '"' + "\\" * 200_000, "<" * 200_000,
                     "a " * 100_000, "=?utf-8?q?a?= " * 15_000 + "<", "(" + "\\(" * 100_000):
            self.assertRaises(AddressError, parse_mailboxes, text)
        self.assertLess(time.process_time() - begun, 3.0)

    @settings(max_examples=400, deadline=None)
    @given(st.one_of(st.text(max_size=60), st.text(alphabet='ab@<>,;:()"\\[] .', max_size=40)))
    def test_any_text(self, text: str) -> None:
        """Any text gives addresses or AddressError; an address has no line end in it, and is itself a list of one."""
        try:
            found = parse_mailboxes(text)
        except AddressError:
            return
        for address in found:
            self.assertFalse(set("\r\n\0") & set(address.text))
            self.assertEqual(parse_mailboxes(f"<{address.text}>"), [address])
        self.assertLessEqual(len(found), 1 + text.count(",") + text.count(";"))
