"""Patterns: whole text, any case, linear time, errors with a place."""

from __future__ import annotations

from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.routing.pattern import Pattern


class PatternTests(SynchronousTestCase):
    """One pattern of the operator."""

    def test_matches(self) -> None:
        """The whole text must match; letter case, also outside of ASCII, does not count."""
        for pattern, text, matches in [
            (r".*@old\.example\.org", "Bonnie@OLD.example.org", True),
            (r".*@old\.example\.org", "bonnie@old.example.org.evil.example", False),
            (r".*@old\.example\.org", "bonnie@old-example.org", False),
            (r"bonnie|harold", "bonnie", True),
            (r"bonnie|harold", "bonnie@x", False),
            (r".*@bücher\.example", "x@BÜCHER.EXAMPLE", True),
            (r"(?P<name>.*)@(?P<number>[0-9]+)@fax", "name@420@fax", True),
            (r".", "ü", True),
            (r"", "", True),
            (r"", "a", False),
            (r"a", "\udc80", False),
        ]:
            self.assertEqual(Pattern(pattern).matches(text), matches, (pattern, text))

    def test_errors(self) -> None:
        """A bad pattern is shown with the place and the reason."""
        for pattern, place, reason in [
            ("a[z-a]", "character 3", "invalid character class range"),
            ("a(?=b)", "character 2", "no look-ahead"),
            ("(?i:a", "character 5", "missing )"),
            ("a(b", "character 3", "missing )"),
            (r"(a)\1", "character 4", "no back-reference"),
            (r"a\y", "character 2", "invalid escape sequence"),
            ("*a", "character 1", "no argument for repetition operator"),
        ]:
            error = str(self.assertRaises(ValueError, Pattern, pattern))
            for part in (f'"{pattern}"', place, reason):
                self.assertIn(part, error)

    def test_groups(self) -> None:
        """Named groups are read when the whole text matches; those that took no part are left out."""
        pattern = Pattern(r"(?:(?P<name>[^/]*)/)?(?P<number>\d+)@(fax|sms)")
        self.assertEqual(pattern.names, {"name", "number"})
        for text, groups in [
            ("a b/12@FAX", {"name": "a b", "number": "12"}),
            ("/12@fax", {"name": "", "number": "12"}),
            ("12@sms", {"number": "12"}),
            ("12@sms.", None),
            ("12@sms\n", None),
            ("\u0661\u0662@sms", None),  # Arabic digits
            ("\udc80/1@sms", None),
        ]:
            self.assertEqual(pattern.groups(text), groups, text)
        self.assertEqual(Pattern("x").groups("x"), {})

    def test_not_utf8(self) -> None:
        """A pattern that cannot be written in UTF-8 is an error, not a crash."""
        self.assertRaises(ValueError, Pattern, "a\udc80")

    def test_linear_time(self) -> None:
        """The pattern that hangs other engines answers at once."""
        start = perf_counter()
        self.assertFalse(Pattern("(a+)+$").matches("a" * 50_000 + "!"))
        self.assertLess(perf_counter() - start, 1.0)

    def test_literal_domains(self) -> None:
        """Only a pattern that ends in @ and written-out domains names domains."""
        for pattern, domains in [
            (r".*@example\.org", {"example.org"}),
            (r".*@Example\.ORG$", {"example.org"}),
            (r".*@(a\.org|b\.org)", {"a.org", "b.org"}),
            (r".*@(?:a\.org|b\.org)$", {"a.org", "b.org"}),
            (r"[^@]*@[0-9]+@fax", {"fax"}),
            (r".*@example.org", set()),
            (r".*@.*", set()),
            (r".*", set()),
            (r".*@(.*|b\.org)", set()),
            (r".*@[a-z]+\.org", set()),
            (r".*@example\.org|.*", set()),
            (r".*@(a\.org|b\.org)?", set()),
            (r".*@example\.org.*", set()),
            (r".*@\w+", set()),
            ("", set()),
        ]:
            self.assertEqual(Pattern(pattern).literal_domains(), domains, pattern)

    @given(st.text(alphabet="ab@.\\()[]{}|*+?^$-:PQE<>1,ü", max_size=20), st.text(max_size=20))
    def test_any_pattern(self, pattern: str, text: str) -> None:
        """Any text is a pattern or a ValueError; a pattern matches or does not."""
        try:
            compiled = Pattern(pattern)
        except ValueError:
            return
        self.assertIn(compiled.matches(text), (True, False))
        compiled.literal_domains()
