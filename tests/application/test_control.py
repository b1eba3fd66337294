"""Control files: their grammar, and that no value can change it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.codepage import CodePage
from mailbridge.application.control import Cleaning, one_line, unquoted, written
from mailbridge.application.keys import Key
from tests.application.readers import strict, windows

PAGE = CodePage.make("cp1250")
HOSTILE = (
    "x\r\n[to]\r\nnumber=999", "x\n[to]\nnumber=999", "x\r[to]\rnumber=999", "\r\n\r\n[system]\r\ntype=fax", "[to]",
    "[to]\r\n", "]", "[", ";comment", "a;b", "; number=1", "a ; number=1", "#x", "=", "=x", "a=b", "number=999", "\0",
    "a\0b", "\0\r\nnumber=1", '"', '"x"', "'x'", '""x""', "\"'x'\"", '" x "', '"x', 'x"', "''", '"" ', "%(name)s",
    "${to:number}", "x\u2028[to]", "x\u2029number=1", "x\x85[to]\x85number=1", "x\x0b[to]", "x\x0cnumber=1",
    "x\x1c[to]\x1dnumber=1\x1e", "x" * 5000, '"' + "x" * 253 + '"' + "x" * 4000, "漢字" * 200, "；［to］＝＂",
    "\ufeff[to]",
    "\ud800", "\x1a", "x\\\r\n number=1", " \t x \t ", "\u00a0x\u00a0", "\u202ex", "<%subject%>",
    "ﷺ" * 250,
    "\r\n".join(["[to]", "number=1"] * 300), "e\u0301" * 300, "x\x7f\x80\x9fy", "'" * 300, "\"'" * 200,
)


def cleaned(text: str, **options: bool) -> str:
    """A value as it is written."""
    return Cleaning(PAGE, **options).value(text)[0]


class GrammarTests(SynchronousTestCase):
    """What a control file looks like."""

    def test_octets(self) -> None:
        """Sections in the order they came, no blanks around the sign, CR LF everywhere, the code page's octets."""
        file = written([
            (Key("system", "type"), "sms"), (Key("from", "name"), "Žofie"), (Key("system", "subject"), ""),
            (Key("to", "number"), "1"), (Key("System", "TYPE"), "fax"), (Key("SYSTEM", "x"), "y"),
        ], Cleaning(PAGE))
        self.assertEqual(
            file.octets,
            b"[system]\r\ntype=fax\r\nsubject=\r\nx=y\r\n[from]\r\nname=\x8eofie\r\n[to]\r\nnumber=1\r\n",
        )
        self.assertEqual(file.values[Key("SYSTEM", "type")], "fax")
        self.assertEqual(file.warnings, ())

    def test_code_page(self) -> None:
        """Another code page gives other octets; what it lacks is plain and counted."""
        values = [(Key("a", "b"), "Žofie ≠ 漢")]
        self.assertEqual(written(values, Cleaning(CodePage.make("utf-8"))).octets, "[a]\r\nb=Žofie ≠ 漢\r\n".encode())
        self.assertEqual(written(values, Cleaning(CodePage.make("cp852"))).octets, b"[a]\r\nb=\xa6ofie ? ?\r\n")
        file = written(values, Cleaning(CodePage.make("ascii")))
        self.assertEqual(file.octets, b"[a]\r\nb=Zofie ? ?\r\n")
        self.assertIn("3 characters of the control file are not in ascii", file.warnings[0])

    def test_values(self) -> None:
        """Blanks and controls become one blank, quotes around all of it go, and it has at most 255 characters."""
        for text, wanted in (
            ("a\r\n  b\t\0c ", "a b c"), ("a  b", "a b"),
            ('"hello"', "hello"), ("'hello'", "hello"), ("\"'x'\"", "x"), ('" x "', "x"),
            ('say "hello"', 'say "hello"'), ('"a" or "b"', 'a" or "b'), ('"', '"'), ("x" * 300, "x" * 255), ("", ""),
            ("x" * 254 + " yz", "x" * 254), (" ", ""), ("a\u00a0b\u2003c", "a b c"), ("cafe\u0301", "café"),
            ('"' + "x" * 253 + '"' + "x", "x" * 253), ("＂x＂", "x"),
        ):
            self.assertEqual(cleaned(text), wanted, repr(text[:20]))

    def test_number_is_short(self) -> None:
        """The value of the number has at most 32 characters."""
        number = Key("to", "number")
        file = written([(number, "1" * 40), (Key("to", "name"), "1" * 40)], Cleaning(PAGE), number)
        self.assertEqual([len(value) for value in file.values.values()], [32, 40])

    def test_semicolon(self) -> None:
        """A semicolon stays and is said, or becomes a comma, as the operator wants."""
        kept = written([(Key("a", "b"), "x; y;")], Cleaning(PAGE))
        self.assertEqual(kept.octets, b"[a]\r\nb=x; y;\r\n")
        self.assertIn("ini_semicolon", kept.warnings[0])
        replaced = written([(Key("a", "b"), "x; y；")], Cleaning(PAGE, replace_semicolon=True))
        self.assertEqual(replaced.octets, b"[a]\r\nb=x, y,\r\n")
        self.assertNotIn("ini_semicolon", str(replaced.warnings))


class InjectionTests(SynchronousTestCase):
    """No value adds or changes a key, whoever reads."""

    def check(self, values: dict[Key, str], cleaning: Cleaning) -> None:
        """Both readers see the keys that were written, and their values."""
        octets = written(values.items(), cleaning, Key("to", "number")).octets
        file = written(values.items(), cleaning, Key("to", "number"))
        wanted: dict[str, dict[str, str]] = {}
        for key, value in file.values.items():
            wanted.setdefault(key.section, {})[key.key] = value
        for read in (strict, windows):
            self.assertEqual(read(octets, cleaning.page.name), wanted)
        for value in file.values.values():
            self.assertLessEqual(len(value), 255)
            self.assertNotRegex(value, r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
            self.assertEqual(value, value.strip())

    def test_hostile_values(self) -> None:
        """Line ends, sections, comments, NUL, quotes, long and foreign text in every place of a file."""
        for name in ("cp1250", "utf-8", "ascii", "cp852", "iso-8859-2", "koi8-r"):
            for replace in (False, True):
                cleaning = Cleaning(CodePage.make(name), replace)
                for text in HOSTILE:
                    self.check({Key("system", "subject"): text, Key("from", "name"): text, Key("to", "number"): text,
                                Key("to", "name"): text, Key("system", "id"): text, Key("message", "text"): "a.txt"},
                               cleaning)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text(max_size=300), min_size=3, max_size=3), st.sampled_from(["cp1250", "utf-8", "latin-1"]),
           st.booleans())
    @example(["\"'\"", "\"\"\"", "' '"], "cp1250", False)
    def test_any_values(self, texts: list[str], name: str, replace: bool) -> None:
        """The same for whatever text there is."""
        keys = (Key("system", "subject"), Key("system", "x"), Key("to", "number"))
        self.check(dict(zip(keys, texts, strict=True)), Cleaning(CodePage.make(name), replace))

    @settings(max_examples=100, deadline=None)
    @given(st.text(), st.integers(1, 300))
    def test_one_line(self, text: str, longest: int) -> None:
        """A cleaned text is one line of its length, and cleaning it again changes nothing."""
        line = one_line(text, longest)
        self.assertLessEqual(len(line), longest)
        self.assertEqual(len(line.splitlines()), 1 if line else 0)
        self.assertEqual(one_line(line, longest), line)
        self.assertEqual(unquoted(unquoted(line)), unquoted(line))
