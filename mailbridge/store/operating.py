"""What an operator does to deliveries, a slice of ids at a time: hold, release, retry, reroute, remove."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Discard, Hold, Reroute, RetryNow, Unhold
from mailbridge.store.lanes import lane_id, recount
from mailbridge.store.queue import expire
from mailbridge.store.rows import to_json
from mailbridge.store.selecting import condition, lanes_of
from mailbridge.store.settling import settle_all

SLICE = 1000  # deliveries of one transaction
OPERATIONS = (Hold, Unhold, RetryNow, Reroute, Discard)
Operation = Hold | Unhold | RetryNow | Reroute | Discard


@frozen
class Operate:
    """Do `change` to those of the deliveries `ids` that still match its selection. Receipt: to how many."""

    change: Operation
    ids: tuple[int, ...]


def refuse(batch: Batch, change: Operation, receipts: list[object]) -> None:
    """An operator's change beside others: its slices could not be one transaction with them."""
    raise StoreConflict(f"{type(change).__name__} must be a commit of its own")


def operate(batch: Batch, change: Operate, receipts: list[object]) -> None:
    """One slice."""
    batch.flush()
    settle_all(batch)
    expire(batch)
    done = change.change
    where, bindings = condition(done.selection, lanes_of(done.selection, batch.known.lanes))
    states = {Hold: "0", Unhold: "2", RetryNow: "0"}.get(type(done), "0, 2")
    found = batch.column(
        "SELECT json_group_array(json_array(d.id, d.lane, d.state, d.message)) FROM json_each(?) AS w "
        f"CROSS JOIN delivery AS d ON d.id = w.value WHERE d.state IN ({states}) AND {where}",
        to_json(change.ids), *bindings)
    batch.rows += len(found)
    receipts.append(len(found))
    if not found:
        return
    ids = to_json([row[0] for row in found])
    waiting: dict[int, int] = {row[1]: 0 for row in found}
    match done:
        case Hold():
            _update(batch, "state = 2", ids)
            _count(waiting, found, -1)
        case Unhold():
            _update(batch, "state = 0, due = ?", ids, batch.now)
            _count(waiting, found, 1)
        case RetryNow():
            _update(batch, "due = ?", ids, batch.now)
            batch.execute("UPDATE lane SET state = 'open', reason = '', not_before = 0 WHERE state != 'held' "
                          "AND id IN (SELECT value FROM json_each(?))", (to_json(list(waiting)),))
        case Discard():
            batch.execute("DELETE FROM delivery WHERE id IN (SELECT value FROM json_each(?))", (ids,))
            batch.garbage += [value for row in found for value in (row[3], 0)]
            _count(waiting, [row for row in found if row[2] == 0], -1)
        case Reroute(target=target, destination=destination):
            _reroute(batch, found, target, destination, waiting)
    recount(batch, waiting)


def _reroute(batch: Batch, found: list[Any], target: str, destination: str | None, waiting: dict[int, int]) -> None:
    names = {lane: name for (_, name), lane in batch.known.lanes.items()}
    to = {lane: lane_id(batch, target, names[lane] if destination is None else destination) for lane in waiting}
    batch.execute("UPDATE delivery SET lane = n.lane, pinned = 1, due = CASE state WHEN 0 THEN ?2 ELSE due END FROM "
                  "(SELECT value ->> 0 AS id, value ->> 1 AS lane FROM json_each(?1)) AS n WHERE delivery.id = n.id",
                  (to_json([(row[0], to[row[1]]) for row in found]), batch.now))
    rows = [row for row in found if row[2] == 0]
    _count(waiting, rows, -1)
    _count(waiting, [(None, to[row[1]]) for row in rows], 1)


def _update(batch: Batch, what: str, ids: str, *bindings: float) -> None:
    batch.execute(f"UPDATE delivery SET {what} WHERE id IN (SELECT value FROM json_each(?))", (*bindings, ids))


def _count(waiting: dict[int, int], rows: list[Any], by: int) -> None:
    for row in rows:
        waiting[row[1]] = waiting.get(row[1], 0) + by
