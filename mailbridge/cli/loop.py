"""The reactor, run for one command and ended with it; apart from `cli.connect`, for commands that start quickly."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run_reactor(reactor: Any, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a reactor of its own. Raises what it raises, KeyboardInterrupt when it was interrupted."""
    outcome: list[T | Failure] = []

    def begin() -> None:
        working = Deferred.fromCoroutine(work())
        working.addBoth(outcome.append)
        working.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
