"""Opening the data base file: flags, PRAGMAs that are read back, the lock that keeps a second daemon out.

WAL with `synchronous=FULL`: a COMMIT returns after its sync. No mmap: a read error must be an error, not a signal.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from mailbridge.errors import StartError

Connect = Callable[[str, int], apsw.Connection]
"""Opens a file with SQLite's open flags; a seam for tests that inject faults."""

READ_WRITE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
READ_ONLY = apsw.SQLITE_OPEN_READONLY
PAGE_SIZE = 8192  # measured: 26 us of writer CPU for a 2 KiB message, 34 us with 4096
CHECKPOINT_PAGES = 4000  # by the writer, at the end of a commit; a log of 32 MB
CACHE_KIB = 16 * 1024  # the ends of 1,000 busy maildrops


def connect(path: str, flags: int) -> apsw.Connection:
    """A connection as SQLite makes it."""
    return apsw.Connection(path, flags=flags, statementcachesize=256)


def open_writer(path: Path, connect: Connect) -> apsw.Connection:
    """The one read-write connection. Raises StartError when a PRAGMA does not take, apsw.Error otherwise."""
    connection = connect(str(path), READ_WRITE)
    try:
        connection.set_busy_timeout(5000)
        connection.pragma("page_size", PAGE_SIZE)
        wanted: dict[str, object] = {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": CHECKPOINT_PAGES,
                                     "mmap_size": 0, "foreign_keys": 0, "trusted_schema": 0,
                                     "cache_size": -CACHE_KIB}
        if sys.platform == "darwin":
            wanted |= {"fullfsync": 1, "checkpoint_fullfsync": 1}
        for name, value in wanted.items():
            connection.pragma(name, value)
            found = connection.pragma(name)
            if found != value:
                raise StartError(f"does not take PRAGMA {name}={value} (it stays {found}): is it on a network file "
                                 "system? put the state on a local disk")
    except BaseException:
        connection.close(True)
        raise
    return connection


def open_reader(path: Path, connect: Connect) -> apsw.Connection:
    """A read-only connection."""
    connection = connect(str(path), READ_ONLY)
    connection.set_busy_timeout(5000)
    connection.pragma("mmap_size", 0)
    return connection


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Tells what fails while a data base is opened as a StartError: one line, the file, the remedy."""
    try:
        yield
    except StartError as error:
        raise StartError(f"{path}: {error}") from None
    except apsw.NotADBError:
        raise StartError(f"{path}: is not a data base: move it away, or name another file in store.url") from None
    except apsw.FullError:
        raise StartError(f"{path}: the disk is full: make room on it, then start again") from None
    except apsw.CorruptError as error:
        raise StartError(f"{path}: is damaged ({error}): restore it from a backup; "
                         "`mailbridge check --store` says more") from None
    except (OSError, apsw.Error) as error:
        raise StartError(f"{path}: cannot be opened: {error}: this user must be able to read and write it") from None


class Lock:
    """The lock file of a state folder: held by one process, and by none that died."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises StartError that names the process which holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StartError(f"{path.parent}: process {holder} uses this state already: stop it first, or give this "
                             "one a state of its own") from None
        with suppress(OSError):  # the number only helps people; on a full disk there may be no room even for it
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give it back; the file stays."""
        with suppress(OSError):
            os.close(self._descriptor)
