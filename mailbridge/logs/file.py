"""A log file: lines gathered and written once a second, under a name that may change with the date.

It can be written to from any thread. A file that cannot be opened at the start is a StartError; what fails later (a
full disk, a removed folder) loses lines, says so once in the process's own log and in the file when it works again, and
never hurts anybody else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from time import localtime, strftime

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StartError
from mailbridge.logs.line import stamp

FLUSH_SECONDS = 1.0
MOST_GATHERED = 64 * 1024
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking: it may be a FIFO
_MODE = 0o640


def dated(path: Path) -> Callable[[float], Path]:
    """A name function: the local date of an event before the extension, `smtp_261121.log`."""
    return lambda seconds: path.with_name(f"{path.stem}_{strftime('%y%m%d', localtime(seconds))}{path.suffix}")


def always(path: Path) -> Callable[[float], Path]:
    """A name function: the same name every day, for who rotates files himself and calls `reopen`."""
    return lambda _seconds: path


class LogFile:
    """`name(seconds)` is the file for events of that time; `place` is the setting, for the StartError."""

    _log = Logger()

    def __init__(self, name: Callable[[float], Path], clock: IReactorTime, place: str) -> None:
        self._name = name
        self._clock = clock
        self._place = place
        self._lock = RLock()
        self._second = -1
        self._stamp = ""
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._lost = 0
        self._torn = False
        self._tick: IDelayedCall | None = None

    def open(self) -> None:
        """Open today's file. Raises StartError."""
        path = self._name(self._clock.seconds())
        try:
            self._descriptor = os.open(path, _FLAGS, _MODE)
        except OSError as error:
            raise StartError(f"{self._place}: cannot write {path}: {error.strerror or error}") from None
        self._path = path
        self._tick = self._clock.callLater(FLUSH_SECONDS, self._every_second)

    def write(self, seconds: float, letter: str, text: str) -> None:
        """One line; `text` is clean."""
        with self._lock:
            second = int(seconds)
            if second != self._second:
                self._begin_second(second)
            octets = f"{self._stamp} {letter} {text}\n".encode()
            self._lines.append(octets)
            self._size += len(octets)
            if letter == "E" or self._size > MOST_GATHERED:
                self.flush()

    def _begin_second(self, second: int) -> None:
        path = self._name(second)
        if path != self._path:
            self.reopen()
            self._path = path
        self._second = second
        self._stamp = stamp(second)

    def flush(self) -> None:
        """Write what is gathered."""
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            if lines:
                self._write_out(lines)

    def _write_out(self, lines: list[bytes]) -> None:
        waiting = memoryview(b"".join((*self._notice(), *lines)))
        try:
            if self._descriptor is None:
                assert self._path is not None
                self._descriptor = os.open(self._path, _FLAGS, _MODE)
            while waiting:
                written = os.write(self._descriptor, waiting)
                self._torn = waiting[written - 1] != ord("\n")
                waiting = waiting[written:]
        except OSError as error:
            if not self._lost:
                self._log.error(
                    "{place}: {path} cannot be written, lines are lost: {reason}", place=self._place,
                    path=str(self._path), reason=error.strerror or str(error),
                )
            self._lost += len(lines)
        else:
            self._lost = 0

    def _notice(self) -> list[bytes]:
        """What goes before the lines after some were lost."""
        end = [b"\n"] if self._torn else []
        return [*end, f"{self._stamp} E up to {self._lost} lines were lost here\n".encode()] if self._lost else end

    def reopen(self) -> None:
        """Write what is gathered and open the file anew at the next line: somebody has moved it away (SIGHUP)."""
        with self._lock:
            self.flush()
            descriptor, self._descriptor = self._descriptor, None
            self._torn = False
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Write what is gathered and close the file."""
        tick, self._tick = self._tick, None
        if tick is not None and tick.active():
            tick.cancel()
        self.reopen()

    def _every_second(self) -> None:
        self._tick = self._clock.callLater(FLUSH_SECONDS, self._every_second)
        self.flush()
