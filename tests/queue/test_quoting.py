"""Words of strangers, made harmless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.queue.quoting import one_line, quoted, subject


class QuotingTests(SynchronousTestCase):
    """By table, then for anything."""

    def test_one_line(self) -> None:
        """Line ends become spaces, control characters and what is not ASCII question marks, long text is cut."""
        for text, longest, utf8, shown in (
            ("a b", 10, False, "a b"), (" a\r\n\tb \n", 10, False, "a b"), ("\x1b[31m\0", 10, False, "?[31m?"),
            ("gr\xfcn", 10, False, "gr?n"), ("gr\xfcn", 10, True, "gr\xfcn"), ("a\u202eb\u2028c", 10, True, "a?b c"),
            ("\ud800", 10, True, "?"), ("x" * 20, 10, False, "xxxxxxx..."), ("", 10, False, ""),
        ):
            self.assertEqual(one_line(text, longest, utf8), shown, repr(text))

    def test_quoted(self) -> None:
        """Each line is marked, long ones are broken, and no more are shown than asked for."""
        self.assertEqual(quoted("550 no\n\nreally", 10), ["> 550 no", "> really"])
        self.assertEqual(quoted("x" * 100, 10), ["> " + "x" * 70, "> " + "x" * 30])
        self.assertEqual(quoted("a\n" * 1000, 10), ["> a"] * 10)
        self.assertEqual(quoted("word " * 1000, 1), ["> " + "word " * 13 + "wo..."])
        self.assertEqual(quoted("", 10), [])

    def test_subject(self) -> None:
        """The first Subject, in plain words; none is empty."""
        for header, shown in (
            (b"From: x\r\nSUBJECT: hello\r\nSubject: other\r\n", "hello"), (b"From: x\r\n", ""), (b"", ""),
            (b"Subject: =?iso-8859-1?q?gr=FCn?= =?utf-8?b?w7xibGVy?=\r\n", "gr\xfcn\xfcbler"),
            (b"Subject: a\r\n\tb\r\n", "a b"), (b"Subject: " + b"x" * 1000 + b"\r\n", "x" * 197 + "..."),
        ):
            self.assertEqual(subject(header), shown, header)

    @given(st.text(max_size=300), st.integers(3, 50), st.booleans())
    def test_any_text(self, text: str, longest: int, utf8: bool) -> None:
        """Whatever comes in: one bounded line of printable characters."""
        line = one_line(text, longest, utf8)
        self.assertLessEqual(len(line), longest)
        self.assertTrue(line.isprintable() and (utf8 or line.isascii()))
        for each in quoted(text, 3):
            self.assertTrue(each.startswith("> ") and each.isprintable() and len(each) <= 72)

    @given(st.one_of(st.binary(max_size=600), st.lists(st.sampled_from(
        [b"=?", b"?=", b"utf-8", b"idna", b"punycode", b"unicode_escape", b"utf-7", b"?q?", b"?b?", b"=0A", b"AAA"]
    ), max_size=60).map(b"".join)))
    def test_any_subject(self, raw: bytes) -> None:
        """Whatever the Subject is, nothing is raised and one line is shown."""
        shown = subject(b"Subject: " + raw.replace(b"\r", b"").replace(b"\n", b" ") + b"\r\n")
        self.assertTrue(shown.isprintable())
        self.assertLessEqual(len(shown), 200)
