"""Header values to text for people: encoded words (RFC 2047), raw UTF-8 (RFC 6532), old raw 8-bit letters.

What comes out has no control character and no line end, so it cannot become a second field anywhere. An encoded word
that is broken, or of a charset nobody knows, stays as it was written. Linear in the length of the value.
"""

from __future__ import annotations

import re
from binascii import a2b_qp

from mailbridge.message.charsets import codec_of, text_of
from mailbridge.message.transfer import from_base64

_WORD = re.compile(r"=\?([!->@-~]{1,60})\?([bBqQ])\?([^?\r\n]*)\?=")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/ ]*={0,3} *")


def decoded_value(octets: bytes, charset: str = "") -> str:
    """A raw field value as people read it; `charset` is the guess for 8-bit letters that are not UTF-8."""
    if octets.isascii():
        text = octets.decode("ascii")
    else:
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            text = text_of(octets, charset)
    if "=?" in text:
        text = decoded_words(text)
    return clean(text)


def clean(text: str) -> str:
    """`text` in one line: tabs and line ends are blanks, other control characters are gone."""
    if text.isprintable():  # the common case, at once
        return text.strip()
    return _CONTROL.sub(_blank, text).strip()


def _blank(run: re.Match[str]) -> str:
    return " " if set(run.group()) & set("\t\r\n\u2028\u2029\x85") else ""


def decoded_words(text: str) -> str:
    """`text` with its encoded words read. Blanks between two of them go; so a letter may span two words."""
    out: list[str] = []
    run: list[bytes] = []  # octets of neighbours in one charset
    codec = ""
    end = 0
    for word in _WORD.finditer(text):
        charset, _, _ = word.group(1).partition("*")  # RFC 2231 5: the language
        found = codec_of(charset)
        octets = _octets(word.group(2), word.group(3)) if found else None
        if found is None or octets is None:
            continue
        between = text[end:word.start()]
        if not run or between.strip(" \t\r\n") or found != codec:
            if run:
                out.append(text_of(b"".join(run), codec))
                between = "" if not between.strip(" \t\r\n") else between
            out.append(between)
            run, codec = [], found
        run.append(octets)
        end = word.end()
    if run:
        out.append(text_of(b"".join(run), codec))
    out.append(text[end:])
    return "".join(out)


def _octets(encoding: str, letters: str) -> bytes | None:
    """What an encoded word holds, None when it is broken."""
    if encoding in "bB":
        if not _BASE64.fullmatch(letters):
            return None
        return from_base64(letters.encode("ascii"))
    return a2b_qp(letters.encode("ascii"), header=True) if letters.isascii() else None
