"""Octets to text by the charset that a message names, whatever it names (RFC 2045 5.2, RFC 6532).

Names are looked up in a table made once, never in CPython's codec registry: that one imports modules by the names of
strangers, remembers every miss for ever, and has codecs that are no charsets (zip, hex, rot13, idna, unicode_escape).
What cannot be read becomes U+FFFD; nothing raises, and no half of a surrogate pair comes out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from encodings.aliases import aliases

from mailbridge.message.pieces import PIECE, pieces

_GUESS = "?"  # no charset, or none that says anything: UTF-8 when it is that, else cp1252
_SQUEEZE = re.compile(r"[^a-z0-9]+")
_HALVES = re.compile("[\ud800-\udfff]")

_CODECS = frozenset(re.findall(r"\w+", """
    big5 big5hkscs cp037 cp1006 cp1026 cp1125 cp1140 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
    cp273 cp424 cp437 cp500 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865
    cp866 cp869 cp874 cp875 cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp euc_kr gb18030 gb2312 gbk hp_roman8 hz
    iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr iso8859_1 iso8859_2
    iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_10 iso8859_11 iso8859_13 iso8859_14
    iso8859_15 iso8859_16 johab koi8_r koi8_t koi8_u kz1048 latin_1 mac_arabic mac_croatian mac_cyrillic mac_farsi
    mac_greek mac_iceland mac_latin2 mac_roman mac_romanian mac_turkish ptcp154 shift_jis shift_jis_2004 shift_jisx0213
    tis_620 utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le utf_7 utf_8 utf_8_sig
"""))
_BY_MARK = ("utf_16", "utf_32")
# What the world means by a name: the superset that Windows wrote under it (as WHATWG's Encoding Standard has it).
_MEANT = {
    "latin_1": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "utf_8_sig": "utf_8",
}
_ALSO = {
    "iso88598i": "iso8859_8", "iso88598e": "iso8859_8", "iso88596i": "iso8859_6", "iso88596e": "iso8859_6",
    "unicode11utf7": "utf_7", "utf8mb4": "utf_8", "unicode11utf8": "utf_8", "utf8n": "utf_8", "sjis": "cp932",
    "windows874": "cp874", "windows949": "cp949", "windows936": "gb18030", "cp936": "gb18030", "windows950": "cp950",
    "windows932": "cp932", "windows31j": "cp932", "gb231280": "gb18030", "ansi": "cp1252", "macce": "mac_latin2",
    "iso885912": "cp1252", "koi8": "koi8_r", "koi8ru": "koi8_u", "unicode": "utf_16", "cn-gb": "gb18030",
    **{f"win{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"cp{number}": f"iso8859_{number - 28590}" for number in range(28592, 28606) if number not in (28599, 28602)},
}
_NOTHING_SAID = ("", "usascii", "ascii", "unknown8bit", "unknown", "8bit", "binary", "default", "defaultcharset",
                 "userdefined", "none", "iso646us", "ansix341968")


def _table() -> Iterator[tuple[str, str]]:
    for codec in _CODECS:
        yield codec, codec
    for alias, codec in aliases.items():
        if codec in _CODECS:
            yield alias, codec
        elif codec == "ascii":
            yield alias, _GUESS
    yield from _ALSO.items()
    for name in _NOTHING_SAID:
        yield name, _GUESS


def _squeezed(name: str) -> str:
    return _SQUEEZE.sub("", name.lower())


_KNOWN = {_squeezed(name): _MEANT.get(codec, codec) for name, codec in _table()}


def codec_of(charset: str) -> str | None:
    """The codec that reads `charset`, or None when nobody knows that name."""
    if len(charset) > 60:
        return None
    name = _squeezed(charset)
    return _KNOWN.get(name) or _KNOWN.get(name.removeprefix("x"))


def text_of(octets: bytes, charset: str = "") -> str:
    """`octets` as text, U+FFFD for what cannot be read. An unknown charset is guessed: UTF-8, else cp1252."""
    if octets.isascii() and charset in ("", "us-ascii", "utf-8"):
        return octets.decode("ascii")
    codec = codec_of(charset) or _GUESS
    if codec == _GUESS:
        try:
            return octets.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            codec = "cp1252"
    if codec in _BY_MARK:
        codec += _byte_order(octets)
    return _decoded(octets, codec).removeprefix("\ufeff")


def _byte_order(octets: bytes) -> str:
    """By the byte order mark, else by where the zeros of Latin letters are."""
    return "_be" if octets.startswith((b"\xfe\xff", b"\x00")) else "_le"


def _decoded(octets: bytes, codec: str) -> str:
    if len(octets) <= PIECE:
        text = octets.decode(codec, "replace")
    elif codec.startswith("iso2022"):  # incremental decoders that raise; each line begins anew (RFC 1468)
        text = "".join([piece.decode(codec, "replace") for piece in pieces(octets)])
    else:
        decoder = codecs.getincrementaldecoder(codec)("replace")
        text = "".join([decoder.decode(piece) for piece in pieces(octets)]) + decoder.decode(b"", True)
    return _HALVES.sub("\ufffd", text) if codec == "utf_7" else text
