"""The tables of the SQLite store, their version, and the way from one version to the next.

The version is SQLite's `user_version`; `application_id` marks the file as ours. Migrations go forward only, one
transaction each. Nothing here knows where the file is.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import apsw

from mailbridge.errors import StartError

APPLICATION_ID = 0x4D427267
VERSION = 1

# What a crash leaves in these rows, and what the next start does with it, is the state table of INTERNALS.rst.
TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Numbers that are never used twice: `next` is the first that is free. Names of callers begin with `=`.
CREATE TABLE counter (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- `refs` counts maildrop rows, deliveries count themselves. Content is in `octets`, or in `extents`, which is a text of
-- segment:offset:length,... `traits` adds 1 for content that ends in CR LF, 2 for octets above 127, 4 for a message
-- that was accepted with deliveries: only those can be looked for by queue id, so that others pay for no index.
CREATE TABLE message (
    id INTEGER PRIMARY KEY, queue_id TEXT NOT NULL, sender TEXT NOT NULL, origin TEXT NOT NULL, received REAL NOT NULL,
    size INTEGER NOT NULL, traits INTEGER NOT NULL, refs INTEGER NOT NULL, extents TEXT, octets BLOB
) STRICT;
CREATE INDEX message_queued ON message (queue_id COLLATE NOCASE) WHERE traits >= 4;
CREATE TABLE placement (
    segment INTEGER NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (segment, message)
) STRICT, WITHOUT ROWID;
CREATE TABLE segment (id INTEGER PRIMARY KEY, live INTEGER NOT NULL) STRICT;
-- The uid is the id of the message.
CREATE TABLE maildrop (
    user INTEGER NOT NULL, uid INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (user, uid)
) STRICT, WITHOUT ROWID;
-- Work for the purge: `refs` to take off a message, which goes when nothing holds it; maildrops of removed users.
CREATE TABLE garbage (id INTEGER PRIMARY KEY, message INTEGER NOT NULL, refs INTEGER NOT NULL) STRICT;
CREATE TABLE leaving (user INTEGER PRIMARY KEY) STRICT;
-- state 0 waits, 1 is claimed until `lease`, 2 is held by an operator. `wishes` are JSON, NULL for none; `noticed` and
-- `pinned` are 0 or 1; `answer` is the last word of the next system.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY, message INTEGER NOT NULL, recipient TEXT NOT NULL, lane INTEGER NOT NULL,
    state INTEGER NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL, owner TEXT, fence INTEGER NOT NULL,
    lease REAL, wishes TEXT, noticed INTEGER NOT NULL, pinned INTEGER NOT NULL, answer TEXT
) STRICT;
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_lane ON delivery (lane);
CREATE INDEX delivery_waiting ON delivery (lane, due, id) WHERE state = 0;
CREATE INDEX delivery_claimed ON delivery (lease) WHERE state = 1;
CREATE TABLE lane (
    id INTEGER PRIMARY KEY, target TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    not_before REAL NOT NULL, due REAL, waiting INTEGER NOT NULL, UNIQUE (target, destination)
) STRICT;
CREATE INDEX lane_ready ON lane (max(due, not_before))
    WHERE due IS NOT NULL AND (state = 'open' OR (state = 'paused' AND not_before > 0));
CREATE TABLE user (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, scrypt TEXT NOT NULL, scram TEXT NOT NULL, secret TEXT,
    send_as TEXT NOT NULL, created REAL NOT NULL
) STRICT;
CREATE TABLE alias (name TEXT PRIMARY KEY, targets TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Keys of idempotent Accepts; they outlive the message.
CREATE TABLE accepted (key TEXT PRIMARY KEY, message INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE remembered (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('message', 1), ('delivery', 1), ('lane', 1), ('user', 1), ('start', 1);
"""

# The statements that lead from a version to the one after it.
MIGRATIONS: Mapping[int, str] = {}


def prepare(connection: apsw.Connection, migrations: Mapping[int, str] = MIGRATIONS, version: int = VERSION) -> None:
    """Make the tables in an empty data base, or bring an older one to `version`. Raises StartError."""
    found = connection.pragma("user_version")
    application = connection.pragma("application_id")
    if found == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
        epoch = secrets.token_hex(8)
        with connection:
            connection.execute(TABLES)
            connection.execute("INSERT INTO about VALUES ('epoch', ?)", (epoch,))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
        return
    if application != APPLICATION_ID:
        raise StartError("is a data base of another program; name a new file in store.url")
    if found > version:
        raise StartError(f"has schema version {found}, made by a newer mailbridge (this one knows {version}): upgrade "
                         "mailbridge, or restore a backup made before the newer one ran")
    for step in range(found, version):
        if step not in migrations:
            raise StartError(f"has schema version {found}, which this mailbridge can no longer read: "
                             "start a mailbridge of an age between once, then this one")
        with connection:
            connection.execute(migrations[step])
            connection.execute(f"PRAGMA user_version = {step + 1}")
