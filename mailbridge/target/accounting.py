"""The accounting file of an application: one JSON line for each job that is published, for whoever writes the bills.

A line says when, which application, which job, who pays (`account`), whom it went to with the last three digits hidden,
how many parts and octets, and which message it came from; nothing of the text. After a crash a line can come twice:
with the same job id. The file is opened anew when it was moved away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from mailbridge.application.job import Job

HIDDEN = 3
_MODE = 0o640


def masked(recipient: str) -> str:
    """A number or name whose last characters cannot be read."""
    return recipient[:-HIDDEN] + "x" * min(HIDDEN, len(recipient))


def line(job: Job, queue_id: str, now: float) -> str:
    """The line of one job without its end; `now` is seconds since 1970. Everything of strangers is escaped by JSON."""
    return json.dumps({
        "time": datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "application": job.application,
        "job": job.number, "account": job.account, "recipient": masked(job.recipient), "parts": job.parts,
        "octets": sum(len(file.octets) for file in job.files), "queue_id": queue_id,
    })


class Accounting:
    """The file at `path`, which is made when it is not there. Both methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def look(self) -> None:
        """Open the file, or the one that has taken its place."""
        if self._descriptor >= 0:
            try:
                there = os.stat(self.path)
            except FileNotFoundError:
                pass
            else:
                here = os.fstat(self._descriptor)
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return
            self.close()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def write(self, lines: Iterable[str]) -> None:
        """Append lines, whole ones only: what an earlier write could not finish is ended first."""
        octets = "".join(f"{each}\n" for each in lines).encode("utf-8")
        if not octets:
            return
        self.look()
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            octets = b"\n" + octets
        while octets:
            octets = octets[os.write(self._descriptor, octets):]

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
