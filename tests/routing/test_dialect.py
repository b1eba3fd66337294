"""Patterns of other dialects: what is told about them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.routing.dialect import advice
from mailbridge.routing.pattern import Pattern

MISPRINT = r"?(P<number>\+?[\d]+)@fax"


class AdviceTests(SynchronousTestCase):
    """What RE2 has not."""

    def test_table(self) -> None:
        """Each construct is named with its place and with what to write instead."""
        for pattern, place, words in [
            (r"a(?=b)", 2, "no look-ahead; write out what may follow"),
            (r"(?!x)a", 1, "pattern of its own"),
            (r"(?<=x)a", 1, "no look-behind; write what comes before"),
            (r"(?<!x)a", 1, "pattern of its own"),
            (r"\\(?=a)", 3, "no look-ahead"),
            (r"(a)\1", 4, "write the group's pattern again"),
            (r"(?P<a>x)(?P=a)", 9, "write the group's pattern again"),
            (r"(?P<a>x)\k<a>", 9, "write the group's pattern again"),
            (r"(?>a)", 1, "write (?:...)"),
            (r"a++", 2, "leave the second + out"),
            (r"a*+", 2, "leave the second + out"),
            (r"a?+", 2, "leave the second + out"),
            (r"a{1,3}+", 2, "leave the second + out"),
            (r".*@sms\Z", 7, "the whole text has to match anyway"),
            (r"(?(1)a|b)", 1, "with both cases"),
            (r"a(?#why)", 2, "beside the key"),
            (r"(?ix)a", 1, "no such flag"),
            (r"(?a)a", 1, "no such flag"),
            (r"\u0041", 1, "write the character itself"),
            (r"\N{DIGIT ONE}", 1, "write the character itself"),
            (r"(P<number>\d+)", 1, "write (?P<"),
            (r"(?P<n>a)(?P<n>b)", 9, 'the group "n" is there twice'),
            (r"(?P<n>a(?<n>b))", 8, 'the group "n" is there twice'),
        ]:
            told = advice(pattern)
            assert told is not None, pattern
            self.assertEqual(told[0], place, pattern)
            self.assertIn(words, told[1])
            error = str(self.assertRaises(ValueError, Pattern, pattern))
            self.assertTrue(error.startswith(f'bad pattern "{pattern}" at character {place}: '), error)

    def test_misprint(self) -> None:
        """The misprint of the SMTP receiver's page is refused with the pattern that was meant, which works."""
        error = str(self.assertRaises(ValueError, Pattern, MISPRINT))
        self.assertIn(r"at character 1: the ? belongs behind the bracket: write (?P<number>\+?\d+)@fax", error)
        meant = error.rpartition("write ")[2]
        self.assertEqual(Pattern(meant).groups("+61388454@fax"), {"number": "+61388454"})

    def test_harmless(self) -> None:
        """Escapes, classes and what RE2 does have are left alone, and can be used."""
        for pattern, text in [
            (r"[(?=)]+", "(?="), (r"\(?=a", "=a"), (r"[]a(?!]+", "]("), (r"[^](?!]", "a"), (r"\Q(?=\E", "(?="),
            (r"[[:alpha:](?=]+", "x("), (r"[+]+", "++"), (r"\++", "++"), (r"a+?", "a"), (r"a}+", "a}}"),
            (r"[\d++]+", "1+"), (r"(?i)a", "A"), (r"(?<n>a)(?P<m>b)", "ab"), (r"(?:a|b)$", "a"), (r"\bax\z", "ax"),
            (r"(?P<number>[+i]?\d+)@fax$", "i12@FAX"), (r"", ""),
        ]:
            self.assertIsNone(advice(pattern), pattern)
            self.assertTrue(Pattern(pattern).matches(text), pattern)

    @given(st.text(alphabet="ab1()?P<n>=!:[]\\+*{},|#^$QEZ", max_size=25))
    def test_any_text(self, pattern: str) -> None:
        """Whatever is written, there is advice about a place in it, or none; what is taken has no group twice."""
        told = advice(pattern)
        if told is not None:
            self.assertTrue(1 <= told[0] <= len(pattern), told)
            return
        try:
            names = Pattern(pattern).names
        except ValueError:
            return
        written = re.findall(r"\(\?P?<(\w+)>", re.sub(r"\\Q.*?(\\E|$)|\\.|\[\^?\]?(\\.|[^]\\])*\]", "", pattern))
        self.assertEqual(sorted(names), sorted(written))
