"""One SQL transaction in the making: rows gathered from many commits and written with one statement a table.

SQLite's module gives the GIL up at each step, and a busy reactor thread is slow to give it back (measured: 83 rows a
second one by one, 1,267 in one statement). So rows wait here until `flush`, and what must read or change tables by
itself calls `flush` first. Runs in the writer's thread only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import apsw

from mailbridge.store.rows import to_json

IDS_AT_ONCE = 1000
VARIABLES = 10_000  # bound in one statement; SQLite's own limit is 32,766


class Known:
    """What the writer keeps in memory of the tables: user ids, lanes, ids reserved ahead.

    It is loaded anew after every rollback, but for `ids`, which go back to what they were before the transaction. Ids
    left over at a stop are skipped, never repeated.
    """

    def __init__(self, connection: apsw.Connection, ids: dict[str, tuple[int, int]] | None = None) -> None:
        self.users: set[int] = set(column(connection, "SELECT json_group_array(id) FROM user"))
        self.lanes: dict[tuple[str, str], int] = {
            (target, destination): id for id, target, destination in
            column(connection, "SELECT json_group_array(json_array(id, target, destination)) FROM lane")}
        self.ids = ids or {}


def column(connection: apsw.Connection, sql: str, bindings: Iterable[Any] = ()) -> Any:
    """The value of a statement that answers one JSON text: one step, however many rows it read."""
    import json

    text: Any = connection.execute(sql, tuple(bindings)).get
    return json.loads(text)


@lru_cache(maxsize=512)
def _insert(table: str, columns: int, rows: int) -> str:
    row = "(" + ",".join("?" * columns) + ")"
    return f"INSERT INTO {table} VALUES " + ",".join([row] * rows)


class Batch:
    """The rows of one transaction. `rows` says roughly how much work it holds."""

    def __init__(self, connection: apsw.Connection, known: Known, now: float) -> None:
        self.connection = connection
        self.known = known
        self.now = now
        self.rows = 0
        self.messages: list[Any] = []
        self.deposits: list[Any] = []
        self.deliveries: list[Any] = []
        self.placements: list[Any] = []
        self.garbage: list[Any] = []
        self.keys: dict[str, int] = {}
        self.known_keys: dict[str, int] = {}
        """Keys of this transaction's Accepts that were accepted, by it or before it, with the messages."""
        self.remembered: dict[str, str | None] = {}
        self.live: dict[int, int] = {}
        self.enqueued: dict[int, tuple[int, float]] = {}
        self.settles: list[tuple[list[object], int, Any]] = []
        self.touched: set[str] = set()
        self.maildrops: set[int] = set()
        self.settled_extents: list[object] = []
        self.made_garbage = False

    def id(self, counter: str) -> int:
        """The next id of a counter row."""
        following, end = self.known.ids.get(counter, (0, 0))
        if following == end:
            end = self.execute("UPDATE counter SET next = next + ? WHERE name = ? RETURNING next",
                               (IDS_AT_ONCE, counter))[0][0]
            following = end - IDS_AT_ONCE
        self.known.ids[counter] = following + 1, end
        return following

    def execute(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and fetch all of its rows: a COMMIT beside a half-read RETURNING fails."""
        return self.connection.execute(sql, bindings).fetchall()

    def column(self, sql: str, *bindings: Any) -> Any:
        """See the function `column`."""
        return column(self.connection, sql, bindings)

    def flush(self) -> None:
        """Write what is gathered, one statement a table."""
        self._write("message", 10, self.messages)
        self._write("maildrop", 3, self.deposits)
        self._write("delivery", 14, self.deliveries)
        self._write("placement", 2, self.placements)
        if self.garbage:
            self._write("garbage (message, refs)", 2, self.garbage)
            self.made_garbage = True
        if self.keys:
            self._write("accepted", 2, [value for pair in self.keys.items() for value in pair])
            self.keys.clear()
        if self.remembered:
            self._write_remembered()
        if self.live:
            rows = [value for pair in self.live.items() for value in pair]
            self._write("segment", 2, rows, " ON CONFLICT (id) DO UPDATE SET live = live + excluded.live")
            self.live.clear()
        if self.enqueued:
            self.execute(
                "UPDATE lane SET waiting = waiting + n.count, due = min(coalesce(lane.due, n.due), n.due) FROM (SELECT "
                "value ->> 0 AS id, value ->> 1 AS count, value ->> 2 AS due FROM json_each(?)) AS n "
                "WHERE lane.id = n.id", (to_json([(lane, *more) for lane, more in self.enqueued.items()]),))
            self.enqueued.clear()
            self.touched.add("lanes")

    def _write_remembered(self) -> None:
        forgotten = [key for key, value in self.remembered.items() if value is None]
        if forgotten:
            self.execute("DELETE FROM remembered WHERE key IN (SELECT value FROM json_each(?))", (to_json(forgotten),))
        kept = [part for pair in self.remembered.items() if pair[1] is not None for part in pair]
        self._write("remembered", 2, kept, " ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        self.remembered.clear()

    def _write(self, table: str, columns: int, values: list[Any], tail: str = "") -> None:
        step = VARIABLES // columns * columns
        for start in range(0, len(values), step):
            part = values[start:start + step] if len(values) > step else values
            self.connection.execute(_insert(table, columns, len(part) // columns) + tail, part).fetchall()
        values.clear()
