"""Users, aliases, counters and remembered values: the small tables."""

from __future__ import annotations

import json
from typing import Any

import apsw

from mailbridge.errors import StoreConflict
from mailbridge.store.batch import Batch, column
from mailbridge.store.changes import (
    AddUser,
    Alias,
    Allocate,
    ChangeUser,
    Credentials,
    People,
    Remember,
    RemoveUser,
    SetAlias,
    User,
)
from mailbridge.store.rows import to_json
from mailbridge.store.settling import settle_all


def add_user(batch: Batch, change: AddUser, receipts: list[object]) -> None:
    """A new user, its name in lower case; StoreConflict when the name is taken."""
    name = change.name.lower()
    if batch.execute("SELECT 1 FROM user WHERE name = ?", (name,)):
        raise StoreConflict(f"there is a user {name} already")
    id = batch.id("user")
    kept = change.credentials
    batch.execute("INSERT INTO user VALUES (?, ?, ?, ?, ?, ?, ?)",
                  (id, name, kept.scrypt, kept.scram, kept.secret, to_json(change.send_as), change.created))
    batch.known.users.add(id)
    batch.touched.add("people")
    receipts.append(id)


def change_user(batch: Batch, change: ChangeUser, receipts: list[object]) -> None:
    """Replace what is given; StoreConflict when there is no such user."""
    if change.user not in batch.known.users:
        raise StoreConflict(f"there is no user {change.user}")
    kept = change.credentials
    if kept is not None:
        batch.execute("UPDATE user SET scrypt = ?, scram = ?, secret = ? WHERE id = ?",
                      (kept.scrypt, kept.scram, kept.secret, change.user))
    if change.send_as is not None:
        batch.execute("UPDATE user SET send_as = ? WHERE id = ?", (to_json(change.send_as), change.user))
    batch.touched.add("people")
    receipts.append(None)


def remove_user(batch: Batch, change: RemoveUser, receipts: list[object]) -> None:
    """The user goes at once; the rows of the maildrop follow in slices, through the purge."""
    if change.user not in batch.known.users:
        raise StoreConflict(f"there is no user {change.user}")
    settle_all(batch)
    batch.flush()  # deposits of the same transaction are counted
    batch.execute("DELETE FROM user WHERE id = ?", (change.user,))
    batch.known.users.discard(change.user)
    unlinked = batch.execute("SELECT count(*) FROM maildrop WHERE user = ?", (change.user,))[0][0]
    if unlinked:
        batch.execute("INSERT INTO leaving VALUES (?)", (change.user,))
        batch.made_garbage = True
    batch.touched.add("people")
    batch.maildrops.add(change.user)
    receipts.append(unlinked)


def set_alias(batch: Batch, change: SetAlias, receipts: list[object]) -> None:
    """Make, replace or remove an alias; its name in lower case."""
    name = change.name.lower()
    before = bool(batch.execute("DELETE FROM alias WHERE name = ? RETURNING 1", (name,)))
    if change.targets:
        batch.execute("INSERT INTO alias VALUES (?, ?)", (name, to_json(change.targets)))
    batch.touched.add("people")
    receipts.append(before)


def allocate(batch: Batch, change: Allocate, receipts: list[object]) -> None:
    """Numbers of a caller's counter."""
    if change.count < 1:
        raise StoreConflict(f"cannot allocate {change.count} numbers")
    rows = batch.execute("INSERT INTO counter VALUES (?, ? + ?) ON CONFLICT (name) DO UPDATE SET next = next + ? "
                         "RETURNING next", ("=" + change.counter, change.start, change.count, change.count))
    receipts.append(rows[0][0] - change.count)


def remember(batch: Batch, change: Remember, receipts: list[object]) -> None:
    """Keep or forget a value; the last word of a transaction counts."""
    batch.remembered[change.key] = change.value
    receipts.append(None)


def people(connection: apsw.Connection) -> People:
    """All users and aliases, in two steps whatever their number."""
    users = column(connection, "SELECT json_group_array(json_array(id, name, scrypt, scram, secret, send_as, created)) "
                               "FROM (SELECT * FROM user ORDER BY id)")
    aliases = column(connection, "SELECT json_group_array(json_array(name, targets)) "
                                 "FROM (SELECT * FROM alias ORDER BY name)")
    return People(
        tuple(User(id, name, Credentials(scrypt, scram, secret), tuple(json.loads(send_as)), created)
              for id, name, scrypt, scram, secret, send_as, created in users),
        tuple(Alias(name, tuple(json.loads(targets))) for name, targets in aliases))


def recall(connection: apsw.Connection, key: str) -> str | None:
    """A remembered value, None if there is none."""
    value: Any = connection.execute("SELECT value FROM remembered WHERE key = ?", (key,)).get
    return None if value is None else str(value)


def counter(connection: apsw.Connection, name: str) -> int | None:
    """The next number of a caller's counter, None if there is none."""
    value: Any = connection.execute("SELECT next FROM counter WHERE name = ?", ("=" + name,)).get
    return None if value is None else int(value)


def remembered(connection: apsw.Connection, prefix: str, after: str, limit: int) -> dict[str, str]:
    """A page of remembered values by key."""
    found: Any = column(connection, "SELECT json_group_array(json_array(key, value)) FROM (SELECT * FROM remembered "
                                    "WHERE key > ?2 AND key >= ?1 AND key < ?1 || char(1114111) ORDER BY key LIMIT ?3)",
                        (prefix, after, limit))
    return dict(found)
