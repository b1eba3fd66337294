"""The end of a claim: Settle, Move and Deposit, gathered over a batch and written with one statement for each table.

Whoever ends a claim names its fence; an older one than the row's is stale and changes nothing.
"""

from __future__ import annotations

from typing import Any

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Deposit, Move, Settle, Verdict
from mailbridge.store.lanes import lane_id, recount
from mailbridge.store.rows import ANSWER, to_json

WAITING, CLAIMED, HELD = 0, 1, 2


def settle(batch: Batch, change: Settle | Move, receipts: list[object]) -> None:
    """Gather it; `settle_all` fills the receipt in."""
    batch.settles.append((receipts, len(receipts), change))
    batch.rows += 1
    receipts.append(False)


def deposit(batch: Batch, change: Deposit, receipts: list[object]) -> None:
    """As settle; StoreConflict when the user is gone."""
    if change.user not in batch.known.users:
        raise StoreConflict(f"user {change.user} was removed")
    batch.settles.append((receipts, len(receipts), change))
    batch.rows += 1
    receipts.append(False)


def settle_all(batch: Batch) -> None:
    """Write what was gathered. What reads deliveries or maildrops in the same batch calls this first."""
    if not batch.settles:
        return
    settles, batch.settles = batch.settles, []
    rows = {row[0]: row for row in batch.column(
        "SELECT json_group_array(json_array(d.id, fence, state, lane, message)) "
        "FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value",
        to_json(list({change.delivery for _, _, change in settles})))}
    done: list[int] = []
    again: list[tuple[Any, ...]] = []
    deposits: list[tuple[int, int, int]] = []
    waiting: dict[int, int] = {}
    deposited: dict[int, tuple[list[object], int, int]] = {}
    for receipts, at, change in settles:
        row = rows.pop(change.delivery, None)  # a second end of the same claim is stale
        if row is None or row[1] != change.fence or not change.fence:
            before = deposited.get(change.delivery)
            if type(change) is Deposit and before is not None and before[0] is receipts and before[1] == change.fence:
                deposits.append((change.user, before[2], change.size))
                receipts[at] = True
            elif row is not None:
                rows[change.delivery] = row
            continue
        id, fence, state, lane, message = row
        receipts[at] = True
        waiting[lane] = waiting.get(lane, 0) - (state == WAITING)
        if type(change) is Deposit:
            done.append(id)
            deposits.append((change.user, message, change.size))
            deposited[id] = receipts, fence, message
        elif type(change) is Settle and change.verdict is Verdict.DONE:
            done.append(id)
            batch.garbage += (message, 0)
        else:
            if type(change) is Move:
                lane = lane_id(batch, change.target, change.destination)
                again.append((id, change.due, 0, lane, 0, ""))
            else:
                again.append((id, change.due, 1, lane, int(change.noticed), change.answer[:ANSWER]))
            waiting[lane] = waiting.get(lane, 0) + (state != HELD)
    if done:
        batch.execute("DELETE FROM delivery WHERE id IN (SELECT value FROM json_each(?))", (to_json(done),))
    if again:
        # The fence moves on, so that the claim that ended cannot be settled twice.
        batch.execute("UPDATE delivery SET state = CASE state WHEN 2 THEN 2 ELSE 0 END, due = s.due, lane = s.lane, "
                      "attempts = attempts + s.attempt, owner = NULL, lease = NULL, fence = fence + 1, "
                      "noticed = delivery.noticed | s.noticed, "
                      "answer = coalesce(nullif(s.answer, ''), delivery.answer) FROM ("
                      "SELECT value ->> 0 AS id, value ->> 1 AS due, value ->> 2 AS attempt, value ->> 3 AS lane, "
                      "value ->> 4 AS noticed, value ->> 5 AS answer FROM json_each(?)) AS s "
                      "WHERE delivery.id = s.id", (to_json(again),))
    _deposit_all(batch, deposits)
    recount(batch, waiting)


def _deposit_all(batch: Batch, deposits: list[tuple[int, int, int]]) -> None:
    """Maildrop rows for those who have not got the message yet, counted in its references."""
    if not deposits:
        return
    more: dict[int, int] = {}
    for (uid,) in batch.execute("INSERT OR IGNORE INTO maildrop SELECT value ->> 0, value ->> 1, value ->> 2 "
                                "FROM json_each(?) WHERE true RETURNING uid", (to_json(deposits),)):
        more[uid] = more.get(uid, 0) + 1
    batch.execute("UPDATE message SET refs = refs + m.count FROM ("
                      "SELECT value ->> 0 AS id, value ->> 1 AS count "
                  "FROM json_each(?)) AS m WHERE message.id = m.id", (to_json(list(more.items())),))
    batch.maildrops.update(user for user, _, _ in deposits)
