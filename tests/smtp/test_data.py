"""The setting of a nonstandard end of data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.smtp.data import parse_end_line


class EndLineTests(SynchronousTestCase):
    """`nonstandard_data_terminator`."""

    def test_taken(self) -> None:
        """One short line between line ends, written with escapes as in the registry or with the characters."""
        for text, line in [
            (r"\r\n .\r\n", b" ."), ("\r\n .\r\n", b" ."), ("\r\n .\\r\\n", b" ."), (r"\r\nEND\r\n", b"END"),
            (r"\r\n--end of mail--\r\n", b"--end of mail--"), (r"\r\n ..\r\n", b" .."),
        ]:
            self.assertEqual(parse_end_line(text), line, text)

    def test_refused(self) -> None:
        """What is no such line, or is in ordinary mail, is refused with the reason."""
        for text, reason in [
            ("", "one line"), (" .", "one line"), (r"\r\n .", "one line"), (r" .\r\n", "one line"),
            (r"\r\n\r\n", "one line"),
            (r"\r\n", "one line"), (r"\n .\n", "one line"), (r"\r\n .\r\n\r\n", "one line"),
            (r"\r\na\r\nb\r\n", "one line"),
            ("\r\n" + "x" * 17 + "\r\n", "16"), ("\r\n\t.\r\n", "printable"), ("\r\n\0\r\n", "printable"),
            ("\r\n\u2028\r\n", "printable"), ("\r\n\xe9\r\n", "printable"), (r"\r\n.\r\n", "standard"),
            (r"\r\n..\r\n", "dot"), (r"\r\n.x\r\n", "dot"), (r"\r\n \r\n", "visible"),
        ]:
            with self.assertRaises(ValueError) as caught:
                parse_end_line(text)
            self.assertIn(reason, str(caught.exception), text)

    @given(st.text(alphabet="\r\n\\rn .x", max_size=12))
    def test_anything(self, text: str) -> None:
        """Any text is refused, or gives a line that has no line end in it."""
        try:
            line = parse_end_line(text)
        except ValueError:
            return
        self.assertTrue(0 < len(line) <= 16)
        self.assertNotIn(b"\r", line)
        self.assertNotIn(b"\n", line)
