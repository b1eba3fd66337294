"""A few threads for work that is too slow for the reactor thread, shared fairly between those who wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailbridge.accounts.turns import LONGEST, OF_ONE_CLIENT, Turns
from mailbridge.errors import MailbridgeError

THREADS = 2

T = TypeVar("T")


class PoolFull(MailbridgeError):
    """So much waits already that more would only wait in vain."""


class Pool(Protocol):
    """Runs a function elsewhere."""

    def run(self, work: Callable[[], T], client: str, name: bytes = b"") -> Deferred[T]:
        """The result of `work()`, which is done for `client`, a network or `turns.OPERATOR`, about the user `name`.

        Fails with PoolFull when too much waits, at once or when others came who had less.
        """


@frozen(eq=False)
class _Piece:
    work: Callable[[], Any]
    done: Deferred[Any]


class BoundedPool:
    """`threads` threads, started with the first work; beside what they do at most `queue` pieces wait, see `Turns`.

    `stop()` ends the threads; work that runs is finished, what waits fails with PoolFull, and nothing may be run
    afterwards.
    """

    def __init__(self, reactor: IReactorFromThreads, threads: int = THREADS, queue: int = LONGEST,
                 of_one_client: int = OF_ONE_CLIENT) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, threads, "passwords")
        self._idle = threads
        self._turns: Turns[_Piece] = Turns(queue, of_one_client)

    def run(self, work: Callable[[], T], client: str, name: bytes = b"") -> Deferred[T]:
        """The result of `work()`, in the reactor thread. Fails with PoolFull."""
        done: Deferred[T] = Deferred()
        piece = _Piece(work, done)
        if self._idle:
            self._start(piece)
        else:
            lost = self._turns.put(piece, client, name)
            if lost is not None:
                lost.done.errback(_full())
        return done

    def stop(self) -> None:
        """End the threads."""
        while (piece := self._turns.take()) is not None:
            piece.done.errback(_full())
        if self._threads.started:
            self._threads.stop()

    def _start(self, piece: _Piece) -> None:
        if not self._threads.started:
            self._threads.start()
        self._idle -= 1
        deferToThreadPool(self._reactor, self._threads, piece.work).addBoth(self._done, piece)

    def _done(self, result: Any, piece: _Piece) -> None:
        self._idle += 1
        following = self._turns.take()
        if following is not None:
            self._start(following)
        piece.done.callback(result)


def _full() -> PoolFull:
    return PoolFull("too many password checks wait already")
