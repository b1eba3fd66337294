"""A reactor for synchronous tests of threads: a Clock whose `callFromThread` waits until the test pumps it."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

PATIENCE = 20.0


class Pump(Clock):
    """Give this to a store as its reactor; `wait` for what it returns. Time starts at a believable date."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_763_730_000.0
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        """Called by the threads."""
        self._calls.put((function, arguments))

    def turn(self, timeout: float = PATIENCE) -> bool:
        """Run the next call of a thread; False when there was none for `timeout` seconds."""
        try:
            function, arguments = self._calls.get(timeout=timeout)
        except Empty:
            return False
        function(*arguments)
        return True

    def wait(self, deferred: Deferred[Any]) -> Any:
        """The result of `deferred`; raises its failure."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            if not self.turn():
                raise AssertionError("the deferred did not fire")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def settle(self, seconds: float = 1.0, quiet: float = 0.05) -> None:
        """Let `seconds` of clock pass in steps, running what the threads ask, until nothing more comes."""
        for _ in range(1000):
            self.advance(seconds)
            if not self.turn(quiet):
                return
        raise AssertionError("the threads do not come to rest")
