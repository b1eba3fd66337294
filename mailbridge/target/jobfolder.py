"""The folder that a reader polls: jobs are written beside what lies there, synced, and made known by a rename.

Promises: data files before the control file; a control file has its final name only after everything of its job was
synced and `publish` was called; no file of another is opened, overwritten or followed; what fails leaves nothing of its
job behind. All calls block and belong to one thread. What a crash left is known by its name alone: see `sweep`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from mailbridge.application.job import Job
from mailbridge.target.syncing import Syncing

WRITING = ".writing"
_MODE = 0o640
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS = r"_(?P<number>[0-9]{10,19})(?:_[0-9]+)?\.[A-Za-z0-9_-]{1,16}"


class TakenError(Exception):
    """A name of the job is there already, though its number was never given out before."""


def writing_name(control: str) -> str:
    """The name of a control file that is not published."""
    return os.path.splitext(control)[0] + WRITING


class JobFolder:
    """The folder `path`. Every method raises OSError; those that write leave nothing behind then."""

    def __init__(self, path: Path, syncing: Syncing | None = None) -> None:
        self.path = path
        self._syncing = syncing or Syncing.of_system()
        self._descriptor = -1
        self._changed = False

    @property
    def identity(self) -> int:
        """The inode of the folder: another folder at the same path has another (a disk that is not mounted)."""
        return os.fstat(self._descriptor).st_ino

    def look(self) -> None:
        """Open the folder, or the one that has taken its place."""
        there = os.stat(self.path)
        if self._descriptor >= 0:
            here = os.fstat(self._descriptor)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return
            self.close()
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the folder back."""
        self._syncing.forget()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, job: Job) -> None:
        """Write the files of a job, the control file as `.writing`. Raises TakenError too. `sync` makes it durable."""
        if not job.files and self._is_there(job.control.name):  # with data files, those are there as well
            raise TakenError(job.control.name)
        made: list[str] = []
        try:
            for file in job.files:
                self._create(file.name, file.octets, made)
            self._create(writing_name(job.control.name), job.control.octets, made)
        except FileExistsError as error:
            self.remove(made)
            raise TakenError(error.filename) from None
        except BaseException:
            self.remove(made)
            raise
        self._changed = True

    def _create(self, name: str, octets: bytes, made: list[str]) -> None:
        if os.path.basename(name) != name:
            raise ValueError(f"a job names a file outside of its folder: {name!r}")
        descriptor = os.open(name, _NEW, _MODE, dir_fd=self._descriptor)
        made.append(name)
        try:
            rest = memoryview(octets)
            while rest:
                rest = rest[os.write(descriptor, rest):]
        except BaseException:
            os.close(descriptor)
            raise
        self._syncing.add(descriptor)

    def remove(self, names: Iterable[str]) -> None:
        """Take files away, as far as that can be done: what stays is an orphan that `sweep` finds."""
        for name in names:
            try:
                os.unlink(name, dir_fd=self._descriptor)
            except OSError:
                continue
            self._changed = True

    def sync(self) -> None:
        """Everything that was written and renamed since the last time is on stable storage after this."""
        if not self._changed:
            return
        try:
            self._syncing.sync(self._descriptor)
        finally:
            self._syncing.forget()
        self._changed = False

    # --- publishing ---------------------------------------------------------------------------------------------------

    def publish(self, control: str) -> bool:
        """Rename the `.writing` of `control`; False when it is not there: it was published before.

        Raises TakenError when another file has the name.
        """
        if self._is_there(control):
            if not self._is_there(writing_name(control)):
                return False
            raise TakenError(control)
        try:
            os.rename(writing_name(control), control, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        self._changed = True
        return True

    def lying(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that are there."""
        return [name for name in names if self._is_there(name)]

    def _is_there(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    # --- after a crash ------------------------------------------------------------------------------------------------

    def sweep(self, application: str, suffix: str, below: int, kept: Container[int]) -> list[str]:
        """Remove jobs of `application` that a crash left unfinished; the names that were removed.

        Those have a `.writing`, no control file (with `suffix`), and a number that is `below` the next and not `kept`.
        Data files without a `.writing` stay: a reader may have them in work.
        """
        ours = re.compile(re.escape(application) + _OURS)
        jobs: dict[int, list[str]] = {}
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                found = ours.fullmatch(entry.name)
                if found is not None and int(found["number"]) < below and int(found["number"]) not in kept:
                    jobs.setdefault(int(found["number"]), []).append(entry.name)
        removed = []
        for names in jobs.values():
            unfinished = [name for name in names if name.endswith(WRITING)]
            if unfinished and unfinished[0].removesuffix(WRITING) + suffix not in names:
                removed += names
        self.remove(removed)
        self.sync()
        return removed
