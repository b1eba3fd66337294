"""Room on the disk: when new mail is refused, and the reserve that lets the rest go on when nothing is left.

`min_free` octets stay free for unlinking, checkpoints and the system. If other programs fill even those, a ballast file
kept beside the data base is given up, so that deleting and purging go on; it is laid again when there is room. Where
there is not room for all of the reserve the ballast is a part of what is free.
Safe in any thread: two that ask at once cost one message more or less.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mailbridge.limits import KIB, MIB

CHECK_SECONDS = 1.0
RESERVE = 8 * MIB
SMALL_RESERVE = 256 * KIB
"""What a small ballast has if that is at most half of what is free: deletes of whole maildrops fit into it."""
LEAST_RESERVE = 16 * KIB  # less would not hold a single commit


def statvfs_free(folder: Path) -> int:
    """Octets that this user may still write on the file system of `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def warning(folder: Path, min_free: int, reserve: int = RESERVE) -> str | None:
    """One line when the file system of `folder`, which need not be there yet, has hardly room for mail."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        free = statvfs_free(folder) + _size(folder / "ballast")
    except OSError:
        return None  # who opens the store says what is wrong
    if free >= min_free + reserve:
        return None
    return (f"{folder}: only {free / MIB:.1f} MiB are free on its file system: new mail is refused below "
            f"{min_free / MIB:.1f} MiB (store.min_free), and {reserve / MIB:.0f} MiB more are wanted as a reserve for "
            "deleting on a full disk; make room, or put state on a larger one")


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


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
        self._left = 0
        self._given_up = 0

    def free(self) -> int:
        """Room left, asked now."""
        return self._free(self._folder)

    def short(self, octets: int = 0) -> int:
        """Octets that would be missing to `min_free` after `octets` of mail were written, 0 when all is well.

        While some are missing new mail is refused, unless free pages inside the data base make up for them. What is
        asked for is taken to be written, so min_free holds between two looks at the disk: one a second, and one
        whenever it seems to be reached.
        """
        now = self._now()
        if now - self._checked >= CHECK_SECONDS or now < self._checked:
            self._checked = now
            free = self.free()
            self._left = free - self._min_free - self._lay_ballast(free)
        elif octets and self._left < octets:
            self._left = self.free() - self._min_free
        missing = max(0, octets - self._left)
        if not missing:
            self._left -= octets
        return missing

    def _lay_ballast(self, free: int) -> int:
        """Take the reserve or, if there is no room for all of it and no ballast, a part; the octets that it took."""
        laid = _size(self._ballast)
        if free >= self._min_free + self._reserve:
            size = self._reserve
        elif laid:
            return 0
        else:
            size = min(self._reserve, self._affordable(free))
            if size < max(LEAST_RESERVE, self._given_up):  # what was given up a moment ago is needed where it went
                return 0
        return size - laid if laid < size and self._write_ballast(size) else 0

    def _affordable(self, free: int) -> int:
        """What a small ballast may take of `free` octets: where mail still comes, hardly more than is to spare."""
        part = free // 4
        if free >= self._min_free:
            part = min(part, free - self._min_free)
        return max(part, min(SMALL_RESERVE, free // 2))

    def _write_ballast(self, size: int) -> bool:
        try:
            descriptor = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, size)
                else:
                    os.pwrite(descriptor, bytes(size), 0)
            finally:
                os.close(descriptor)
        except OSError:
            self.drop_ballast()
            return False
        self._given_up = 0
        return True

    def drop_ballast(self) -> bool:
        """Give the reserve up; False when it was gone already."""
        size = _size(self._ballast)
        try:
            os.unlink(self._ballast)
        except OSError:
            return False
        self._given_up = size
        return True
