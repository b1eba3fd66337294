"""HTML to the text that a person would read, for mail and short messages: `html_to_text`.

One pass from left to right, in which every character is looked at a bounded number of times, whatever is not closed.
CPython's html.parser has cases that take the square of the length. Not a browser: no style, no tables side by side.
"""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5
from typing import cast

MOST_CHARACTERS = 1024 * 1024

_TEXT = re.compile(r"[^<]*+(?:<(?![A-Za-z/!?])[^<]*+)*+")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,40})")
_STEP = re.compile(r"""[^>=]*+(?:(>)|=\s*+(["']?))""")
_HREF = re.compile(r"""\shref\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]++))""", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:(#[0-9]++|#[xX][0-9a-fA-F]++);?|([A-Za-z][A-Za-z0-9]{1,31}+(?:;|(?!=))))")
_BLANKS = re.compile(r"[ \t\n\r\f\u00a0]+")
_LINK = re.compile(r"(?:https?|ftps?|mailto|tel|sms):[!-~\u00a1-\U0010ffff]{1,2000}", re.IGNORECASE)
_ENDS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE | re.ASCII)
    for name in ("script", "style", "title", "template", "iframe", "svg", "select", "textarea")
}
_ENDS["head"] = re.compile(r"<(?:/head|body)(?=[\s/>])", re.IGNORECASE | re.ASCII)
_LINES = frozenset("""div tr li dt dd center address article aside footer header main nav section form fieldset legend
    figcaption caption thead tbody tfoot""".split())  # noqa: SIM905
_PARAGRAPHS = frozenset("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote figure pre hr body".split())  # noqa: SIM905


def html_to_text(html: str) -> str:
    """The text of `html`, of which the first 1,048,576 characters are read.

    Paragraphs are apart by an empty line, cells by a blank; items begin with `- `; the address of a link stands behind
    its text when it is another. Scripts, styles, the head and comments are left out.
    """
    reader = _Reader(html[:MOST_CHARACTERS].replace("\r\n", "\n"))
    reader.read()
    return reader.page.text()


class _Page:
    """Text as it is laid out: blanks folded, one empty line between paragraphs."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._breaks = 2  # line ends at the end of what is there; the start counts as an empty line
        self._blank = False
        self.pre = 0
        self.bullet = ""

    def write(self, text: str) -> None:
        """Add text of the document."""
        if self.pre:
            self._verbatim(text)
            return
        folded = _BLANKS.sub(" ", text)
        if folded.startswith(" "):
            self._blank = True
            folded = folded[1:]
        if not folded:
            return
        if self.bullet:
            self._out.append(self.bullet)
            self.bullet = ""
        elif self._blank and not self._breaks:
            self._out.append(" ")
        self._blank = folded.endswith(" ")
        self._out.append(folded[:-1] if self._blank else folded)
        self._breaks = 0

    def _verbatim(self, text: str) -> None:
        if text.startswith("\n") and self._breaks >= 2:  # the line end behind <pre>
            text = text[1:]
        if text:
            self._out.append(text)
            self._breaks = min(2, len(text) - len(text.rstrip("\n")))
            self._blank = False

    def blank(self) -> None:
        """A blank, unless a line begins."""
        self._blank = True

    def line(self) -> None:
        """A line end, whatever stands before it."""
        self._out.append("\n")
        self._breaks += 1
        self._blank = False

    def apart(self, breaks: int) -> None:
        """At least so many line ends before what comes."""
        while self._breaks < breaks:
            self.line()
        self._blank = False

    def text(self) -> str:
        """All that was written."""
        return "".join(self._out).strip("\n")


class _Reader:
    """Reads the document; `page` gets its text."""

    def __init__(self, html: str) -> None:
        self.page = _Page()
        self._html = html
        self._quotes = True  # until one is found that is not closed
        self._unclosed: set[str] = set()  # what has no end from here on, so that it is looked for once
        self._link: tuple[str, list[str]] | None = None

    def read(self) -> None:
        """All of it."""
        html = self._html
        at = 0
        while at < len(html):
            text = cast("re.Match[str]", _TEXT.match(html, at))
            if text.end() > at:
                self._text(text.group())
            at = self._markup(text.end()) if text.end() < len(html) else len(html)
        self._end_link()

    def _text(self, text: str) -> None:
        if "&" in text:
            text = _ENTITY.sub(_character, text)
        if self._link is not None:
            self._link[1].append(text)
        self.page.write(text)

    def _markup(self, at: int) -> int:
        """What begins with the `<` at `at`; where the text goes on."""
        html = self._html
        match = _TAG.match(html, at)
        if match is None:
            if html.startswith("<!--", at):
                return self._after("-->", at + 2)  # <!--> is a whole comment
            return self._after(">", at)
        end = self._end_of_tag(match.end())
        name = match.group(2).lower()
        if match.group(1):
            self._close(name)
        else:
            self._open(name, html[match.end():end])
            if name in _ENDS and name not in self._unclosed:
                return self._after_hidden(name, end)
        return end

    def _after_hidden(self, name: str, at: int) -> int:
        """Behind what nobody sees. Without its end a script takes all the rest, and others nothing."""
        found = _ENDS[name].search(self._html, at)
        if found is not None:
            return found.start()
        self._unclosed.add(name)
        return len(self._html) if name in ("script", "style") else at

    def _after(self, mark: str, at: int) -> int:
        found = self._html.find(mark, at)
        return len(self._html) if found < 0 else found + len(mark)

    def _end_of_tag(self, at: int) -> int:
        """Behind the `>` of a tag; one inside quotes does not count, unless a quote is never closed."""
        start = at
        html = self._html
        while self._quotes:
            match = _STEP.match(html, at)
            if match is None:
                break
            if match.group(1):
                return match.end()
            at = match.end()
            if match.group(2):
                at = html.find(match.group(2), at) + 1
                self._quotes = at > 0
        return self._after(">", start)

    def _open(self, name: str, rest: str) -> None:
        page = self.page
        if name == "br":
            page.line()
        elif name in _PARAGRAPHS:
            page.apart(2)
            if name == "pre":
                page.pre += 1
        elif name in _LINES:
            page.apart(1)
            if name == "li":
                page.bullet = "- "
        elif name in ("td", "th"):
            page.blank()
        elif name == "a":
            self._end_link()
            href = _HREF.search(rest)
            if href is not None:
                self._link = (_ENTITY.sub(_character, href.group(1) or href.group(2) or href.group(3) or ""), [])

    def _close(self, name: str) -> None:
        if name == "a":
            self._end_link()
        elif name in _PARAGRAPHS:
            if name == "pre":
                self.page.pre = max(0, self.page.pre - 1)
            self.page.apart(2)
        elif name in _LINES:
            self.page.apart(1)
            self.page.bullet = ""

    def _end_link(self) -> None:
        if self._link is None:
            return
        address, shown = self._link[0].strip(), "".join(self._link[1]).strip()
        self._link = None
        if _LINK.fullmatch(address) and address.partition(":")[2].strip("/") not in shown:
            self.page.write(f" ({address})" if shown else address)


def _character(match: re.Match[str]) -> str:
    number, name = match.groups()
    if number:
        return unescape(f"&{number};") if len(number) < 20 else "\ufffd"
    return html5.get(name, match.group())
