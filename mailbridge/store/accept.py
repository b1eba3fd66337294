"""Accept: a message and all that hangs on it become rows of the batch; and its keys, which are forgotten some day."""

from __future__ import annotations

from collections.abc import Iterable

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Accept, Accepted, ForgetKeys
from mailbridge.store.lanes import lane_id
from mailbridge.store.rows import EIGHT_BIT, NEWLINE, QUEUED, extents_text, origin_text, to_json, wishes_text


def accept(batch: Batch, change: Accept, receipts: list[object]) -> None:
    """Gather the rows; StoreConflict when a user of the deposits is gone."""
    key = change.key
    if key is not None:
        first = batch.known_keys.get(key)
        if first is not None:
            receipts.append(Accepted(first, repeated=True))
            return
    deposits = change.deposits
    if len(deposits) > 1:
        deposits = tuple(dict.fromkeys(deposits))
    users = batch.known.users
    for user in deposits:
        if user not in users:
            raise StoreConflict(f"user {user} was removed")
    envelope = change.envelope
    content = envelope.content
    size = content.size
    id = batch.id("message")
    extents = None
    if content.octets is None:
        extents = extents_text(content.extents)
        for extent in content.extents:
            batch.live[extent.segment] = batch.live.get(extent.segment, 0) + extent.length
        for segment in {extent.segment for extent in content.extents}:
            batch.placements += (segment, id)
        batch.settled_extents.append(content.extents)
    traits = content.ends_in_newline * NEWLINE + content.eight_bit * EIGHT_BIT + bool(change.deliveries) * QUEUED
    batch.messages += (id, envelope.queue_id, envelope.sender.text, origin_text(envelope), envelope.origin.time, size,
                       traits, len(deposits), extents, content.octets)
    for user in deposits:
        batch.deposits += (user, id, change.maildrop_size or size)
        batch.maildrops.add(user)
    for queued in change.deliveries:
        lane = lane_id(batch, queued.target, queued.destination)
        batch.deliveries += (batch.id("delivery"), id, queued.recipient, lane, 0, queued.due, 0, None, 0, None,
                             wishes_text(queued.wishes), 0, 0, None)
        count, due = batch.enqueued.get(lane, (0, queued.due))
        batch.enqueued[lane] = count + 1, min(due, queued.due)
    if not deposits and not change.deliveries:
        batch.garbage += (id, 0)
    if key is not None:
        batch.keys[key] = batch.known_keys[key] = id
    batch.rows += 1 + len(deposits) + len(change.deliveries)
    receipts.append(Accepted(id))


def look_up_keys(batch: Batch, changes: Iterable[object]) -> None:
    """Find, in one statement, which keys of these changes are known: before the first of them is applied."""
    keys = [change.key for change in changes if type(change) is Accept and change.key is not None]
    if keys:
        batch.known_keys.update(batch.column(
            "SELECT json_group_array(json_array(a.key, a.message)) FROM json_each(?) AS w "
            "CROSS JOIN accepted AS a ON a.key = w.value", to_json(keys)))


def forget_keys(batch: Batch, change: ForgetKeys, receipts: list[object]) -> None:
    """One slice of keys; those of this batch are new and stay."""
    last = batch.execute("SELECT max(key) FROM (SELECT key FROM accepted WHERE key > ?2 AND key >= ?1 "
                         "AND key < ?1 || char(1114111) ORDER BY key LIMIT ?3)",
                         (change.prefix, change.after, change.limit))[0][0]
    if last is not None:
        batch.execute("DELETE FROM accepted WHERE key > ?2 AND key >= ?1 AND key <= ?3 AND message < ?4",
                      (change.prefix, change.after, last, change.before))
    batch.rows += change.limit
    receipts.append(last or "")
