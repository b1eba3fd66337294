"""The queue's tables: lanes, claims with a fence, settling.

A lane is a row of its own that knows how many deliveries wait in it and when the next is due, so that nothing ever
groups the whole delivery table. A claim runs out at its lease and the delivery waits again; whoever settles names the
fence of the claim, and an older fence than the row's is stale.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw
from attrs import frozen

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Delivery, Lane, LaneState, SetLane, Settle, Verdict
from mailbridge.store.rows import to_json

WAITING, CLAIMED = 0, 1
EXPIRED_AT_ONCE = 1000


@frozen
class Claim:
    """Take due deliveries of a lane. Receipt: a tuple of Delivery."""

    owner: str
    lane: int
    limit: int
    ttl: float


@frozen
class Renew:
    """Extend claims. Receipt: a tuple of those still held."""

    owner: str
    deliveries: tuple[Delivery, ...]
    ttl: float


@frozen
class ListLanes:
    """Receipt: a tuple of every Lane."""


def claim(batch: Batch, change: Claim, receipts: list[object]) -> None:
    """Claim the earliest due deliveries of an open lane."""
    batch.flush()
    settle_all(batch)
    _expire(batch)
    lane = batch.execute("SELECT state, not_before FROM lane WHERE id = ?", (change.lane,))
    if not lane or lane[0][0] != LaneState.OPEN.value or lane[0][1] > batch.now or change.limit < 1:
        receipts.append(())
        return
    ids = batch.column("SELECT json_group_array(id) FROM (SELECT id FROM delivery WHERE lane = ? AND state = 0 "
                       "AND due <= ? ORDER BY due, id LIMIT ?)", change.lane, batch.now, change.limit)
    if not ids:
        receipts.append(())
        return
    wanted = to_json(ids)
    batch.execute("UPDATE delivery SET state = 1, owner = ?, lease = ?, fence = fence + 1 "
                  "WHERE id IN (SELECT value FROM json_each(?))", (change.owner, batch.now + change.ttl, wanted))
    found = batch.column("SELECT json_group_array(json_array(d.id, message, recipient, lane, attempts, fence)) "
                         "FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value", wanted)
    _recount(batch, {change.lane: -len(ids)})
    batch.rows += len(ids)
    receipts.append(tuple(Delivery(*row) for row in found))


def renew(batch: Batch, change: Renew, receipts: list[object]) -> None:
    """Extend the claims that are still the owner's own."""
    batch.flush()
    settle_all(batch)
    _expire(batch)
    wanted = to_json([(delivery.id, delivery.fence) for delivery in change.deliveries])
    held = set(batch.column(
        "SELECT json_group_array(d.id) FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value ->> 0 "
        "WHERE state = 1 AND owner = ? AND fence = w.value ->> 1", wanted, change.owner))
    batch.execute("UPDATE delivery SET lease = ? WHERE id IN (SELECT value FROM json_each(?))",
                  (batch.now + change.ttl, to_json(sorted(held))))
    receipts.append(tuple(delivery for delivery in change.deliveries if delivery.id in held))


def settle(batch: Batch, change: Settle, receipts: list[object]) -> None:
    """Gather it; `settle_all` fills the receipt in."""
    batch.settles.append((receipts, len(receipts), change))
    batch.rows += 1
    receipts.append(False)


def settle_all(batch: Batch) -> None:
    """Write the gathered Settles: at most one statement for each table."""
    if not batch.settles:
        return
    settles, batch.settles = batch.settles, []
    rows = {row[0]: row for row in batch.column(
        "SELECT json_group_array(json_array(d.id, fence, state, lane, message)) "
        "FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value",
        to_json(list({change.delivery for _, _, change in settles})))}
    done: list[int] = []
    again: list[tuple[int, float]] = []
    recount: dict[int, int] = {}
    for receipts, at, change in settles:
        row = rows.get(change.delivery)
        if row is None or row[1] != change.fence or not change.fence:
            continue
        del rows[change.delivery]  # a second Settle of the same claim is stale
        id, _, state, lane, message = row
        receipts[at] = True
        recount.setdefault(lane, 0)
        if change.verdict is Verdict.DONE:
            done.append(id)
            batch.garbage += (message, 0)
            recount[lane] -= state == WAITING
        else:
            again.append((id, change.due))
            recount[lane] += state == CLAIMED
    if done:
        batch.execute("DELETE FROM delivery WHERE id IN (SELECT value FROM json_each(?))", (to_json(done),))
    if again:
        # The fence moves on, so that the claim that ended cannot be settled twice.
        batch.execute("UPDATE delivery SET state = 0, due = s.due, attempts = attempts + 1, owner = NULL, "
                      "lease = NULL, fence = fence + 1 FROM (SELECT value ->> 0 AS id, value ->> 1 AS due "
                      "FROM json_each(?)) AS s "
                      "WHERE delivery.id = s.id", (to_json(again),))
    _recount(batch, recount)


def set_lane(batch: Batch, change: SetLane, receipts: list[object]) -> None:
    """Change the state of a lane; StoreConflict when there is none."""
    if not batch.execute("UPDATE lane SET state = ?, reason = ?, not_before = ? WHERE id = ? RETURNING 1",
                         (change.state.value, change.reason, change.not_before, change.lane)):
        raise StoreConflict(f"there is no lane {change.lane}")
    batch.touched.add("lanes")
    receipts.append(None)


def list_lanes(batch: Batch, change: ListLanes, receipts: list[object]) -> None:
    """Every lane, claims that ran out counted as waiting."""
    batch.flush()
    settle_all(batch)
    _expire(batch)
    receipts.append(tuple(
        Lane(id, target, destination, LaneState(state), reason, not_before, due, waiting)
        for id, target, destination, state, reason, not_before, due, waiting in batch.column(
            "SELECT json_group_array(json_array(id, target, destination, state, reason, not_before, due, waiting)) "
            "FROM (SELECT * FROM lane ORDER BY id)")))


def recover(connection: apsw.Connection) -> None:
    """At start: what a daemon that died had claimed waits again, and its lanes are counted anew."""
    lanes = to_json([lane for (lane,) in connection.execute("SELECT DISTINCT lane FROM delivery WHERE state = 1")])
    connection.execute("UPDATE delivery SET state = 0, owner = NULL, lease = NULL WHERE state = 1")
    connection.execute("UPDATE lane SET waiting = (SELECT count(*) FROM delivery WHERE lane = lane.id AND state = 0), "
                       "due = (SELECT min(due) FROM delivery WHERE lane = lane.id AND state = 0) "
                       "WHERE id IN (SELECT value FROM json_each(?))", (lanes,))


def _expire(batch: Batch) -> None:
    while True:
        lanes = batch.execute(
            "UPDATE delivery SET state = 0, owner = NULL, lease = NULL WHERE id IN (SELECT id FROM delivery "
            "WHERE state = 1 AND lease <= ? LIMIT ?) RETURNING lane", (batch.now, EXPIRED_AT_ONCE))
        recount: dict[int, int] = {}
        for (lane,) in lanes:
            recount[lane] = recount.get(lane, 0) + 1
        _recount(batch, recount)
        if len(lanes) < EXPIRED_AT_ONCE:
            return


def _recount(batch: Batch, more: dict[int, int]) -> None:
    """Add to what lanes count as waiting, and look up their next due time in the index."""
    if more:
        batch.execute("UPDATE lane SET waiting = waiting + n.count, due = (SELECT min(due) FROM delivery "
                      "WHERE lane = lane.id AND state = 0) FROM (SELECT value ->> 0 AS id, value ->> 1 AS count "
                      "FROM json_each(?)) AS n WHERE lane.id = n.id", (to_json(_pairs(more.items())),))
        batch.touched.add("lanes")


def _pairs(items: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(lane, int(count)) for lane, count in items]
