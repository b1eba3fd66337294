"""Who a fetched message is for: the chain, the domains, what is broken and what is hostile."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, parse_mailbox
from mailbridge.fetch.recipient import (
    LOOP,
    MOST_HOPS,
    MOST_RECIPIENTS,
    MOST_SHOWN,
    NO_HEADER,
    ONLY_FOREIGN,
    Addressing,
    Choice,
    choose,
    return_path,
)

CARETAKER = parse_mailbox(b"care@local.domain")
PLAIN = Addressing()
LOCAL = Addressing(local=frozenset({"here.example", "Two.Example"}), main="here.example", caretaker=CARETAKER)


def found(header: bytes, how: Addressing = PLAIN) -> list[str]:
    """The recipients as texts."""
    return [each.text for each in choose(header, how).recipients]


class ChainTests(SynchronousTestCase):
    """Which header counts."""

    def test_order(self) -> None:
        """pf_header, X-Recip-To, X-Rcpt-To, To; the first that names somebody counts alone, in any letter case."""
        rungs = [b"Delivered-To: a@x", b"x-recip-TO: b@x", b"X-Rcpt-To: c@x", b"tO: d@x"]
        how = Addressing(header="delivered-to")
        for start, name in enumerate(("delivered-to", "x-recip-to", "x-rcpt-to", "to")):
            choice = choose(b"\r\n".join(rungs[:start - 1:-1] if start else rungs[::-1]) + b"\r\n", how)
            self.assertEqual((choice.source, [each.local for each in choice.recipients]), (name, ["abcd"[start]]))

    def test_nobody(self) -> None:
        """Cc and Bcc never count. Without a recipient the caretaker gets it, without a caretaker nobody."""
        header = b"Cc: a@x\r\nBcc: b@x\r\nTo: undisclosed-recipients:;\r\nX-Rcpt-To:\r\n"
        self.assertEqual(choose(header, LOCAL), Choice((CARETAKER,), "caretaker", NO_HEADER))
        self.assertEqual(choose(header, PLAIN), Choice((), "", NO_HEADER))

    def test_unusable(self) -> None:
        """A header without a usable address counts as not there."""
        for value in (b"", b"()", b"friends:;", b"@@@", b'"a b"@x', b"\xff@x", b"<>", b"a b"):
            self.assertEqual(found(b"X-Recip-To: " + value + b"\r\nTo: d@x\r\n"), ["d@x"], value)

    def test_several_copies(self) -> None:
        """Every copy of To counts; of an envelope header the topmost, and it is said when they differ."""
        self.assertEqual(found(b"To: a@x\r\nTo: b@x, A@X\r\n"), ["a@x", "b@x", "A@X"])
        header = b"Delivered-To: mine@x\r\nDelivered-To: forged@x\r\nTo: c@x\r\n"
        choice = choose(header, Addressing(header="delivered-to"))
        self.assertEqual([each.text for each in choice.recipients], ["mine@x"])
        self.assertIn("2 copies of delivered-to differ", choice.notes[0])
        again = choose(header.replace(b"forged", b"mine"), Addressing(header="delivered-to"))
        self.assertEqual(again.notes, ())

    def test_lists(self) -> None:
        """Names, comments, groups, folded lines: the addresses and nothing else, each once."""
        header = b'To: "Doe, Joe" <joe@x>,\r\n\tteam: a@x, (b@x) c@x;\r\n , JOE@X, joe@X\r\n'
        self.assertEqual(found(header), ["joe@x", "a@x", "c@x", "JOE@X"])

    def test_broken_lists(self) -> None:
        """A broken address does not lose the others."""
        for value, expected in (
            (b"a@x, b@@x, c@x", ["a@x", "c@x"]), (b"Dr. Bob [x <bob@x>, a@x", ["bob@x", "a@x"]),
            (b'a@x, "half <b@x>, c@x', ["a@x", "b@x", "c@x"]), (b"a@x, (half, b@x", ["a@x", "b@x"]),
            (b"a@x; b b@x; <c@x", ["a@x"]), (b'"a, b" <c@x>, d@@', ["c@x"]), (b"a@b)c@d, e@x", ["e@x"]),
            (b"\xff <a@x>, b@x", ["a@x", "b@x"]), (b"<a@x> <b@x>, c@x", ["c@x"]),
            (b"a\x00b@x, c@x", ["c@x"]), ("žofie@x, é\u0085@@x".encode(), ["žofie@x"]),
        ):
            self.assertEqual(found(b"To: " + value + b"\r\n"), expected, value)

    def test_fixed(self) -> None:
        """With a fixed recipient no header is read, except for the hops."""
        how = Addressing(fixed=parse_mailbox(b"john"), domain="x", caretaker=CARETAKER)
        self.assertEqual(choose(b"To: a@x\r\n", how), Choice((parse_mailbox(b"john"),), "fixed"))

    def test_loop(self) -> None:
        """100 Received lines: the caretaker, and nobody the second time."""
        header = b"Received: x\r\n" * MOST_HOPS + b"To: a@x\r\n"
        self.assertEqual(found(header[13:]), ["a@x"])
        self.assertEqual(choose(header, LOCAL), Choice((CARETAKER,), "caretaker", LOOP))
        self.assertEqual(choose(b"X-POPFetch-Failed: b@x\r\n" + header, LOCAL), Choice((), "", LOOP))


class DomainTests(SynchronousTestCase):
    """What becomes of domains."""

    def test_replaced(self) -> None:
        """pf_domain takes the place of every domain; two that become one are one. The caretaker is left alone."""
        how = Addressing(domain="branch.example", caretaker=CARETAKER, local=frozenset({"here.example"}))
        self.assertEqual(found(b"To: john@netwin.co.nz, john@x, jane, j@[192.0.2.1]\r\n", how),
                         ["john@branch.example", "jane@branch.example", "j@branch.example"])
        self.assertEqual(found(b"", how), ["care@local.domain"])

    def test_only_from(self) -> None:
        """The opt-in filter: only addresses that were in these domains become ours."""
        how = Addressing(domain="branch.example", only_from=frozenset({"Netwin.co.nz"}))
        choice = choose(b"To: john@NETWIN.co.nz, out@x, jane\r\n", how)
        self.assertEqual([each.text for each in choice.recipients], ["john@branch.example", "jane@branch.example"])
        self.assertEqual(choice.foreign, ("out@x",))

    def test_guard(self) -> None:
        """Without pf_domain outsiders are passed over and told of; with nobody left it is the caretaker's."""
        choice = choose(b"To: a@HERE.example, out@elsewhere.example, b@two.example, c\r\n", LOCAL)
        self.assertEqual([each.text for each in choice.recipients],
                         ["a@HERE.example", "b@two.example", "c@here.example"])
        self.assertEqual(choice.foreign, ("out@elsewhere.example",))
        choice = choose(b"To: out@elsewhere.example\r\n", LOCAL)
        self.assertEqual((choice.recipients, choice.reason), ((CARETAKER,), ONLY_FOREIGN))
        self.assertEqual(found(b"To: out@elsewhere.example, a\r\n"), ["out@elsewhere.example", "a"])

    def test_many(self) -> None:
        """At most 1,000 recipients; what is told stays short."""
        value = b",".join(b"u%d@two.example,v%d@o,@%d" % (n, n, n) for n in range(1100))
        choice = choose(b"To: " + value + b"\r\n", LOCAL)
        self.assertEqual(len(choice.recipients), MOST_RECIPIENTS)
        self.assertEqual((len(choice.foreign), len(choice.notes)), (MOST_SHOWN, MOST_SHOWN))
        self.assertIn("1100 recipients", choice.notes[0])
        choice = choose(b"To: " + value * 2 + b"\r\nTo: last@two.example\r\n", LOCAL)
        self.assertIn("very long", "".join(choice.notes))
        self.assertNotIn("last", [each.local for each in choice.recipients])


class SenderTests(SynchronousTestCase):
    """The envelope's sender."""

    def test_return_path(self) -> None:
        """The topmost Return-Path; <> when it is missing, empty or broken."""
        for value, sender in ((b" <a@x>", "a@x"), (b"\r\n <a@x> ", "a@x"), (b" a@x", "a@x"), (b" <>", ""), (b"", ""),
                              (b" <a@x> b@x", ""), (b" <a b@x>", ""), (b' <"a b"@x>', ""), (b" <a@x", "")):
            self.assertEqual(return_path(b"X: y\r\nReturn-Path:" + value + b"\r\nReturn-Path: <z@x>\r\n").text, sender)
        self.assertEqual(return_path(b"To: a@x\r\n"), NULL)


class AnyTests(SynchronousTestCase):
    """What nobody would write."""

    def test_time(self) -> None:
        """A hostile list of 256 KiB is read in moments."""
        for piece in (b'"\\', b"((", b"<", b'"', b",", b"a<", b"\\", b"(\\(", b"a@x,", b"[", b": ", b"\xff", b"a@@x,"):
            value = (piece * (260_000 // len(piece)))[:256_000]
            begun = time.process_time()
            choose(b"To: " + value + b"\r\n", LOCAL)
            self.assertLess(time.process_time() - begun, 0.5, piece)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from([b"To: ", b"X-Rcpt-To:", b"a@here.example", b"b@x", b",", b";", b":", b'"', b"\\",
                                     b"<", b">", b"(", b")", b"\r\n", b"\r\n ", b"\x00", b"\xff", b"@", b" "])
                    | st.binary(max_size=10), max_size=40))
    def test_any_header(self, parts: list[bytes]) -> None:
        """Whatever the header holds, recipients are clean, in a local domain, and none stands twice."""
        choice = choose(b"".join(parts), LOCAL)
        texts = [each.text for each in choice.recipients]
        self.assertEqual(len(texts), len(set(texts)))
        for text in texts:
            self.assertNotRegex(text, r"[\x00-\x20<>\x7f]")
            self.assertRegex(text.lower(), r"@(here\.example|two\.example|local\.domain)$")
        for shown in (*choice.foreign, *choice.notes):
            self.assertTrue(shown.isprintable(), shown)
        return_path(b"".join(parts))
