"""Checking a store: what `mailbridge check --store` reports.

Read-only: it can run beside the daemon that uses the store, and on one that is stopped. It reads the whole data base in
one transaction, beside which the log of a busy daemon grows, and no content of segments. Findings are lines for the
operator; an empty list is a sound store.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw

from mailbridge.store import database
from mailbridge.store.rows import parse_extents
from mailbridge.store.schema import APPLICATION_ID, VERSION
from mailbridge.store.segments import stored_segments

SHOWN = 20  # findings of one kind

# Each answers rows that must not exist.
_REFERENCES = {
    "maildrop of user {0} lists message {1}, which does not exist":
        "SELECT user, uid FROM maildrop WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = uid)",
    "maildrop rows of user {0}, who does not exist":
        "SELECT DISTINCT user FROM maildrop WHERE user NOT IN (SELECT id FROM user) "
        "AND user NOT IN (SELECT user FROM leaving)",
    "message {0} counts {1} references and has {2}":  # the garbage has not been taken off yet
        "SELECT m.id, refs, coalesce(d.n, 0) + coalesce(g.n, 0) AS held FROM message AS m "
        "LEFT JOIN (SELECT uid AS id, count(*) AS n FROM maildrop GROUP BY uid) AS d ON d.id = m.id "
        "LEFT JOIN (SELECT message AS id, sum(refs) AS n FROM garbage GROUP BY message) AS g ON g.id = m.id "
        "WHERE refs != held",
    "message {0} is held by nothing and not in the garbage":
        "SELECT id FROM message WHERE refs <= 0 AND id NOT IN (SELECT message FROM garbage) "
        "AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = message.id)",
    "message {0} has {1} octets of content and says {2}":
        "SELECT id, length(octets), size FROM message WHERE extents IS NULL AND length(octets) IS NOT size",
    "delivery {0} is of message {1}, which does not exist":
        "SELECT id, message FROM delivery WHERE message NOT IN (SELECT id FROM message)",
    "delivery {0} has state {1}, which does not exist":
        "SELECT id, state FROM delivery WHERE state NOT IN (0, 1, 2)",
    "message {0} has deliveries and cannot be found by its queue id":
        "SELECT id FROM message WHERE traits < 4 AND EXISTS (SELECT 1 FROM delivery WHERE message = message.id)",
    "delivery {0} waits in lane {1}, which does not exist":
        "SELECT id, lane FROM delivery WHERE lane NOT IN (SELECT id FROM lane)",
    "lane {0} counts {1} waiting and has {2}":
        "SELECT id, waiting, n FROM (SELECT id, waiting, (SELECT count(*) FROM delivery WHERE lane = lane.id "
        "AND state = 0) AS n FROM lane) WHERE waiting != n",
    "lane {0} is due at {1}, its first delivery at {2}":
        "SELECT id, due, n FROM (SELECT id, due, (SELECT min(due) FROM delivery WHERE lane = lane.id "
        "AND state = 0) AS n FROM lane) WHERE due IS NOT n",
    "counter {0} is at {1}, and {2} is in use":
        "SELECT name, next, used FROM counter JOIN (SELECT 'message' AS table_, max(id) AS used FROM message "
        "UNION SELECT 'delivery', max(id) FROM delivery UNION SELECT 'user', max(id) FROM user "
        "UNION SELECT 'lane', max(id) FROM lane) ON name = table_ WHERE used >= next",
}


def check_store(path: Path) -> list[str]:
    """Everything that is wrong with the store whose data base is at `path`; nothing when it is sound."""
    if not path.exists():
        return [f"{path}: there is no such file"]
    try:
        connection = database.open_reader(path, database.connect)
        try:
            if connection.pragma("application_id") != APPLICATION_ID:
                return [f"{path}: is not a mailbridge store"]
            if (version := connection.pragma("user_version")) != VERSION:
                return [f"{path}: has schema version {version}, this mailbridge checks {VERSION}"]
            connection.execute("BEGIN")
            return list(_findings(connection, path.parent / "segments"))
        finally:
            connection.close(True)
    except apsw.Error as error:
        return [f"{path}: cannot be read: {error}"]


def orphan_octets(path: Path) -> int:
    """Octets in segment files that belong to nothing: not freed by the purge yet, or left by a crash. No fault."""
    connection = database.open_reader(path, database.connect)
    try:
        live: dict[int, int] = dict(connection.execute("SELECT id, live FROM segment"))
    finally:
        connection.close(True)
    return sum(max(0, size - live.get(segment, 0)) for segment, size in _stored(path.parent / "segments").items())


def _stored(folder: Path) -> dict[int, int]:
    return stored_segments(folder) if folder.is_dir() else {}


def _findings(connection: apsw.Connection, folder: Path) -> Iterator[str]:
    for (result,) in connection.execute("PRAGMA integrity_check"):
        if result != "ok":
            yield f"data base: {result}"
    for text, sql in _REFERENCES.items():
        rows = connection.execute(sql)
        for number, row in enumerate(rows):
            if number == SHOWN:
                yield f"and more: {text}"
                rows.close(True)
                break
            yield text.format(*row)
    yield from _extents(connection, folder)


def _extents(connection: apsw.Connection, folder: Path) -> Iterator[str]:
    """Every extent inside its file, none over another, live octets and placements as the extents say."""
    spans: dict[int, list[tuple[int, int, int]]] = {}
    for message, size, text in connection.execute("SELECT id, size, extents FROM message WHERE extents IS NOT NULL"):
        try:
            extents = parse_extents(str(text))
        except ValueError:
            yield f"message {message} has extents that cannot be read: {text!r}"
            continue
        if (total := sum(extent.length for extent in extents)) != size:
            yield f"message {message} has {total} octets in segments and says {size}"
        for extent in extents:
            spans.setdefault(extent.segment, []).append((extent.offset, extent.length, int(str(message))))
    stored = _stored(folder)  # after the rows: segments only grow while a daemon runs
    placed: dict[int, set[int]] = {}
    for segment, message in connection.execute("SELECT segment, message FROM placement"):
        placed.setdefault(int(str(segment)), set()).add(int(str(message)))
    live = {int(str(segment)): octets for segment, octets in connection.execute("SELECT id, live FROM segment")}
    for segment, found in sorted(spans.items()):
        name = f"segment {segment:012x}"
        if segment not in stored:
            yield f"{name} is missing; {len(found)} messages had content in it"
        end, before = 0, 0
        for offset, length, message in sorted(found):
            if offset < end and message != before:
                yield f"{name}: messages {before} and {message} overlap at offset {offset}"
            if segment in stored and offset + length > stored[segment]:
                yield f"{name} ends at {stored[segment]}; message {message} reaches to {offset + length}"
            end, before = max(end, offset + length), message
    for segment in sorted(spans.keys() | placed.keys() | live.keys()):
        found = spans.get(segment, [])
        if placed.get(segment, set()) != {message for _, _, message in found}:
            yield f"segment {segment:012x}: the placements differ from the extents"
        if live.get(segment, 0) != (octets := sum(length for _, length, _ in found)):
            yield f"segment {segment:012x} counts {live.get(segment, 0)} live octets and has {octets}"
