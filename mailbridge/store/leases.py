"""Leases in memory, for stores of one process: maildrops, fetch accounts. They end with the process, as owners do."""

from __future__ import annotations

from collections.abc import Callable


class Leases:
    """Named leases that run out; `now` gives seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[str, tuple[str, float]] = {}

    def take(self, name: str, owner: str, ttl: float) -> bool:
        """Take or renew; False while another owner holds it."""
        now = self._now()
        held = self._held.get(name)
        if held is not None and held[0] != owner and held[1] > now:
            return False
        self._held[name] = owner, now + ttl
        return True

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is this owner's."""
        held = self._held.get(name)
        if held is not None and held[0] == owner:
            del self._held[name]
