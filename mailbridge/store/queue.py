"""Claims: who works on which deliveries, until when.

A claim runs out at its lease and the delivery waits again. How claims end is in `settling`, lanes are in `lanes`.
"""

from __future__ import annotations

import apsw
from attrs import frozen

from mailbridge.store.batch import Batch
from mailbridge.store.changes import Delivery, LaneState
from mailbridge.store.lanes import ListLanes, ListReady, every_lane, ready_lanes, recount
from mailbridge.store.rows import parse_wishes, to_json
from mailbridge.store.settling import settle_all

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


def claim(batch: Batch, change: Claim, receipts: list[object]) -> None:
    """Claim the earliest due deliveries of an open lane; one of a paused lane whose pause is over."""
    _look(batch)
    lane = batch.execute("SELECT state, not_before FROM lane WHERE id = ?", (change.lane,))
    state, not_before = lane[0] if lane else (LaneState.HELD.value, 0.0)
    limit = change.limit
    if state == LaneState.PAUSED.value and not_before:
        limit = min(limit, 1)
    elif state != LaneState.OPEN.value:
        limit = 0
    ids = []
    if limit > 0 and not_before <= batch.now:
        ids = batch.column("SELECT json_group_array(id) FROM (SELECT id FROM delivery INDEXED BY delivery_waiting "
                           "WHERE lane = ? AND state = 0 AND due <= ? ORDER BY due, id LIMIT ?)",
                           change.lane, batch.now, limit)
    if not ids:
        receipts.append(())
        return
    wanted = to_json(ids)
    batch.execute("UPDATE delivery SET state = 1, owner = ?, lease = ?, fence = fence + 1 "
                  "WHERE id IN (SELECT value FROM json_each(?))", (change.owner, batch.now + change.ttl, wanted))
    found = batch.column("SELECT json_group_array(json_array(d.id, message, recipient, lane, attempts, fence, wishes, "
                         "noticed, coalesce(answer, ''), pinned)) "
                         "FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value", wanted)
    recount(batch, {change.lane: -len(ids)})
    batch.rows += len(ids)
    receipts.append(tuple(_delivery(*row) for row in found))


def _delivery(id: int, message: int, recipient: str, lane: int, attempts: int, fence: int, wishes: str | None,
              noticed: int, answer: str, pinned: int) -> Delivery:
    return Delivery(id, message, recipient, lane, attempts, fence, parse_wishes(wishes), bool(noticed), answer,
                    bool(pinned))


def renew(batch: Batch, change: Renew, receipts: list[object]) -> None:
    """Extend the claims that are still the owner's own."""
    _look(batch)
    wanted = to_json([(delivery.id, delivery.fence) for delivery in change.deliveries])
    held = set(batch.column(
        "SELECT json_group_array(d.id) FROM json_each(?) AS w CROSS JOIN delivery AS d ON d.id = w.value ->> 0 "
        "WHERE state = 1 AND owner = ? AND fence = w.value ->> 1", wanted, change.owner))
    batch.execute("UPDATE delivery SET lease = ? WHERE id IN (SELECT value FROM json_each(?))",
                  (batch.now + change.ttl, to_json(sorted(held))))
    receipts.append(tuple(delivery for delivery in change.deliveries if delivery.id in held))


def list_lanes(batch: Batch, change: ListLanes, receipts: list[object]) -> None:
    """Every lane, claims that ran out counted as waiting."""
    _look(batch)
    receipts.append(every_lane(batch))


def list_ready(batch: Batch, change: ListReady, receipts: list[object]) -> None:
    """Lanes to work on, claims that ran out counted as waiting."""
    _look(batch)
    receipts.append(ready_lanes(batch, change.limit))


def recover(connection: apsw.Connection) -> None:
    """At start: what a daemon that died had claimed waits again, and its lanes are counted anew."""
    lanes = to_json([lane for (lane,) in connection.execute(
        "SELECT DISTINCT lane FROM delivery INDEXED BY delivery_claimed WHERE state = 1")])
    connection.execute("UPDATE delivery SET state = 0, owner = NULL, lease = NULL WHERE state = 1")
    connection.execute("UPDATE lane SET waiting = (SELECT count(*) FROM delivery WHERE lane = lane.id AND state = 0), "
                       "due = (SELECT min(due) FROM delivery INDEXED BY delivery_waiting WHERE lane = lane.id "
                       "AND state = 0) WHERE id IN (SELECT value FROM json_each(?))", (lanes,))


def expire(batch: Batch) -> None:
    """Claims that ran out wait again."""
    while True:
        lanes = batch.execute(
            "UPDATE delivery SET state = 0, owner = NULL, lease = NULL WHERE id IN (SELECT id FROM delivery "
            "INDEXED BY delivery_claimed WHERE state = 1 AND lease <= ? LIMIT ?) RETURNING lane",
            (batch.now, EXPIRED_AT_ONCE))
        more: dict[int, int] = {}
        for (lane,) in lanes:
            more[lane] = more.get(lane, 0) + 1
        recount(batch, more)
        if len(lanes) < EXPIRED_AT_ONCE:
            return


def _look(batch: Batch) -> None:
    """Bring the tables to what this batch has seen so far."""
    batch.flush()
    settle_all(batch)
    expire(batch)
