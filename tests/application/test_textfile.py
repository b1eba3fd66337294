"""The text of a job in its four formats."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.codepage import CodePage
from mailbridge.application.textfile import FORMATS, chosen, html_file, plain_text, text_file

PAGE = CodePage.make("cp1250")


class ChoiceTests(SynchronousTestCase):
    """Which format is written."""

    def test_first_that_fits(self) -> None:
        """The first of the list that the message can be had in."""
        for preference, has_text, has_html, wanted in (
            (("txt",), True, True, "txt"), (("txt",), False, False, "txt"), ((), True, True, "txt"),
            (("mht", "txt"), True, True, "mht"), (("mht", "txt"), True, False, "txt"), (("mht",), True, False, "txt"),
            (("mht", "eml"), True, False, "eml"), (("htm", "txt"), True, False, "htm"), (("htm",), False, False, "txt"),
            (("txt", "eml"), False, False, "eml"), (("eml", "txt"), True, True, "eml"),
            (("txt", "eml", "mht", "htm"), True, True, "txt"),
        ):
            self.assertEqual(chosen(preference, has_text, has_html), wanted, preference)
        self.assertEqual(set(FORMATS), {"txt", "eml", "mht", "htm"})


class TextTests(SynchronousTestCase):
    """Text files."""

    def test_plain(self) -> None:
        """All line ends are one, controls are blanks, tabs and form feeds stay, nothing is left at the end."""
        for text, wanted in (
            ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"), ("a\0b\x1bc\x7fd\x9fe", "a b c d e"),
            ("a\tb\fc", "a\tb\fc"), ("a\n\n \n", "a"), ("\n a", "\n a"), ("\ufeffa", "a"), ("", ""),
        ):
            self.assertEqual(plain_text(text), wanted, repr(text))

    def test_octets(self) -> None:
        """The code page's octets, lines that end in CR LF, and what was replaced is said."""
        file = text_file("Žlutý\nkůň", PAGE, 100)
        self.assertEqual((file.octets, file.text, file.warnings), (b"\x8elut\xfd\r\nk\xf9\xf2", "Žlutý\nkůň", ()))
        file = text_file("漢 ñ", PAGE, 100)
        self.assertEqual((file.octets, file.text), (b"? n", "? n"))
        self.assertIn("2 characters of the text are not in cp1250", file.warnings[0])
        self.assertIn("empty", text_file("", PAGE, 100).warnings[0])

    def test_cut(self) -> None:
        """A long text is cut to its octets, between characters and not inside a line end, with a warning."""
        for text, page, size, octets in (
            ("abcdef", "cp1250", 4, b"abcd"), ("ab\ncd", "cp1250", 3, b"ab"), ("ab\ncd", "cp1250", 4, b"ab\r\n"),
            ("ab€d", "utf-8", 4, b"ab"), ("ab€d", "utf-8", 5, "ab€".encode()), ("ﬁﬁﬁ", "ascii", 4, b"fifi"),
        ):
            file = text_file(text, CodePage.make(page), size)
            self.assertEqual(file.octets, octets, text)
            self.assertIn("text_size", file.warnings[0])
            self.assertEqual(file.text, octets.decode(page).replace("\r\n", "\n"))
        self.assertEqual(text_file("abcd", PAGE, 4).warnings, ())

    @settings(max_examples=100, deadline=None)
    @given(st.text(), st.sampled_from(["cp1250", "utf-8", "ascii"]), st.integers(1, 200))
    def test_any_text(self, text: str, name: str, size: int) -> None:
        """Whatever the text, its file has only whole lines, no controls, and its size."""
        file = text_file(plain_text(text), CodePage.make(name), size)
        self.assertLessEqual(len(file.octets), size)
        self.assertEqual(file.octets.decode(name).replace("\r\n", "\n"), file.text)
        self.assertNotRegex(file.text, r"[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f]")
        self.assertEqual(file.octets.count(b"\n"), file.octets.count(b"\r\n"))


class PageTests(SynchronousTestCase):
    """HTML files."""

    def test_page_of_the_message(self) -> None:
        """The page stays as it is, but for letters beyond ASCII, which any reader shows right."""
        self.assertEqual(html_file('<meta charset="utf-8">\n<p>Žofie & \U0001f600\0</p>', "", ""),
                         b'<meta charset="utf-8">\r\n<p>&#381;ofie & &#128512; </p>')

    def test_plain_text(self) -> None:
        """Plain text is shown as it is, never as markup."""
        octets = html_file(None, "1 < 2 & \"3\"\nŽ</pre><script>", "</title>")
        self.assertIn(b"<pre>1 &lt; 2 &amp; &quot;3&quot;\r\n&#381;&lt;/pre&gt;&lt;script&gt;</pre>", octets)
        self.assertIn(b"<title>&lt;/title&gt;</title>", octets)
