"""A few threads for work that is too slow for the reactor thread, with a short queue in front of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailbridge.errors import MailbridgeError

THREADS = 2
LONGEST_QUEUE = 64

T = TypeVar("T")


class PoolFull(MailbridgeError):
    """So much waits already that more would only wait in vain."""


class Pool(Protocol):
    """Runs a function elsewhere."""

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """The result of `work()`. Raises PoolFull at once when too much waits."""


class BoundedPool:
    """`threads` threads, started with the first work; at most `queue` pieces of work run or wait.

    `stop()` ends the threads; work that runs is finished, and nothing may be run afterwards.
    """

    def __init__(self, reactor: IReactorFromThreads, threads: int = THREADS, queue: int = LONGEST_QUEUE) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, threads, "passwords")
        self._queue = queue
        self._waiting = 0

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """The result of `work()`, in the reactor thread. Raises PoolFull."""
        if self._waiting >= self._queue:
            raise PoolFull(f"{self._waiting} password checks wait already")
        if not self._threads.started:
            self._threads.start()
        self._waiting += 1
        return deferToThreadPool(self._reactor, self._threads, work).addBoth(self._done)

    def stop(self) -> None:
        """End the threads."""
        if self._threads.started:
            self._threads.stop()

    def _done(self, result: T) -> T:
        self._waiting -= 1
        return result
