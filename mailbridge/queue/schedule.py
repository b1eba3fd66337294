"""When a delivery is tried again, when it is given up, when its sender hears of a delay. Numbers in, numbers out.

The wait doubles from the first to the longest, with jitter so that what failed together does not come back together.
Times are seconds since 1970; randomness is an argument between 0 and 1.
"""

from __future__ import annotations

from attrs import frozen

_DOUBLINGS = 40  # more would only make a larger number to cut down
_JITTER = 0.1


@frozen
class Schedule:
    """`retry` to `longest` between attempts; `expire` and `delay_notice` count from when the message came.

    `pause` is how long a route rests after a fault of our own side. All in seconds.
    """

    retry: float = 300.0
    longest: float = 14400.0
    expire: float = 432000.0
    delay_notice: float = 14400.0
    pause: float = 600.0

    def wait(self, failures: int, random: float) -> float:
        """Seconds to the next attempt after so many (1, 2, ...) failed: up to 10 % more or less than the plain wait."""
        plain = min(self.longest, self.retry * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS))
        return plain * (1 - _JITTER + 2 * _JITTER * random)

    def again(self, now: float, received: float, failures: int, random: float) -> float:
        """The time of the next attempt; the last one falls on the end of the message's time, not far behind it."""
        due = now + self.wait(failures, random)
        end = received + self.expire
        return end if now < end < due else due

    def expired(self, now: float, received: float) -> bool:
        """Whether a message is given up after one more failure."""
        return now >= received + self.expire

    def delayed(self, now: float, received: float, noticed: bool) -> bool:
        """Whether the sender should hear now that a message is late."""
        return not noticed and now >= received + self.delay_notice
