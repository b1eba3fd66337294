"""Putting many new files of one folder on stable storage at once.

A handful is synced one by one. From `MANY` on one `syncfs` does for all of them and for the folder, which on Linux
costs a tenth of it. It writes the whole file system, so it is left alone for a minute whenever it has taken long. Where
there is none, or where it would not tell of errors (Linux before 5.8), files are synced one by one.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

from mailbridge.store.sync import sync_data, sync_file

MANY = 6
SLOW = 1.0
"""Seconds after which `syncfs` was held up by what others had written."""
REST = 60.0
_TELLS_ERRORS = (5, 8)


def _system_syncfs() -> Callable[[int], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    release = tuple(int(part) for part in os.uname().release.replace("-", ".").split(".")[:2] if part.isdigit())
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None or release < _TELLS_ERRORS:
        return None

    def syncfs(descriptor: int) -> None:
        if function(ctypes.c_int(descriptor)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


class Syncing:
    """Files that wait to be synced; they are open until then. `syncfs` None: there is none."""

    def __init__(self, syncfs: Callable[[int], None] | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._syncfs = syncfs
        self._now = now
        self._open: list[int] = []
        self._all = False
        self._rests_until = float("-inf")

    @classmethod
    def of_system(cls) -> Syncing:
        """By the best means that this system has."""
        return cls(_system_syncfs())

    def add(self, descriptor: int) -> None:
        """Take over the open descriptor of a new file. Raises OSError."""
        self._open.append(descriptor)
        if len(self._open) < MANY:
            return
        if self._all or (self._syncfs is not None and self._now() >= self._rests_until):
            self._all = True
            self._close()
        else:
            self._sync_open()

    def sync(self, folder: int) -> None:
        """Sync all that was added, and the folder of that descriptor. Raises OSError: then nothing is certain."""
        if self._all and self._syncfs is not None:
            begun = self._now()
            self._syncfs(folder)
            if self._now() - begun > SLOW:
                self._rests_until = self._now() + REST
        else:
            self._sync_open()
            sync_file(folder)

    def forget(self) -> None:
        """Nothing waits any more."""
        self._close()
        self._all = False

    def _sync_open(self) -> None:
        if hasattr(os, "posix_fadvise"):  # begins to write all of them, so that the first sync finds little to do
            for descriptor in self._open:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor in self._open:
            sync_data(descriptor)
        self._close()

    def _close(self) -> None:
        while self._open:
            os.close(self._open.pop())
