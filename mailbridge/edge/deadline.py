"""One deadline that is moved often: a single delayed call looks at the clock, instead of a new one for each reply."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls `passed()` once the time set last is over. After `stop` nothing is left in the reactor."""

    def __init__(self, clock: IReactorTime, passed: Callable[[], object]) -> None:
        self._clock = clock
        self._passed = passed
        self._at = 0.0
        self._call: IDelayedCall | None = None

    def set(self, seconds: float) -> None:
        """The deadline is in `seconds` from now, whatever it was before."""
        self._at = self._clock.seconds() + seconds
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._look)
        elif self._call.getTime() > self._at:
            self._call.reset(seconds)

    def stop(self) -> None:
        """There is no deadline."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _look(self) -> None:
        self._call = None
        left = self._at - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look)
        else:
            self._passed()
