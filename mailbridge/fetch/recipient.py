"""Who a fetched message is for, read from its header: the chain of POPFetch, made safe.

pf_header, then X-Recip-To or X-Rcpt-To, then To, then the caretaker; the first that names somebody counts, and Cc never
does. Pure and tolerant: a broken address loses no other, and nothing here raises, whatever the header is like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import evolve, field, frozen
from attrs.converters import optional

from mailbridge.address import NULL, Address, parse_mailbox, parse_path
from mailbridge.errors import AddressError
from mailbridge.message.header import count_hops, fields
from mailbridge.message.mailboxes import parse_mailboxes
from mailbridge.routing.names import fold_domain

MOST_OCTETS = 40 * 1024
"""Of one header, or of all copies of one: what is read in less than 100 ms whatever it holds."""
MOST_RECIPIENTS = 1000
MOST_HOPS = 100
MOST_SHOWN = 20

NO_HEADER = "no-recipient-header"
ONLY_FOREIGN = "no-local-recipient"
LOOP = "too-many-hops"

_RUNGS = ("x-recip-to", "x-rcpt-to", "to")
_LISTS = frozenset((*_RUNGS, "cc", "bcc", "apparently-to", "resent-to"))
"""Headers of which every copy counts; of any other the topmost does, the one our provider wrote."""

_FOLD = re.compile(r"\r\n(?=[ \t])")
_UNSAFE = re.compile(r"[\x00-\x20<>\x7f]")
_MARK = re.compile(r'\\.|[",;()<>]', re.DOTALL)
_ANGLE = re.compile(r"<([^<>]*)>")


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(map(fold_domain, names))


@frozen(kw_only=True)
class Addressing:
    """How recipients are found. `header` is a name in lower case; `domain` replaces that of every recipient.

    Without `domain`, when `local` names domains only addresses in these are kept: fetched mail must not go out again.
    With `domain`, `only_from` keeps only addresses that were in these domains (None: all, as POPFetch does). A bare
    name gets `domain`, else `main`. `fixed` is everybody's mail: no header is read.
    """

    header: str | None = None
    domain: str | None = None
    local: frozenset[str] = field(default=frozenset(), converter=_folded)
    main: str | None = None
    only_from: frozenset[str] | None = field(default=None, converter=optional(_folded))
    fixed: Address | None = None
    caretaker: Address | None = None


@frozen
class Choice:
    """The recipients and where they were found (`fixed`, `caretaker`, the name of a header, or nothing at all).

    `reason` says why the caretaker gets it, or why nobody does. `foreign` are addresses passed over because they are
    elsewhere, `notes` what else an operator may want to know; both are short, printable and bounded.
    """

    recipients: tuple[Address, ...]
    source: str
    reason: str = ""
    foreign: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose(header: bytes, how: Addressing) -> Choice:
    """The recipients of a message with that header section (CR LF line ends)."""
    found = _values(header, how.header)
    if count_hops(header) >= MOST_HOPS:
        # One that has been the caretaker's already would go round for ever.
        again = "x-popfetch-reason" in found or "x-popfetch-failed" in found
        return Choice((), "", LOOP) if again else _caretaker(how, LOOP)
    if how.fixed is not None:
        return Choice((how.fixed,), "fixed")
    notes: list[str] = []
    for name in (*((how.header,) if how.header else ()), *_RUNGS):
        copies = found.get(name, [])
        if name not in _LISTS and len(copies) > 1:
            if len(set(copies)) > 1:
                notes.append(f"{len(copies)} copies of {name} differ; the topmost one counts")
            copies = copies[:1]
        addresses = _addresses(_bounded(copies, name, notes), notes)
        if addresses:
            return _settled(addresses, name, how, notes)
    return evolve(_caretaker(how, NO_HEADER), notes=tuple(notes[:MOST_SHOWN]))


def return_path(header: bytes) -> Address:
    """The sender of the envelope: the topmost Return-Path, `<>` when it is missing or broken."""
    for name, octets in fields(header):
        if name == b"return-path":
            try:
                address, rest = parse_path(octets.partition(b":")[2].replace(b"\r\n", b"").strip())
            except AddressError:
                return NULL
            return address if not rest and not address.double_at and not _UNSAFE.search(address.text) else NULL
    return NULL


def _caretaker(how: Addressing, reason: str) -> Choice:
    if how.caretaker is None:
        return Choice((), "", reason)
    return Choice((how.caretaker,), "caretaker", reason)


def _values(header: bytes, wanted: str | None) -> dict[str, list[str]]:
    """The unfolded values of the headers that matter, topmost first."""
    names = {name.encode("latin-1", "replace"): name for name in
             (*_RUNGS, "x-popfetch-reason", "x-popfetch-failed", *((wanted,) if wanted else ()))}
    found: dict[str, list[str]] = {}
    for name, octets in fields(header):
        if name in names:
            text = octets.partition(b":")[2].decode("utf-8", "surrogateescape")
            found.setdefault(names[name], []).append(_FOLD.sub("", text).strip())
    return found


def _bounded(copies: list[str], name: str, notes: list[str]) -> list[str]:
    """The copies, without what is beyond the bound; the address it would cut in two goes as well."""
    left, kept = MOST_OCTETS, []
    for copy in copies:
        if len(copy) > left:
            notes.append(f"{name} is very long; what comes after {MOST_OCTETS} octets is not read")
            kept.append(copy[:left].rpartition(",")[0])
            break
        kept.append(copy)
        left -= len(copy)
    return kept


def _addresses(copies: list[str], notes: list[str]) -> list[Address]:
    """Every usable address of some lists."""
    found: list[Address] = []
    for copy in copies:
        try:
            found += parse_mailboxes(copy)
            continue
        except AddressError:
            pass
        for piece in _pieces(copy):
            try:
                found += _of_piece(piece)
            except AddressError as error:
                notes.append(_shown(str(error)))
    usable = []
    for address in found:
        if address.is_null or _UNSAFE.search(address.text):
            notes.append(f"{_shown(address.text)!r} is no address that mail can be sent to")
        else:
            usable.append(address)
    return usable


def _pieces(text: str) -> list[str]:
    """The text cut at commas and semicolons that are not in quotes, comments or angle brackets.

    A quotation mark or bracket without its other half shelters nothing.
    """
    for sheltering in ('"(<', "(<", "<", ""):
        pieces = _cut(text, sheltering)
        if pieces is not None:
            break
    return pieces or []


def _cut(text: str, sheltering: str) -> list[str] | None:
    """None when one of the marks `sheltering` stays open."""
    pieces, start, closing = [], 0, ""
    for match in _MARK.finditer(text):
        mark = match.group()
        if closing:
            closing = "" if mark == closing else closing
        elif mark in sheltering:
            closing = {'"': '"', "(": ")", "<": ">"}[mark]
        elif mark in ",;":
            pieces.append(text[start:match.start()])
            start = match.end()
    return None if closing else [*pieces, text[start:]]


def _of_piece(piece: str) -> list[Address]:
    """One address: read by the rules, or the only one in angle brackets where the name beside it is broken."""
    try:
        return parse_mailboxes(piece)
    except AddressError:
        angles = _ANGLE.findall(piece)
        if len(angles) != 1:
            raise
        return [parse_mailbox(angles[0].strip().encode("utf-8", "surrogateescape"))]


def _settled(addresses: list[Address], name: str, how: Addressing, notes: list[str]) -> Choice:
    """The domain rules, then each address once."""
    kept: dict[str, Address] = {}
    foreign: list[str] = []
    for address in addresses:
        own = fold_domain(address.domain)
        if how.domain is not None:
            wanted = not own or how.only_from is None or own in how.only_from
        else:
            wanted = not own or not how.local or own in how.local
        if wanted:
            address = evolve(address, domain=how.domain or address.domain or how.main or "")
            kept.setdefault(f"{address.local}@{fold_domain(address.domain)}", address)
        else:
            foreign.append(_shown(address.text))
    recipients = tuple(kept.values())
    if len(recipients) > MOST_RECIPIENTS:
        notes.insert(0, f"{len(recipients)} recipients, of whom the first {MOST_RECIPIENTS} count")
    choice = Choice(recipients[:MOST_RECIPIENTS], name) if recipients else _caretaker(how, ONLY_FOREIGN)
    return evolve(choice, foreign=tuple(foreign[:MOST_SHOWN]), notes=tuple(notes[:MOST_SHOWN]))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:100])
