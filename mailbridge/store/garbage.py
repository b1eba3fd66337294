"""What the purge asks of the writer: free a slice, drop dead segments, find and move what lives in sparse ones.

Each is a change like any other and one short transaction.
"""

from __future__ import annotations

from attrs import frozen

from mailbridge.content import Extent
from mailbridge.store.batch import Batch
from mailbridge.store.maildrops import unlink_leaving
from mailbridge.store.rows import extents_text, parse_extents, to_json


@frozen
class Free:
    """Work off `limit` rows of garbage. Receipt: whether there may be more."""

    limit: int


@frozen
class DropSegments:
    """Forget those of the segments that hold nothing. Receipt: a tuple of them; their files may go."""

    segments: tuple[int, ...]


@frozen
class ListSegments:
    """Receipt: a dict of live octets by segment."""


@frozen
class Residents:
    """At most `limit` messages with content in a segment. Receipt: a tuple of (message id, extents)."""

    segment: int
    limit: int


@frozen
class Relocate:
    """Replace the extents of a message if they are still `before`. Receipt: whether they were."""

    message: int
    before: tuple[Extent, ...]
    after: tuple[Extent, ...]


def free(batch: Batch, change: Free, receipts: list[object]) -> None:
    """Lower references, and delete the messages that nothing holds any more."""
    batch.flush()
    slice_ = batch.column("SELECT json_group_array(json_array(id, message, refs)) FROM "
                          "(SELECT id, message, refs FROM garbage ORDER BY id LIMIT ?)", change.limit)
    if not slice_:
        receipts.append(unlink_leaving(batch))
        return
    lower: dict[int, int] = {}
    for _, message, refs in slice_:
        lower[message] = lower.get(message, 0) + refs
    found = batch.column(
        "SELECT json_group_array(json_array(m.id, refs, extents, "
        "EXISTS (SELECT 1 FROM delivery WHERE message = m.id))) "
        "FROM json_each(?) AS w CROSS JOIN message AS m ON m.id = w.value",
        to_json(list(lower)))
    dead: list[int] = []
    fewer: list[tuple[int, int]] = []
    for message, refs, extents, queued in found:
        if refs <= lower[message] and not queued:
            dead.append(message)
            _take_out(batch, message, parse_extents(extents))
        elif lower[message]:
            fewer.append((message, lower[message]))
    if dead:
        batch.execute("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", (to_json(dead),))
    if fewer:
        batch.execute("UPDATE message SET refs = refs - l.count FROM (SELECT value ->> 0 AS id, value ->> 1 AS count "
                      "FROM json_each(?)) AS l WHERE message.id = l.id", (to_json(fewer),))
    batch.execute("DELETE FROM garbage WHERE id IN (SELECT value FROM json_each(?))",
                  (to_json([id for id, _, _ in slice_]),))
    receipts.append(True)


def _take_out(batch: Batch, message: int, extents: tuple[Extent, ...]) -> None:
    for extent in extents:
        batch.live[extent.segment] = batch.live.get(extent.segment, 0) - extent.length
    if extents:
        batch.execute("DELETE FROM placement WHERE message = ?1 AND segment IN (SELECT value FROM json_each(?2))",
                      (message, to_json(sorted({extent.segment for extent in extents}))))


def drop_segments(batch: Batch, change: DropSegments, receipts: list[object]) -> None:
    """Only segments without a placement go, whatever their row counts."""
    batch.flush()
    named = to_json(change.segments)
    used = set(batch.column("SELECT json_group_array(value) FROM json_each(?) AS w WHERE EXISTS "
                            "(SELECT 1 FROM placement WHERE segment = w.value)", named))
    dead = tuple(segment for segment in change.segments if segment not in used)
    batch.execute("DELETE FROM segment WHERE id IN (SELECT value FROM json_each(?))", (to_json(dead),))
    receipts.append(dead)


def list_segments(batch: Batch, change: ListSegments, receipts: list[object]) -> None:
    """Live octets of every segment that has a row."""
    batch.flush()
    receipts.append(dict(batch.column("SELECT json_group_array(json_array(id, live)) FROM segment")))


def residents(batch: Batch, change: Residents, receipts: list[object]) -> None:
    """The messages to move out of a segment."""
    batch.flush()
    receipts.append(tuple((message, parse_extents(extents)) for message, extents in batch.column(
        "SELECT json_group_array(json_array(m.id, extents)) FROM (SELECT message FROM placement WHERE segment = ? "
        "LIMIT ?) AS p CROSS JOIN message AS m ON m.id = p.message", change.segment, change.limit)))


def relocate(batch: Batch, change: Relocate, receipts: list[object]) -> None:
    """Conditional: a message that was freed meanwhile stays freed."""
    batch.flush()
    moved = bool(batch.execute("UPDATE message SET extents = ? WHERE id = ? AND extents = ? RETURNING 1",
                               (extents_text(change.after), change.message, extents_text(change.before))))
    if moved:
        _take_out(batch, change.message, change.before)
        for extent in change.after:
            batch.live[extent.segment] = batch.live.get(extent.segment, 0) + extent.length
        for segment in {extent.segment for extent in change.after}:
            batch.placements += (segment, change.message)
        batch.settled_extents.append(change.after)
    receipts.append(moved)
