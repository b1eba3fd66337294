"""Random octets taken from the system in bulk: queue ids need ten a message, and a system call for each would show."""

from __future__ import annotations

from collections.abc import Callable

_BLOCK = 4096


class BulkRandom:
    """Called with a number of octets (at most 64) it returns as many; `source(n)` is `os.urandom`. One thread only."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._block = b""
        self._used = 0

    def __call__(self, size: int) -> bytes:
        start = self._used
        end = start + size
        if end > len(self._block):
            self._block = self._source(_BLOCK)
            start, end = 0, size
        self._used = end
        return self._block[start:end]
