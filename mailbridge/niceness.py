"""What the priorities of the historic receiver, which are Windows' own, mean here."""

from __future__ import annotations

_NICE = {0: 0, -1: 5, -2: 10, -15: 19}


def nice_of(priority: int) -> int:
    """The nice value for a worker of `thread_priority` normal, lower, low or idle. Raises ValueError for others."""
    try:
        return _NICE[priority]
    except KeyError:
        raise ValueError(f"must be one of {', '.join(map(str, _NICE))}, got {priority}") from None
