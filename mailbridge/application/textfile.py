"""The text of a message as one of four formats: `txt`, `htm`, `eml` (the message itself) and `mht` (the same octets).

A text file is in the code page, its lines end in CR LF, the last one excepted. HTML is written in ASCII with everything
else as character references, so it is right whatever charset it claims.
"""

from __future__ import annotations

import re
from html import escape

from attrs import frozen

from mailbridge.application.codepage import CodePage

FORMATS = ("txt", "eml", "mht", "htm")

_CONTROLS = {code: " " for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\f\r\x85"}
_SPECIAL = re.compile("[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_PLAIN = {**_CONTROLS, 0x0D: "\n", 0x85: "\n", 0x2028: "\n", 0x2029: "\n", 0xFEFF: None}


def chosen(preference: tuple[str, ...], has_text: bool, has_html: bool) -> str:
    """The first format of the list that the message can be had in; `txt` when there is none."""
    obtainable = {"txt": has_text, "htm": has_text or has_html, "mht": has_html, "eml": True}
    return next((name for name in preference if obtainable[name]), "txt")


@frozen
class TextFile:
    """Octets of a text file, the text that its reader will see, and what was lost."""

    octets: bytes
    text: str
    warnings: tuple[str, ...]


def plain_text(text: str) -> str:
    """`text` with newlines as its only line ends and without control characters; none at its end."""
    if _SPECIAL.search(text):
        text = text.replace("\r\n", "\n").translate(_PLAIN)
    return text.rstrip("\n ")


def text_file(text: str, page: CodePage, size: int) -> TextFile:
    """`text`, which `plain_text` made, as a file of at most `size` octets."""
    warnings = []
    fitting, replaced = page.fit(text[:size])
    octets = page.encode(fitting.replace("\n", "\r\n"))
    if len(octets) > size or len(text) > size:
        octets = page.cut(octets, size).removesuffix(b"\r")
        fitting = octets.decode(page.name).replace("\r\n", "\n")
        warnings.append(f"the text was cut to {len(octets):,} octets (text_size)")
    if replaced:
        warnings.append(f"{replaced} characters of the text are not in {page.name} and were replaced")
    if not fitting.strip():
        warnings.append("the text is empty")
    return TextFile(octets, fitting, tuple(warnings))


def html_file(html: str | None, text: str, title: str) -> bytes:
    """The page of the message, or one that shows its plain text."""
    if html is None:
        html = (f"<!DOCTYPE html>\n<html><head><title>{escape(title)}</title></head>\n"
                f"<body><pre>{escape(text)}</pre></body></html>\n")
    clean = html.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS).replace("\n", "\r\n")
    return clean.encode("ascii", "xmlcharrefreplace")
