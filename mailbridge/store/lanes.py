"""Lanes as rows: what waits in each and when the next is due, so that nothing ever groups the whole delivery table."""

from __future__ import annotations

from attrs import frozen

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch
from mailbridge.store.changes import Lane, LaneState, SetLane
from mailbridge.store.rows import to_json

_COLUMNS = "json_array(id, target, destination, state, reason, not_before, due, waiting)"
# As the index lane_ready has it: when a lane that may be worked on is ready.
_READY = "due IS NOT NULL AND (state = 'open' OR (state = 'paused' AND not_before > 0))"
_WHEN = "max(due, not_before)"


@frozen
class ListLanes:
    """Receipt: a tuple of every Lane."""


@frozen
class ListReady:
    """Receipt: see IStore.ready."""

    limit: int


def lane_id(batch: Batch, target: str, destination: str) -> int:
    """The lane of a target and a destination, made if there is none."""
    lane = batch.known.lanes.get((target, destination))
    if lane is None:
        lane = batch.id("lane")
        batch.execute("INSERT INTO lane VALUES (?, ?, ?, ?, '', 0, NULL, 0)",
                      (lane, target, destination, LaneState.OPEN.value))
        batch.known.lanes[target, destination] = lane
    return lane


def recount(batch: Batch, more: dict[int, int]) -> None:
    """Add to what lanes count as waiting, and look up their next due time in the index."""
    if more:
        batch.execute("UPDATE lane SET waiting = waiting + n.count, due = (SELECT min(due) FROM delivery "
                      "INDEXED BY delivery_waiting WHERE lane = lane.id AND state = 0) "
                      "FROM (SELECT value ->> 0 AS id, value ->> 1 AS count "
                      "FROM json_each(?)) AS n WHERE lane.id = n.id", (to_json(list(more.items())),))
        batch.touched.add("lanes")


def set_lane(batch: Batch, change: SetLane, receipts: list[object]) -> None:
    """Change the state of a lane; StoreConflict when there is none."""
    if not batch.execute("UPDATE lane SET state = ?, reason = ?, not_before = ? WHERE id = ? RETURNING 1",
                         (change.state.value, change.reason, change.not_before, change.lane)):
        raise StoreConflict(f"there is no lane {change.lane}")
    batch.touched.add("lanes")
    receipts.append(None)


def every_lane(batch: Batch) -> tuple[Lane, ...]:
    """All lanes, by id."""
    return tuple(map(_lane, batch.column(f"SELECT json_group_array({_COLUMNS}) FROM (SELECT * FROM lane ORDER BY id)")))


def ready_lanes(batch: Batch, limit: int) -> tuple[tuple[Lane, ...], float | None]:
    """See IStore.ready."""
    found = batch.column(f"SELECT json_group_array({_COLUMNS}) FROM (SELECT * FROM lane WHERE {_READY} "
                         f"AND {_WHEN} <= ? ORDER BY {_WHEN}, id LIMIT ?)", batch.now, limit)
    following = batch.execute(f"SELECT min({_WHEN}) FROM lane WHERE {_READY} AND {_WHEN} > ?", (batch.now,))
    return tuple(map(_lane, found)), following[0][0]


def _lane(row: tuple[int, str, str, str, str, float, float | None, int]) -> Lane:
    id, target, destination, state, reason, not_before, due, waiting = row
    return Lane(id, target, destination, LaneState(state), reason, not_before, due, waiting)
