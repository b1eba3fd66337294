"""What the store in memory holds: dictionaries that are copied before each commit."""

from __future__ import annotations

import copy

from attrs import define, field

from mailbridge.store.changes import Alias, Delivery, Lane, Message, User


@define
class Waiting:
    """A delivery in the queue; `lease` is the end of its claim, None while it waits or is held."""

    delivery: Delivery
    due: float
    owner: str = ""
    lease: float | None = None
    held: bool = False


@define
class State:
    """All of it, copied before a commit and put back when one of its changes fails."""

    messages: dict[int, Message] = field(factory=dict)
    maildrops: dict[int, dict[int, int]] = field(factory=dict)
    queue: dict[int, Waiting] = field(factory=dict)
    lanes: dict[int, Lane] = field(factory=dict)
    users: dict[int, User] = field(factory=dict)
    aliases: dict[str, Alias] = field(factory=dict)
    keys: dict[str, int] = field(factory=dict)
    counters: dict[str, int] = field(factory=dict)
    remembered: dict[str, str] = field(factory=dict)
    deposited: tuple[int, int, int] | None = None
    """The delivery, fence and message of the Deposit that was the last to end a claim in this commit."""

    def copy(self) -> State:
        """A copy deep enough to go on from."""
        state = copy.copy(self)
        for name in self.__slots__:
            if isinstance(getattr(self, name, None), dict):
                setattr(state, name, dict(getattr(self, name)))
        state.maildrops = {user: dict(entries) for user, entries in self.maildrops.items()}
        state.queue = {id: copy.copy(waiting) for id, waiting in self.queue.items()}
        state.deposited = None
        return state

    def number(self, counter: str, count: int = 1, start: int = 1) -> int:
        """The first of `count` numbers that were never given out."""
        first = self.counters.get(counter, start)
        self.counters[counter] = first + count
        return first
