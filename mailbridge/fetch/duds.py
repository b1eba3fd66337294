"""duds.dat: messages that could be delivered to nobody, appended in mboxrd form and synced before they are deleted.

One at a time, whoever asks; the disk is worked with in a thread. A dud is a whole message or it is not there.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import Deferred, DeferredLock

from mailbridge.queue.quoting import one_line
from mailbridge.store.sync import sync_file, sync_folder

NAME = "duds.dat"
_LINE = 64 * 1024
_FROM = re.compile(rb">*From ")

InThread = Callable[..., Deferred[Any]]
"""Calls a function with arguments in a thread; fires with its result."""


class Duds:
    """The file in `folder`, made when the first dud comes; mode 0600. `seconds()` is the time since 1970."""

    def __init__(self, folder: Path, in_thread: InThread, seconds: Callable[[], float]) -> None:
        self.path = folder / NAME
        self._folder = folder
        self._in_thread = in_thread
        self._seconds = seconds
        self._one = DeferredLock()

    def begin(self) -> DudWriter:
        """A dud is coming. Raises OSError."""
        return DudWriter(self, self._folder)

    def append(self, message: IO[bytes], account: str, reason: str) -> Deferred[None]:
        """Add the message in a file. Fires when it is on stable storage; fails with OSError, and nothing was added."""
        now = self._seconds()
        return self._one.run(self._in_thread, _append, self.path, message, account, reason, now)


class DudWriter:
    """A dud on its way into the file; until `keep` it is in a file without a name."""

    def __init__(self, duds: Duds, folder: Path) -> None:
        self._duds = duds
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def write(self, octets: bytes) -> None:
        """Add octets. Raises OSError."""
        self._file.write(octets)

    async def keep(self, account: str, reason: str) -> None:
        """Append it to the duds. Raises OSError."""
        try:
            await self._duds.append(self._file, account, reason)
        finally:
            self.abort()

    def abort(self) -> None:
        """Forget it; allowed at any time."""
        with suppress(OSError):  # what was buffered no longer matters
            self._file.close()


def _append(path: Path, message: IO[bytes], account: str, reason: str, now: float) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b") as duds:
        message.seek(0)
        end = duds.seek(0, os.SEEK_END)
        try:
            stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(now))
            said = f"{one_line(account, 200)}; {one_line(reason, 500)}"
            duds.write(f"From MAILER-DAEMON {stamp}\nX-POPFetch-Dud: {int(now)}; {said}\n".encode("ascii", "replace"))
            _copy(message, duds)
            duds.flush()
            sync_file(duds.fileno())
        except OSError:
            duds.truncate(end)
            raise
    sync_folder(path.parent)


def _copy(source: IO[bytes], duds: IO[bytes]) -> None:
    """Lines with LF, `>` before those that would begin a message, an empty line at the end."""
    held, fresh = b"", True
    while piece := source.readline(_LINE):
        piece, held = held + piece, b""
        if fresh and _FROM.match(piece):
            duds.write(b">")
        fresh = piece.endswith(b"\n")
        if piece.endswith(b"\r\n"):
            piece = piece[:-2] + b"\n"
        elif piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"
        duds.write(piece)
    duds.write(held + (b"\n" if fresh else b"\n\n"))
