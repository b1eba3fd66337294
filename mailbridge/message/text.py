"""What a message says: its body as text or HTML, what is attached to it, how urgent it is.

The body is found as mail programs find it: the first part that is text and no attachment, and when it stands in a
multipart/alternative, its other forms. Everything else is an attachment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from mailbridge.message.charsets import codec_of, text_of
from mailbridge.message.flowed import unflowed
from mailbridge.message.head import MESSAGES
from mailbridge.message.html import html_to_text
from mailbridge.message.mime import Entity, parse

MOST_FLOWED = 4 * 1024 * 1024  # characters; longer text keeps its lines

_RTF = re.compile(r"\{\\rtf[12]")
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_URGENCY = {
    "high": "high", "urgent": "high", "1": "high", "2": "high", "highest": "high",
    "normal": "normal", "3": "normal", "medium": "normal",
    "low": "low", "non-urgent": "low", "4": "low", "5": "low", "lowest": "low",
}


def body_text(entity: Entity) -> str:
    """The body as text with newlines: of text/plain, with flowed lines joined; else of HTML; "" when there is none."""
    body = _body(entity)
    text = _plain(body.plain) if body.plain is not None else ""
    if not text.strip() and body.html is not None:
        text = html_to_text(_html(body.html))
    return text


def body_html(entity: Entity) -> str | None:
    """The body as HTML, None when there is none. HTML that is really RTF is an empty document."""
    body = _body(entity)
    return None if body.html is None else _html(body.html)


def attachments(entity: Entity) -> list[Entity]:
    """Every leaf that is no form of the body, in order; an attached message is one."""
    body = _body(entity)
    return [leaf for leaf in body.leaves if leaf not in body.forms]


def attached_message(entity: Entity) -> tuple[Entity, bytes] | None:
    """The first message that is attached, read, also one that was encoded; and its octets. Raises TooIntricate."""
    for part in entity.walk():
        if part.type in MESSAGES:
            octets = part.octets()
            return part.parts[0] if part.parts else parse(octets), octets
    return None


def priority(entity: Entity) -> str:
    """"high", "normal" or "low" as the sender marked it, "" when not: X-Priority, Importance, Priority and kin."""
    for name in (b"x-priority", b"importance", b"priority", b"x-msmail-priority"):
        words = entity.value(name).lower().split(None, 1)
        found = _URGENCY.get(words[0].rstrip("(;,")) if words else None
        if found:
            return found
    return ""


@frozen
class _Leaf:
    """A leaf, and where it stands."""

    entity: Entity
    alternative: Entity | None  # the outermost one that it is in
    branch: int  # which of the forms there
    beside: bool  # belongs to a page of multipart/related, as an image does

    def may_be_body(self, *, named: bool, types: tuple[str, ...]) -> bool:
        entity = self.entity
        return (entity.type.startswith(types) and entity.disposition != "attachment" and not self.beside
                and (named or entity.filename is None))


@frozen
class _Body:
    """The body's leaves, and `forms`: all that are another form of it; `leaves` are those of the message."""

    leaves: list[Entity]
    plain: Entity | None = None
    html: Entity | None = None
    forms: frozenset[Entity] = frozenset()


_SHOWN = ("text/plain", "text/html")
_FIRST_CHOICE = ((False, _SHOWN), (True, _SHOWN), (False, ("text/",)))
"""(whether it may have the name of a file, types), tried in this order."""


def _body(message: Entity) -> _Body:
    leaves = list(_leaves(message))
    entities = [leaf.entity for leaf in leaves]
    for named, types in _FIRST_CHOICE:
        first = next((leaf for leaf in leaves if leaf.may_be_body(named=named, types=types)), None)
        if first is not None:
            break
    else:
        return _Body(entities)
    if first.alternative is None:
        html = first.entity if first.entity.type == "text/html" else None
        return _Body(entities, None if html else first.entity, html, frozenset((first.entity,)))
    forms = [
        leaf for leaf in leaves if leaf.alternative is first.alternative and leaf.entity.type != "text/calendar"
        and leaf.may_be_body(named=named, types=("text/",))
    ]
    plain = next((leaf.entity for leaf in forms if leaf.entity.type != "text/html"), None)
    pages = [leaf for leaf in forms if leaf.entity.type == "text/html"]  # the last form is the best (RFC 2046 5.1.4)
    html = next((leaf.entity for leaf in pages if leaf.branch == pages[-1].branch), None)
    return _Body(entities, plain, html, frozenset(leaf.entity for leaf in forms))


def _leaves(message: Entity) -> Iterator[_Leaf]:
    """The leaves in order; an attached message is one."""
    waiting = [_Leaf(message, None, 0, False)]
    while waiting:
        leaf = waiting.pop()
        entity = leaf.entity
        if not entity.type.startswith("multipart/"):
            if leaf.alternative is not None or not _is_blank(entity):
                yield leaf
            continue
        if not entity.parts and entity.body.strip():  # no boundary, or it never came
            yield leaf
        page = _page(entity) if entity.type == "multipart/related" else None
        outermost = entity.type == "multipart/alternative" and leaf.alternative is None
        waiting.extend(reversed([
            _Leaf(part, entity if outermost else leaf.alternative, number if outermost else leaf.branch,
                  leaf.beside or (page is not None and part is not page))
            for number, part in enumerate(entity.parts)
        ]))


def _is_blank(entity: Entity) -> bool:
    """Whether this is an empty text, as programs put before and between attachments."""
    return entity.type in _SHOWN and entity.filename is None and entity.size < 200 and not entity.octets().strip()


def _page(related: Entity) -> Entity | None:
    """The part that the others belong to: the one that `start` names, else the first (RFC 2387 3.2)."""
    start = related.parameters.get("start", "").strip("<> ")
    named = (part for part in related.parts if start and part.value(b"content-id").strip("<> ") == start)
    return next(named, related.parts[0] if related.parts else None)


def _plain(entity: Entity) -> str:
    text = entity.text()
    if entity.parameters.get("format", "").lower() == "flowed" and len(text) <= MOST_FLOWED:
        return unflowed(text, entity.parameters.get("delsp", "").lower() == "yes")
    return text


def _html(entity: Entity) -> str:
    charset = entity.parameters.get("charset", "")
    octets = entity.octets()
    if not charset and (meta := _META.search(octets[:4096])) is not None:
        charset = meta.group(1).decode("ascii", "replace")
        if (codec_of(charset) or "").startswith(("utf_16", "utf_32")):  # nobody could have read that tag
            charset = "utf-8"
    text = text_of(octets, charset).replace("\r\n", "\n").replace("\r", "\n")
    return "" if _RTF.search(text) else text
