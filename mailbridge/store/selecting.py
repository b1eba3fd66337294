"""Finding the deliveries that an operator means: by an index where one serves, else slice by slice.

A queue id is looked up in an index, a target or destination through its lanes; recipients and senders are searched for
in the rows that are left. Every step is one short read, so that a million rows hold up nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apsw

from mailbridge.store.batch import column
from mailbridge.store.changes import QueueEntry, Selection
from mailbridge.store.rows import to_json

SCAN = 4000  # rows of one step
LANES = 64  # more are not walked one by one
_STATES = ("waiting", "claimed", "held")


def fold(text: str) -> str:
    """`text` for comparing as SQLite's NOCASE does: ASCII letters in lower case."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def lanes_of(selection: Selection, lanes: Mapping[tuple[str, str], int]) -> list[int] | None:
    """The ids of the lanes that are meant, None when all are."""
    if selection.target is None and selection.destination is None:
        return None
    target, destination = selection.target, selection.destination
    return sorted(id for (its_target, its_destination), id in lanes.items()
                  if (target is None or fold(target) == fold(its_target))
                  and (destination is None or fold(destination) == fold(its_destination)))


def condition(selection: Selection, lanes: list[int] | None) -> tuple[str, tuple[Any, ...]]:
    """The selection as an SQL condition on rows of `delivery AS d`, and its bindings."""
    parts, bindings = ["true"], []
    if lanes is not None:
        parts.append("d.lane IN (SELECT value FROM json_each(?))")
        bindings.append(to_json(lanes))
    message = "(SELECT {} FROM message WHERE id = d.message)"
    for text, value in ((selection.recipient, "d.recipient"), (selection.sender, message.format("sender")),
                        (selection.queue_id, message.format("queue_id"))):
        if text is None:
            continue
        if text.startswith("@"):
            value = f"substr({value}, {-len(text)})"
        parts.append(f"{value} = ? COLLATE NOCASE")
        bindings.append(text)
    return " AND ".join(parts), tuple(bindings)


class Search:
    """At most `limit` ids above `after` and up to `until` of deliveries that match, in order: `step` until it is True.

    The ids are in `found` then.
    """

    def __init__(self, selection: Selection, after: int, limit: int, until: int = 1 << 62) -> None:
        self.found: list[int] = []
        self._selection = selection
        self._after = self._from = after
        self._limit = limit
        self._until = until
        self._sources: list[tuple[str, tuple[int, ...]]] | None = None
        self._counted = 0
        self._where: tuple[str, tuple[Any, ...]] = ("true", ())

    def step(self, connection: apsw.Connection) -> bool:
        """Read a slice; whether this was the last."""
        if self._limit < 1:
            return True
        if self._sources is None:
            self._sources = self._begin(connection)
        if self._sources:
            self._read(connection)
        if not self._sources:
            self.found = sorted(self.found)[:self._limit]
        return not self._sources

    def _begin(self, connection: apsw.Connection) -> list[tuple[str, tuple[int, ...]]]:
        known = {(target, destination): id for id, target, destination in column(
            connection, "SELECT json_group_array(json_array(id, target, destination)) FROM lane")}
        lanes = lanes_of(self._selection, known)
        self._where = condition(self._selection, lanes)
        if self._selection.queue_id is not None:
            found = column(connection, "SELECT json_group_array(id) FROM message WHERE queue_id = ? COLLATE NOCASE "
                                       "AND traits >= 4", (self._selection.queue_id,))
            return [("message = ? AND", (id,)) for id in found]
        if lanes is not None and len(lanes) <= LANES:
            return [("lane = ? AND", (lane,)) for lane in lanes]
        return [("", ())]

    def _read(self, connection: apsw.Connection) -> None:
        assert self._sources is not None
        sql, bindings = self._sources[-1]
        where, more = self._where
        found: Any = connection.execute(
            f"SELECT max(id), count(*), json_group_array(id) FILTER (WHERE {where}) FROM (SELECT id, message, "
            f"recipient, lane FROM delivery WHERE {sql} id > ? AND id <= ? ORDER BY id LIMIT ?) AS d",
            (*more, *bindings, self._from, self._until, SCAN)).fetchall()
        last, count, ids = found[0]
        matched = [int(id) for id in ids[1:-1].split(",") if id]
        self.found += matched
        self._counted += len(matched)
        if count < SCAN or self._counted >= self._limit:
            self._sources.pop()
            self._from, self._counted = self._after, 0
        else:
            self._from = last


def entries(connection: apsw.Connection, ids: list[int], now: float) -> tuple[QueueEntry, ...]:
    """The deliveries as an operator sees them; a claim that has run out is shown as waiting."""
    found = column(
        connection,
        "SELECT json_group_array(json_array(d.id, m.id, queue_id, sender, recipient, target, destination, "
        "CASE WHEN d.state = 1 AND d.lease <= ?2 THEN 0 ELSE d.state END, received, max(d.due, l.not_before), "
        "attempts, size, coalesce(answer, ''))) FROM json_each(?1) AS w CROSS JOIN delivery AS d ON d.id = w.value "
        "JOIN message AS m ON m.id = d.message JOIN lane AS l ON l.id = d.lane", (to_json(ids), now))
    return tuple(_entry(*row) for row in found)


def _entry(delivery: int, message: int, queue_id: str, sender: str, recipient: str, target: str, destination: str,
           state: int, *rest: Any) -> QueueEntry:
    return QueueEntry(delivery, message, queue_id, sender, recipient, target, destination, _STATES[state], *rest)
