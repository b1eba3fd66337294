"""Mailbox lists of message headers (RFC 5322 3.4), on our own terms: linear, bounded, never two where one stands.

Comments and display names are skipped, groups are opened, route addresses lose their route. Encoded words stay as they
are: an address is never decoded out of one. What is no list raises AddressError; `named_mailboxes` is for showing, and
passes over what is broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailbridge.address import Address, parse_mailbox
from mailbridge.errors import AddressError

MOST_OCTETS = 256 * 1024
MOST_MAILBOXES = 10_000
DEEPEST = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<literal>\[[^\[\]\\]*\])
      | (?P<special>[<>@,:;()])
      | (?P<atom>[^\s"<>@,:;()\[\]]+)""",
    re.VERBOSE,
)
# For showing, an encoded word is one word whatever stands in it: many programs leave commas in them.
_SHOWN = re.compile(r"(?P<word>=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*\?=)|" + _TOKEN.pattern, re.VERBOSE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_IN_COMMENT = re.compile(r"[^()\\]+|\\.?|[()]", re.DOTALL)

Token = tuple[str, str]
"""(kind, text); the kind is `special`, `quoted`, `literal`, `atom`, `comment` or, for showing, `word`."""


def parse_mailboxes(text: str) -> list[Address]:
    """The addresses of a header value such as To, in order. Raises AddressError with what is wrong."""
    if len(text) > MOST_OCTETS:
        raise AddressError("the list of addresses is too long")
    whole = [token for token in _tokens(text, _TOKEN) if token[0] != "comment"]
    found = [_address(tokens) for tokens in _mailboxes(whole) if tokens]
    if len(found) > MOST_MAILBOXES:
        raise AddressError(f"the list has more than {MOST_MAILBOXES} addresses")
    return found


def named_mailboxes(text: str) -> Iterator[tuple[str, Address] | None]:
    """(display name, not decoded; address) of each mailbox in order, as far as they are read; None for a broken one.

    An address needs a domain here. Nothing comes after a place where the list itself is broken. Never raises.
    """
    mailbox: list[Token] = []
    angle = False
    try:
        for token in _tokens(text, _SHOWN):
            kind, word = token
            if kind == "special" and word in "<>":
                angle = word == "<"
            if kind == "special" and not angle and word in ",;:":
                if mailbox and word != ":":
                    yield _named(mailbox)
                mailbox = []
            else:
                mailbox.append(token)
    except AddressError:
        yield None
        return
    if mailbox:
        yield _named(mailbox)


def _named(mailbox: list[Token]) -> tuple[str, Address] | None:
    plain = [("atom" if kind == "word" else kind, word) for kind, word in mailbox if kind != "comment"]
    try:
        address = _address(plain)
    except AddressError:
        return None
    if not address.domain:
        return None
    name = plain[:plain.index(("special", "<"))] if ("special", "<") in plain else []
    words = [_ESCAPED.sub(r"\1", word[1:-1]) if kind == "quoted" else word for kind, word in name]
    if not words:  # bonnie@example.org (Bonnie), the form before RFC 822
        words = [_ESCAPED.sub(r"\1", word) for kind, word in mailbox if kind == "comment"][:1]
    return " ".join(words), address


def _tokens(text: str, pattern: re.Pattern[str]) -> Iterator[Token]:
    """What is left without space. Raises AddressError."""
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            raise AddressError(f"unexpected {text[at:at + 20]!r} in a list of addresses")
        kind, word = str(match.lastgroup), match.group()
        at = match.end()
        if word == "(":
            end = _after_comment(text, at)
            yield "comment", text[at:end - 1]
            at = end
        elif word == ")":
            raise AddressError("a ) without its ( in a list of addresses")
        elif kind != "space":
            yield kind, word


def _after_comment(text: str, at: int) -> int:
    depth = 1
    while depth:
        match = _IN_COMMENT.match(text, at)
        if match is None:
            raise AddressError("a comment without its end in a list of addresses")
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if depth > DEEPEST:
            raise AddressError("comments are nested too deep")
        at = match.end()
    return at


def _mailboxes(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each mailbox; commas, and the names and ends of groups, are gone."""
    mailboxes: list[list[Token]] = [[]]
    angle = group = False
    for kind, word in tokens:
        if kind == "special" and word in "<>":
            angle = word == "<"
        elif kind == "special" and word == ":" and not angle:
            if group or not mailboxes[-1] or any(kind == "special" for kind, _ in mailboxes[-1]):
                raise AddressError("a : that ends no name of a group in a list of addresses")
            group = True
            mailboxes[-1] = []
            continue
        elif kind == "special" and word in ",;" and not angle:
            group = group and word == ","
            mailboxes.append([])
            continue
        mailboxes[-1].append((kind, word))
    if group:
        raise AddressError("a group without its ; in a list of addresses")
    return mailboxes


def _address(tokens: list[Token]) -> Address:
    opening = [number for number, token in enumerate(tokens) if token == ("special", "<")]
    if not opening:
        return _addr_spec(tokens)
    if len(opening) != 1 or tokens[-1] != ("special", ">"):
        raise _no_mailbox(tokens)
    name, inner = tokens[:opening[0]], tokens[opening[0] + 1:-1]
    if inner[:1] == [("special", "@")] and ("special", ":") in inner:  # an obsolete route
        inner = inner[inner.index(("special", ":")) + 1:]
    address = _addr_spec(inner)
    if ("special", "@") in name and _addr_spec(name) != address:  # two addresses where one should stand
        raise _no_mailbox(tokens)
    return address


def _addr_spec(tokens: list[Token]) -> Address:
    """word, or word @ word: nothing else is one address."""
    words, signs = tokens[::2], tokens[1::2]
    one_address = len(tokens) in (1, 3) and all(kind != "special" for kind, _ in words)
    if not one_address or any(sign != ("special", "@") for sign in signs):
        raise _no_mailbox(tokens)
    try:
        return parse_mailbox("".join(text for _, text in tokens).encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise _no_mailbox(tokens) from None


def _no_mailbox(tokens: list[Token]) -> AddressError:
    text = " ".join(text for _, text in tokens)[:60]
    return AddressError(f"{text!r} is no address; a comma or a quotation mark may be missing")
