"""A bridge that is broken on purpose, to show that `kill.py` and `synced.py` notice. The product has no such switch.

    python bench/broken.py early|unlink|wal|segment TWIST-ARGUMENTS

early    250 is said before the commit
unlink   the reply to QUIT is said before the commit, which comes 50 ms later
wal      the data base is used with synchronous=OFF
segment  the files with large content are never synced
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.defer import succeed

from mailbridge.reply import Reply
from mailbridge.routing.intake import Transaction
from mailbridge.store import database
from mailbridge.target.maildrop import Maildrop


def early() -> None:
    """Answer, then commit."""
    finish = Transaction.finish

    def answer_first(self: Transaction) -> Any:
        later = finish(self)
        if isinstance(later, Reply):
            return later
        later.addErrback(lambda _: None)
        return Reply(250, "2.0.0", f"Stored as {self._queue_id}")

    Transaction.finish = answer_first  # type: ignore[method-assign]


def unlink() -> None:
    """Answer, then delete; the delay makes the hole wide enough to be hit each time."""
    delete = Maildrop.delete

    def answer_first(self: Maildrop, indices: Any) -> Any:
        chosen = iter(list(indices))
        self._clock.callLater(0.05, lambda: delete(self, chosen).addErrback(lambda _: None))
        return succeed(None)

    Maildrop.delete = answer_first  # type: ignore[method-assign]


def wal() -> None:
    """No sync in the data base."""
    open_writer = database.open_writer

    def unsafe(*arguments: Any) -> Any:
        connection = open_writer(*arguments)
        connection.pragma("synchronous", 0)
        return connection

    database.open_writer = unsafe


def segment() -> None:
    """No sync of segments: SQLite does its own in C."""
    os.fdatasync = lambda descriptor: None  # type: ignore[assignment]


if __name__ == "__main__":
    {"early": early, "unlink": unlink, "wal": wal, "segment": segment}[sys.argv.pop(1)]()
    runpy.run_module("twisted", run_name="__main__", alter_sys=True)
