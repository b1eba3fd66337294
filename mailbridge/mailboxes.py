"""Mailbox lists of message headers (RFC 5322 3.4), on our own terms: linear, bounded, never two where one stands.

Comments and display names are skipped, groups are opened, route addresses lose their route. Encoded words stay as they
are: an address is never decoded out of one. What is no list raises AddressError.
"""

from __future__ import annotations

import re

from mailbridge.address import Address, parse_mailbox
from mailbridge.errors import AddressError

MOST_OCTETS = 256 * 1024
MOST_MAILBOXES = 10_000
_DEEPEST = 50

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<literal>\[[^\[\]\\]*\])
      | (?P<special>[<>@,:;()])
      | (?P<atom>[^\s"<>@,:;()\[\]]+)""",
    re.VERBOSE,
)


def parse_mailboxes(text: str) -> list[Address]:
    """The addresses of a header value such as To, in order. Raises AddressError with what is wrong."""
    if len(text) > MOST_OCTETS:
        raise AddressError("the list of addresses is too long")
    found: list[Address] = []
    for words in _mailboxes(_tokens(text)):
        if words:
            found.append(_address(words))
        if len(found) > MOST_MAILBOXES:
            raise AddressError(f"the list has more than {MOST_MAILBOXES} addresses")
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) without space and comments."""
    tokens: list[tuple[str, str]] = []
    at = depth = 0
    while at < len(text):
        if depth and text[at] not in "()\\":
            at += 1
            continue
        if depth and text[at] == "\\":
            at += 2
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise AddressError(f"unexpected {text[at:at + 20]!r} in a list of addresses")
        kind, word = str(match.lastgroup), match.group()
        at = match.end()
        if word == "(" and kind == "special":
            depth += 1
            if depth > _DEEPEST:
                raise AddressError("comments are nested too deep")
        elif word == ")" and kind == "special":
            if not depth:
                raise AddressError("a ) without its ( in a list of addresses")
            depth -= 1
        elif not depth and kind != "space":
            tokens.append((kind, word))
    if depth:
        raise AddressError("a comment without its end in a list of addresses")
    return tokens


def _mailboxes(tokens: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The tokens of each mailbox; commas, and the names and ends of groups, are gone."""
    mailboxes: list[list[tuple[str, str]]] = [[]]
    angle = False
    for kind, word in tokens:
        if kind == "special" and word == "<":
            angle = True
        elif kind == "special" and word == ">":
            angle = False
        elif kind == "special" and word == ":" and not angle:
            mailboxes[-1] = []
            continue
        elif kind == "special" and word in ",;" and not angle:
            mailboxes.append([])
            continue
        mailboxes[-1].append((kind, word))
    return mailboxes


def _address(words: list[tuple[str, str]]) -> Address:
    texts = [word for _, word in words]
    opening = [number for number, word in enumerate(words) if word == ("special", "<")]
    if opening:
        if len(opening) != 1 or texts[-1] != ">":
            raise AddressError(f"{' '.join(texts)[:60]!r} is no mailbox")
        inner = "".join(texts[opening[0] + 1:-1])
        if inner.startswith("@"):  # an obsolete route
            inner = inner.partition(":")[2]
    else:
        inner = "".join(texts)
        if len([word for word in texts if word not in "@"]) > 1 + texts.count("@"):
            raise AddressError(f"{' '.join(texts)[:60]!r} is no mailbox: a comma may be missing")
    if inner.count("@") > 1 and not inner.startswith('"'):
        raise AddressError(f"{inner[:60]!r} has more than one @")
    return parse_mailbox(inner.encode("utf-8", "surrogateescape"))
