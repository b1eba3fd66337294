"""The last lines of a log, kept in memory for somebody who follows it from another process."""

from __future__ import annotations

from collections import deque

from mailbridge.logs.line import stamp

MOST = 5000


class Recent:
    """A sink that keeps the last 5,000 lines, each with its number from 1 on."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST)
        self._count = 0

    def write(self, seconds: float, letter: str, text: str) -> None:
        """One line."""
        self._lines.append(f"{stamp(seconds)} {letter} {text}")
        self._count += 1

    def after(self, number: int) -> tuple[list[str], int]:
        """The lines behind line `number` that are still there, and the number of the last one."""
        new = max(0, self._count - number)
        return list(self._lines)[-new:] if new else [], self._count
