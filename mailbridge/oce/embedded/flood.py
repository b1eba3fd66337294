"""The flood rule: requests of one host come apart, or the host is told so, and then to stop (reference 2, H19). Pure.

Memory is bounded: of many hosts the one that was quiet longest is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define

from mailbridge.oce.calls import Answer
from mailbridge.oce.embedded.deeds import refusal

LOCKED_SECONDS = 900.0
HOSTS = 10_000


@define
class _Host:
    last: float
    offences: int = 0
    locked: float = 0.0


class Flood:
    """`interval` in seconds, 0 for no rule; after `lock` offences one by one a host is locked out."""

    def __init__(self, interval: float, lock: int, seconds: Callable[[], float]) -> None:
        self._interval = interval
        self._lock = lock
        self._seconds = seconds
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def judge(self, host: str) -> Answer | None:
        """A request came from `host`; the answer when it is not to be served."""
        if not self._interval:
            return None
        now = self._seconds()
        seen = self._hosts.get(host)
        if seen is None:
            self._hosts[host] = _Host(now)
            if len(self._hosts) > HOSTS:
                self._hosts.popitem(last=False)
            return None
        self._hosts.move_to_end(host)
        early = now - seen.last < self._interval
        seen.last = now
        if seen.locked > now:
            return refusal("KILL", "locked out for a time: too many requests")
        if not early:
            seen.offences = 0
            return None
        seen.offences += 1
        if seen.offences < self._lock:
            return refusal("PERM", f"requests must be {self._interval:g} seconds apart")
        seen.locked, seen.offences = now + LOCKED_SECONDS, 0
        return refusal("KILL", "too many requests")
