"""Maildrops: unlinking in the writer, snapshots and messages for the readers.

Unlinking moves rows to the garbage and touches no message; the purge frees later.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import apsw

from mailbridge.store import rows
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Message, Snapshot, Unlink
from mailbridge.store.settling import settle_all

SLICE = 2000  # uids of one transaction
SNAPSHOT_SLICE = 50_000
MESSAGES = 64


def unlink(batch: Batch, change: Unlink, receipts: list[object]) -> None:
    """Take entries out of a maildrop; uids that are not there are passed over."""
    settle_all(batch)
    batch.flush()  # an entry of the same transaction can be unlinked
    uids = rows.to_json(change.uids)
    batch.execute("INSERT INTO garbage (message, refs) SELECT uid, 1 FROM maildrop "
                  "WHERE user = ?1 AND uid IN (SELECT value FROM json_each(?2))", (change.user, uids))
    batch.execute("DELETE FROM maildrop WHERE user = ?1 AND uid IN (SELECT value FROM json_each(?2))",
                  (change.user, uids))
    batch.rows += len(change.uids)
    batch.made_garbage = True
    batch.maildrops.add(change.user)
    receipts.append(None)


def unlink_leaving(batch: Batch) -> bool:
    """Unlink a slice of the maildrop of a removed user; False when there is none left."""
    found = batch.execute("SELECT user FROM leaving LIMIT 1")
    if not found:
        return False
    user = found[0][0]
    last = batch.execute("SELECT max(uid) FROM (SELECT uid FROM maildrop WHERE user = ? ORDER BY uid LIMIT ?)",
                         (user, SLICE))[0][0]
    if last is None:
        batch.execute("DELETE FROM leaving WHERE user = ?", (user,))
    else:
        batch.execute("INSERT INTO garbage (message, refs) SELECT uid, 1 FROM maildrop WHERE user = ? AND uid <= ?",
                      (user, last))
        batch.execute("DELETE FROM maildrop WHERE user = ? AND uid <= ?", (user, last))
    return True


def snapshot(connection: apsw.Connection, user: int) -> Snapshot:
    """All entries of a maildrop, read in slices so that no long read holds the write-ahead log."""
    uids: array[int] = array("q")
    sizes: array[int] = array("q")
    if not connection.execute("SELECT 1 FROM user WHERE id = ?", (user,)).get:
        return Snapshot(uids, sizes)
    last: Any = 0
    while last is not None:
        found: Any = connection.execute(
            "SELECT group_concat(uid), group_concat(size), max(uid) FROM "
            "(SELECT uid, size FROM maildrop WHERE user = ? AND uid > ? ORDER BY uid LIMIT ?)",
            (user, last, SNAPSHOT_SLICE)).get
        some_uids, some_sizes, last = found
        if last is not None:
            uids.extend(map(int, some_uids.split(",")))
            sizes.extend(map(int, some_sizes.split(",")))
    return Snapshot(uids, sizes)


@lru_cache(maxsize=MESSAGES)
def _select(count: int) -> str:
    marks = ",".join("?" * count)
    return ("SELECT id, queue_id, sender, origin, received, size, traits, extents, octets FROM message "
            f"WHERE id IN ({marks})")


def messages(connection: apsw.Connection, ids: Sequence[int]) -> dict[int, Message]:
    """The messages of at most 64 ids that exist."""
    if not ids:
        return {}
    if len(ids) > MESSAGES:
        raise ValueError(f"at most {MESSAGES} messages at a time")
    return {row[0]: rows.message(*row) for row in connection.execute(_select(len(ids)), tuple(ids))}
