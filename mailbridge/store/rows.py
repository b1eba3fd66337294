"""How values are written in rows: extents, origins, tuples of names. Pure; used by all modules that touch tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from mailbridge.content import Content, Extent
from mailbridge.envelope import Envelope
from mailbridge.store.changes import NO_WISHES, Message, Wishes

NEWLINE, EIGHT_BIT, QUEUED = 1, 2, 4  # traits of a message
ANSWER = 500  # characters that are kept of an answer

to_json = json.JSONEncoder(separators=(",", ":")).encode


def extents_text(extents: Iterable[Extent]) -> str:
    """`segment:offset:length,...`"""
    return ",".join(f"{extent.segment}:{extent.offset}:{extent.length}" for extent in extents)


def parse_extents(text: str | None) -> tuple[Extent, ...]:
    """The extents of `extents_text`; none for NULL. Raises ValueError."""
    if not text:
        return ()
    extents = []
    for run in text.split(","):
        segment, offset, length = run.split(":")
        extents.append(Extent(int(segment), int(offset), int(length)))
    return tuple(extents)


@lru_cache(maxsize=512)  # a session sends many messages with one origin
def _origin(listener: str, peer: str, helo: str, user: str | None, tls: str | None, protocol: str, trusted: bool,
            body_8bit: bool, utf8: bool) -> str:
    return to_json({"listener": listener, "peer": peer, "helo": helo, "user": user, "tls": tls, "protocol": protocol,
                    "trusted": trusted, "body_8bit": body_8bit, "utf8": utf8})


def origin_text(envelope: Envelope) -> str:
    """The origin of a message as JSON, without its time; with what MAIL declared, which `Message.declared` reads."""
    o = envelope.origin
    text = _origin(o.listener, o.peer, o.helo, o.user, o.tls, o.protocol, o.trusted, envelope.body_8bit, envelope.utf8)
    if envelope.ret is None and envelope.envid is None:
        return text
    return f'{text[:-1]},{to_json({"ret": envelope.ret, "envid": envelope.envid})[1:]}'


def message(id: int, queue_id: str, sender: str, origin: str, received: float, size: int, traits: int,
            extents: str | None, octets: bytes | None) -> Message:
    """A row of the message table as a record."""
    content = Content(size, octets if extents is None else None, parse_extents(extents), bool(traits & NEWLINE),
                      bool(traits & EIGHT_BIT))
    return Message(id, queue_id, sender, origin, received, content)


def wishes_text(wishes: Wishes) -> str | None:
    """Wishes as JSON, None when there are none."""
    if not wishes.notify and wishes.original is None:
        return None
    return to_json([wishes.notify, wishes.original])


def parse_wishes(text: str | None) -> Wishes:
    """What `wishes_text` wrote."""
    if text is None:
        return NO_WISHES
    notify, original = json.loads(text)
    return Wishes(tuple(notify), original)
