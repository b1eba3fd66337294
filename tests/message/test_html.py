"""HTML to text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.html import MOST_CHARACTERS, html_to_text
from tests.message.hostile import seconds

PIECES = ["<", ">", "<a ", "<a href=\"http://x/y\">", "</a>", "<!--", "-->", "<p>", "</p>", "<br/>", "<pre>", "</pre>",
          "<script>", "</script>", "<head>", "</head>", "&", "&amp;", "&#0;", "&#xd800;", "&#13;", "&#99999999;", "\"",
          "'", "=", "\n", " ", "text", "<li>", "<td>", "<![CDATA[", "<?", "</"]
# Whatever is not closed, for a megabyte.
ENDLESS = ["<!", "<a ", "&", "<![", "<", "<!--", "</", "<a \"", "<a href=\"", "<a b=\"c\" ", "&#", "<script>", "<head>",
           "<title>", " ", "<x>\"", "<a href=\"x\">a</a>", "<a =\"'"]


class HtmlTests(SynchronousTestCase):
    """Documents."""

    def test_table(self) -> None:
        """What a person would read."""
        for html, text in (
            ("", ""), ("plain", "plain"), ("a\n b\t c", "a b c"), ("<p>a</p><p>b</p>", "a\n\nb"),
            ("a<br>b<BR/>c", "a\nb\nc"),
            ("<div>a</div><div>b</div>", "a\nb"), ("<h1>T</h1>x", "T\n\nx"), ("a<br><br>b", "a\n\nb"),
            ("<ul><li>a</li><li>b</ul>", "- a\n- b"), ("<ul><li><p>a</p></li></ul>", "- a"),
            ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1 2\n3"),
            ("<b>a</b>b <i> c</i>", "ab c"), ("a&nbsp;&nbsp;b", "a b"), ("<pre>\n a\n  b</pre>", " a\n  b"),
            # Entities.
            ("&lt;p&gt; &amp;amp; &eacute;&#382;&#x17E; &copy", "<p> &amp; éžž ©"),
            ("a & b &bogus; &;", "a & b &bogus; &;"),
            ("&#0;&#xD800;&#1114112;", "\ufffd\ufffd\ufffd"), ("&#" + "9" * 5000 + ";", "\ufffd"),
            ("&#x" + "0" * 5000 + "41;b", "\ufffdb"),
            # Links.
            ('<a href="https://x/?a=1&amp;b=2">here</a>', "here (https://x/?a=1&b=2)"), ("<a href=#top>up</a>", "up"),
            ("<a href='http://x/'>http://x/</a>", "http://x/"), ('<a href="http://x"><img></a>', "http://x"),
            ('<a href="javascript:alert(1)">x</a>', "x"), ('<a href="http://x\r\ny">x</a>', "x"),
            ('<a href="mailto:a@b">a@b</a>', "a@b"), ("<a name=x>y</a>", "y"), ("<a href=http://x>y", "y (http://x)"),
            ('<a href="http://q">x y<a href="http://z">w</a>', "x y (http://q)w (http://z)"),
            # What nobody sees.
            ("<html><head><title>t</title><style>s</style></head><body>b</body></html>", "b"),
            ("a<script>if (a < b) '</p>'</script>b<STYLE>x</style>c", "abc"), ("a<!-- <p> -- > x --> b", "a b"),
            ("a<!-->b", "ab"), ("a<?php x ?>b<!DOCTYPE html>c<![CDATA[d]]>e", "abce"), ("a</ b>c", "ac"),
            ("<head><title>t</title><body>b", "b"),
            # Broken ones.
            ("a < b <3 <", "a < b <3 <"), ("a<b", "a"), ("<p title=\"x>y\">z", "z"), ("<p title=\"x>y", "y"),
            ("<head>a", "a"),
            ("<title>a", "a"), ("a<script>b", "a"), ("a<!-- b", "a"), ("<p =>a", "a"), ("<p a=b\"c>d", "d"),
            ("<p class='x\">a</p>b", "a\n\nb"), ("</p></a></pre></li>x", "x"),
        ):
            self.assertEqual(html_to_text(html), text, html[:80])

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=80))
    def test_any_text(self, html: str) -> None:
        """Any text is a document, whose text is hardly longer and has no half of a character more."""
        text = html_to_text(html)
        self.assertLessEqual(len(text), 2 * len(html) + 2)
        if "<" not in html and "&" not in html:
            self.assertEqual("".join(text.split()), "".join(html.split()))

    def test_hostile(self) -> None:
        """A megabyte of whatever is not closed takes less than a second, and what is longer is cut."""
        for piece in ENDLESS:
            html = piece * (MOST_CHARACTERS // len(piece))
            self.assertLess(seconds(lambda: html_to_text(html)), 1.0, piece)  # noqa: B023
        self.assertEqual(len(html_to_text("a" * MOST_CHARACTERS + "b")), MOST_CHARACTERS)
