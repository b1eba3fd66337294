"""Room on the disk: when new mail is refused, and the reserve that lets the rest go on when nothing is left.

`min_free` octets stay free for unlinking, checkpoints and the system. If other programs fill even those, a ballast file
kept beside the data base is given up, so that deleting and purging go on; it is laid again when there is room.
Safe in any thread: a stale answer costs one message more or less.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHECK_SECONDS = 1.0


def statvfs_free(folder: Path) -> int:
    """Octets that this user may still write on the file system of `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Room:
    """Watches the free room of a state folder; `now` are seconds, `free` the seam for tests."""

    def __init__(self, folder: Path, min_free: int, reserve: int, now: Callable[[], float],
                 free: Callable[[Path], int] = statvfs_free) -> None:
        self._folder = folder
        self._min_free = min_free
        self._reserve = reserve
        self._ballast = folder / "ballast"
        self._now = now
        self._free = free
        self._checked = float("-inf")
        self._short = 0

    def free(self) -> int:
        """Room left, asked now."""
        return self._free(self._folder)

    def short(self) -> int:
        """Octets missing to `min_free`, 0 when all is well; asks the system at most once a second.

        While some are missing new mail is refused, unless free pages inside the data base make up for them.
        """
        now = self._now()
        if now - self._checked >= CHECK_SECONDS or now < self._checked:
            self._checked = now
            free = self.free()
            self._short = max(0, self._min_free - free)
            if free >= self._min_free + self._reserve:
                self.lay_ballast()
        return self._short

    def lay_ballast(self) -> None:
        """Take the reserve, if there is room for it."""
        with suppress(OSError):
            if self._ballast.stat().st_size == self._reserve:
                return
        if not self._reserve:
            return
        try:
            descriptor = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, self._reserve)
                else:
                    os.write(descriptor, bytes(self._reserve))
            finally:
                os.close(descriptor)
        except OSError:
            self.drop_ballast()

    def drop_ballast(self) -> bool:
        """Give the reserve up; False when it was gone already."""
        try:
            os.unlink(self._ballast)
        except OSError:
            return False
        return True
