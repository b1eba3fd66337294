"""Mails for usdsfuzz.py, written by other means than mailbridge's own: nested multiparts, names by RFC 2231, 8-bit
text, empty parts, odd charsets. Each comes with what must be found in it.
"""

from __future__ import annotations

from base64 import b64encode, encodebytes
from binascii import b2a_qp
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from attrs import field, frozen
from hypothesis import strategies as st

LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Co", "Cn")) | st.just(" ")
CHARSETS = {  # with letters that each can write
    "utf-8": "aZ 9.é☃\U0001f600язык日本", "us-ascii": "aZ 9.,;", "iso-8859-1": "aZ éÿ¿", "ISO-8859-15": "aZ é€Žœ",
    "koi8-r": "aZ язык ЖЩ", "windows-1251": "aZ язык ѓ", "shift_jis": "aZ 日本語 カナ", "euc-jp": "aZ 日本語",
    "iso-2022-jp": "aZ 日本語", "gb18030": "aZ 中文 €", "big5": "aZ 中文", "utf-16": "aZ é☃", "windows-1252": "aZ “é”€",
}
one_line = st.text(LETTERS, min_size=1, max_size=40).map(lambda text: " ".join(text.split())).filter(
    lambda text: bool(text) and "=?" not in text)
titles = st.just("") | st.text(LETTERS, min_size=1, max_size=60).map(
    lambda text: " ".join(text.replace("/", "-").replace("\\", "-").split()).strip(" .")).filter(
    lambda text: bool(text) and "=?" not in text and text.strip(" .") == text)


@frozen
class Wanted:
    """A mail, and what must be found in it."""

    octets: bytes = field(repr=lambda octets: repr(octets[:3000]))
    subject: str
    text: str
    html: str
    attachments: list[tuple[str, bytes]]
    fields: dict[str, str]


@frozen
class Piece:
    """Header lines and a body, and what is in it: (name, octets) of attachments."""

    head: list[bytes]
    body: bytes
    holds: list[tuple[str, bytes]] = field(factory=list)

    @property
    def octets(self) -> bytes:
        """As a part of a multipart."""
        return b"\r\n".join([*self.head, b"", self.body])


# --- headers ----------------------------------------------------------------------------------------------------------


def _words(text: str, charset: str, q: bool) -> bytes:
    """Encoded words of few letters each (RFC 2047)."""
    out = []
    for at in range(0, len(text), 8):
        octets = text[at:at + 8].encode(charset)
        inner = "".join(f"={each:02X}" for each in octets) if q else b64encode(octets).decode()
        out.append(f"=?{charset}?{'Q' if q else 'B'}?{inner}?=".encode())
    return b"\r\n ".join(out)


@st.composite
def _subjects(draw: Any) -> tuple[str, bytes]:
    charset = draw(st.sampled_from(sorted(set(CHARSETS) - {"utf-16", "iso-2022-jp"})))
    longest = draw(st.sampled_from((20, 20, 60, 400)))
    text = draw(st.text(st.sampled_from(CHARSETS[charset]), min_size=longest // 2, max_size=longest))
    text = " ".join(text.split()) or "x"
    way = draw(st.sampled_from(("B", "Q", "raw")))
    if way == "raw":
        return text, text.replace(" ", "\r\n ", 1).encode("utf-8")
    return text, _words(text, charset, way == "Q")


def _named(name: str, way: str, charset: str) -> bytes:
    """`; filename=...` in one of the ways that are in use."""
    if not name:
        return b""
    if way == "quoted" and name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'; filename="{escaped}"'.encode()
    if way == "words":
        return b'; filename="' + _words(name, "utf-8", False) + b'"'
    try:
        octets = name.encode(charset)
    except UnicodeEncodeError:
        charset, octets = "utf-8", name.encode()
    encoded = f"{charset}'en'" + quote(octets, safe="")
    if way != "pieces":
        return b"; filename*=" + encoded.encode()
    pieces = [encoded[at:at + 21] for at in range(0, len(encoded), 21)]
    whole = [piece for piece in pieces if piece]
    # an escape may not be parted
    joined: list[str] = []
    for piece in whole:
        if joined and (joined[-1][-1:] == "%" or joined[-1][-2:-1] == "%"):
            joined[-1] += piece
        else:
            joined.append(piece)
    return b"".join(f";\r\n filename*{number}*={piece}".encode() for number, piece in enumerate(joined))


# --- bodies -----------------------------------------------------------------------------------------------------------


def _transfer(octets: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return encodebytes(octets).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    if encoding == "quoted-printable":
        return b2a_qp(octets, istext=False).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets


@st.composite
def _texts(draw: Any, kind: str) -> tuple[str, Piece]:
    """A text and the part that holds it."""
    charset = draw(st.sampled_from(sorted(CHARSETS)))
    lines = draw(st.lists(st.text(st.sampled_from(CHARSETS[charset]), max_size=70).map(str.rstrip), min_size=1,
                          max_size=6))
    text = "\n".join(lines)
    if not text.strip():
        text = "x" + text
    if kind == "html":
        text = f"<html><p>{text}</p></html>"
    octets = text.replace("\n", "\r\n").encode(charset)
    encodings = ["base64", "quoted-printable"]
    if charset != "utf-16":
        encodings.append("7bit" if octets.isascii() else "8bit")
    encoding = draw(st.sampled_from(encodings))
    if encoding == "quoted-printable" and charset != "utf-16":
        body = b"\r\n".join(_transfer(line, encoding) for line in octets.split(b"\r\n"))
    else:
        body = _transfer(octets, encoding)
    head = [f'Content-Type: text/{kind}; charset="{charset}"'.encode(), b"Content-Transfer-Encoding: " +
            encoding.encode()]
    return text, Piece(head, body)


@st.composite
def _files(draw: Any) -> Piece:
    """An attachment."""
    name = draw(titles.filter(bool))
    way = draw(st.sampled_from(("quoted", "words", "one", "pieces")))
    charset = draw(st.sampled_from(("utf-8", "iso-8859-1", "koi8-r")))
    octets = draw(st.binary(max_size=200) | st.binary(max_size=4).map(lambda few: few * 500))
    kind = draw(st.sampled_from(("application/pdf", "image/png", "text/plain", "text/csv; charset=koi8-r", "x-y/z.w",
                                 "application/octet-stream", "text/html")))
    encoding = draw(st.sampled_from(("base64", "quoted-printable")))
    given = _named(name, way, charset)
    head = [f"Content-Type: {kind}".encode(), b"Content-Disposition: attachment" + given,
            b"Content-Transfer-Encoding: " + encoding.encode()]
    return Piece(head, _transfer(octets, encoding), [(name, octets)])


@st.composite
def _attached_mails(draw: Any) -> Piece:
    """A mail within the mail."""
    inner = b"Subject: " + draw(_subjects())[1] + b"\r\nFrom: a@example.org\r\n\r\n" + draw(
        st.sampled_from((b"", b"inner\r\n", b"--x\r\ninner\r\n--x--\r\n", b"\xc3\xa9\r\n")))
    name = draw(titles.filter(bool))
    head = [b"Content-Type: message/rfc822", b"Content-Disposition: attachment" + _named(name, "one", "utf-8"),
            b"Content-Transfer-Encoding: 8bit"]
    return Piece(head, inner, [(name, inner)])


_EMPTY = Piece([b"Content-Type: text/plain"], b"")
_BLANK = Piece([], b" \r\n\r\n")


def _multipart(kind: str, pieces: list[Piece], number: int, preamble: bytes) -> Piece:
    boundary = f"=_{number}=".encode()
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, piece.octets) for piece in pieces)
    head = [f'Content-Type: multipart/{kind};\r\n boundary="{boundary.decode()}"'.encode()]
    holds = [each for piece in pieces for each in piece.holds]
    return Piece(head, preamble + body + b"--%s--\r\n" % boundary, holds)


@st.composite
def _trees(draw: Any, numbers: Callable[[], int], depth: int = 0) -> Piece:
    """Attachments, some of them in multiparts within multiparts."""
    kinds = [_files(), _attached_mails(), st.just(_EMPTY), st.just(_BLANK)]
    if depth < 4:
        kinds.append(_trees(numbers, depth + 1))
    pieces = draw(st.lists(st.one_of(*kinds), max_size=3))
    return _multipart(draw(st.sampled_from(("mixed", "related", "parallel"))), pieces or [_EMPTY], numbers(),
                      draw(st.sampled_from((b"", b"preamble\r\n", b"\r\n"))))


@st.composite
def _mails(draw: Any) -> Wanted:
    used = [0]

    def number() -> int:
        used[0] += 1
        return used[0]

    text, body = draw(_texts("plain"))
    html = ""
    if draw(st.booleans()):
        html, page = draw(_texts("html"))
        body = _multipart("alternative", [body, page], number(), b"")
    if draw(st.integers(0, 3)):
        after = draw(st.lists(st.one_of(_files(), _attached_mails(), st.just(_EMPTY), _trees(number)), max_size=3))
        body = _multipart("mixed", [body, *after], number(), b"This is a message with parts\r\n")
    subject, written = draw(_subjects())
    id = draw(st.integers(1, 10**9))
    fields = {"Message-ID": f"<{id}@example.org>", "Date": "Sat, 21 Nov 2026 10:00:00 +0000",
              "In-Reply-To": f"<{id - 1}@example.org>",
              "References": " ".join(f"<{each}@x.example>" for each in range(draw(st.integers(1, 30))))}
    lines = [f"{name}: {value}".replace("> <", ">\r\n <").encode() for name, value in fields.items()]
    head = [b"From: Bonnie <bonnie@oce>", b"To: harold@oce", b"Subject: " + written, *lines, b"MIME-Version: 1.0",
            *body.head]
    return Wanted(b"\r\n".join([*head, b"", body.body]), subject, text, html, body.holds, fields)


mails = _mails()
