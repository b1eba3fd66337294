"""A bridge that is broken on purpose, to show that `kill.py`, `relaykill.py`, `applications.py kill` and `synced.py`
notice. The product has no such switch.

    python bench/broken.py early|unlink|wal|segment|forget|late|restage TWIST-ARGUMENTS

early    250 is said before the commit
unlink   the reply to QUIT is said before the commit, which comes 50 ms later
wal      the data base is used with synchronous=OFF
segment  the files with large content are never synced
forget   a delivery is settled before it is attempted
late     what became of an attempt is written down a second later
restage  a job that was staged before a crash is made once more
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.defer import Deferred, succeed

from mailbridge.queue.commits import Commits
from mailbridge.queue.runner import Runner
from mailbridge.reply import Reply
from mailbridge.routing.intake import Transaction
from mailbridge.store import database
from mailbridge.store.changes import Settle, Verdict
from mailbridge.target.maildrop import Maildrop
from mailbridge.target.publishing import Publishing


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


def forget() -> None:
    """Settle, then attempt."""
    deliver = Runner._deliver

    async def settle_first(self: Runner, work: Any, id: int, deliveries: Any) -> None:
        await self._commits.commit(*(Settle(each.id, each.fence, Verdict.DONE) for each in deliveries))
        await deliver(self, work, id, deliveries)

    Runner._deliver = settle_first  # type: ignore[method-assign]


def restage() -> None:
    """Look for nothing that an earlier attempt has staged."""
    Publishing._known = lambda self, delivery: None  # type: ignore[method-assign]


def late() -> None:
    """Settle after a second, while the next ones are attempted."""
    settle = Commits.settle

    async def settle_later(self: Commits, ending: Any) -> None:
        self._clock.callLater(1.0, lambda: Deferred.fromCoroutine(settle(self, ending)).addErrback(lambda _: None))

    Commits.settle = settle_later  # type: ignore[method-assign]


FAULTS = {each.__name__: each for each in (early, unlink, wal, segment, forget, late, restage)}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    runpy.run_module("twisted", run_name="__main__", alter_sys=True)
