"""The reply table: what every fixed reply promises to a client."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.reply import OK, Reply, wire_table

_LINE = re.compile(rb"([2-5][0-9][0-9])([ -])(?:([245]\.[0-9]{1,3}\.[0-9]{1,3}) )?[ -~]+\r\n")
# RFC 2034 4: the greeting, EHLO and 3yz carry no enhanced code.
_WITHOUT_ENHANCED = {"SEND_DATA"}


class ReplyTableTests(SynchronousTestCase):
    """Every fixed reply, by a walk over the table."""

    def test_wire_form(self) -> None:
        """Each line of each reply is a code, a mark, an enhanced code and printable text, ended by CR LF."""
        for name, reply in wire_table().items():
            lines = reply.wire.splitlines(keepends=True)
            for number, line in enumerate(lines, 1):
                match = _LINE.fullmatch(line)
                self.assertIsNotNone(match, f"{name}: {line!r}")
                assert match is not None
                self.assertEqual(int(match[1]), reply.code, name)
                self.assertEqual(match[2], b" " if number == len(lines) else b"-", name)
                self.assertEqual((match[3] or b"").decode(), reply.enhanced, name)

    def test_classes_agree(self) -> None:
        """The class of the code and that of the enhanced code are the same (RFC 3463 2)."""
        for name, reply in wire_table().items():
            if name in _WITHOUT_ENHANCED:
                self.assertEqual(reply.enhanced, "", name)
            else:
                self.assertEqual(reply.enhanced[:1], str(reply.code)[:1], name)

    def test_length(self) -> None:
        """No line is longer than 512 octets (RFC 5321 4.5.3.1.5)."""
        for name, reply in wire_table().items():
            for line in reply.wire.splitlines(keepends=True):
                self.assertLessEqual(len(line), 512, name)

    def test_names(self) -> None:
        """A name of the table is in capitals, and no two names stand for the same reply."""
        table = wire_table()
        for name in table:
            self.assertRegex(name, r"\A[A-Z][A-Z0-9_]*\Z")
        self.assertEqual(len({reply.wire for reply in table.values()}), len(table))

    def test_exactly_one_class(self) -> None:
        """Each reply is positive, transient or permanent, and only one of these."""
        for name, reply in wire_table().items():
            self.assertEqual([reply.is_positive, reply.is_transient, reply.is_permanent].count(True), 1, name)

    def test_try_again_and_never(self) -> None:
        """Faults of our own ask the client to try again; a wrong address does not."""
        table = wire_table()
        for name in ("NOT_NOW", "STORE_FULL", "SHUTTING_DOWN", "TOO_MANY_RECIPIENTS", "AUTH_UNAVAILABLE"):
            self.assertTrue(table[name].is_transient, name)
        for name in ("NO_SUCH_USER", "NO_RELAYING", "TOO_LARGE", "BARE_NEWLINE", "BAD_ADDRESS"):
            self.assertTrue(table[name].is_permanent, name)


class ReplyTests(SynchronousTestCase):
    """A reply made at run time, with text that may come from elsewhere."""

    def test_lines(self) -> None:
        """A line feed in the text makes a further line, each with the code."""
        self.assertEqual(Reply(250, "2.0.0", "a\nb").wire, b"250-2.0.0 a\r\n250 2.0.0 b\r\n")

    def test_without_enhanced_code(self) -> None:
        """A reply without an enhanced code has one space after its code."""
        self.assertEqual(Reply(354, "", "go").wire, b"354 go\r\n")

    def test_text(self) -> None:
        """A reply in a log reads like its last line."""
        self.assertEqual(str(OK), "250 2.0.0 OK")

    def test_carriage_return_is_harmless(self) -> None:
        """A CR in a text from elsewhere cannot begin a line of its own."""
        self.assertEqual(Reply(550, "5.0.0", "a\r250 ok").wire, b"550 5.0.0 a?250 ok\r\n")

    @given(st.text(max_size=700))
    def test_any_text(self, text: str) -> None:
        """Whatever the text is, every line is short, printable ASCII and begins with the code."""
        for line in Reply(550, "5.1.1", text).wire.split(b"\r\n")[:-1]:
            self.assertRegex(line, rb"\A550[ -]5\.1\.1 [ -~]*\Z")
            self.assertLessEqual(len(line), 510)
