"""The reader: a thread with a read-only connection, for reads too long for the reactor. Every read is short slices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import apsw
from twisted.internet.defer import Deferred

from mailbridge.errors import StoreError

Read = Callable[[apsw.Connection], Any]


class Reader:
    """Runs functions of a connection one by one. `deliver(Deferred, result or error)` is called in the thread."""

    def __init__(self, connect: Callable[[], apsw.Connection], deliver: Callable[[Any, Any], None]) -> None:
        self._connect = connect
        self._deliver = deliver
        self._queue: SimpleQueue[tuple[Read, Deferred[Any]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="store-reader", daemon=True)

    def read(self, function: Read) -> Deferred[Any]:
        """What `function(connection)` returns. Fails with StoreError."""
        deferred: Deferred[Any] = Deferred()
        self._queue.put((function, deferred))
        return deferred

    def stop(self) -> None:
        """End the thread after what was asked before."""
        self._queue.put(None)

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while (work := self._queue.get()) is not None:
            function, deferred = work
            result: Any
            try:
                if connection is None:
                    connection = self._connect()
                result = function(connection)
            except Exception as error:
                result = StoreError(f"the store could not be read: {error!r}")
                if connection is not None:
                    connection.close(True)
                    connection = None
            self._deliver(deferred, result)
        if connection is not None:
            connection.close(True)
