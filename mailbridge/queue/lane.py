"""One lane while it is worked on: what was claimed and waits for its turn, what runs, and whether it is in trouble."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, evolve, field

from mailbridge.store.changes import Delivery, Lane, LaneState, SetLane

BATCH = 100  # deliveries of one claim
FIRST = 2
"""Attempts at once in a lane until one of them has reached its destination: dead hosts do not take up all room."""


@define(eq=False)
class LaneWork:
    """The work in a lane. `backlog` are claimed deliveries by message, `running` counts attempts.

    `failures` in a row without reaching the destination; `troubled` until the next success: one delivery at a time is
    tried then; `reached` once an attempt came through. `drained` says that the last claim found no more; `closing` that
    a change of the lane is on its way to the store; `swept` when all of it was last looked through; `fault` is why it
    is paused, once the log was told.
    """

    lane: Lane
    backlog: deque[tuple[int, list[Delivery]]] = field(factory=deque)
    running: int = 0
    failures: int = 0
    troubled: bool = False
    reached: bool = False
    claiming: bool = False
    closing: bool = False
    drained: bool = False
    fault: str = ""
    not_before: float = 0.0
    swept: float = 0.0

    @property
    def probing(self) -> bool:
        """Whether one delivery is to show how it goes."""
        return self.troubled or bool(self.lane.reason) or self.lane.state is LaneState.PAUSED

    @property
    def limit(self) -> int:
        """How many deliveries to claim."""
        return 1 if self.probing else BATCH

    @property
    def idle(self) -> bool:
        """Nothing is going on."""
        return not (self.backlog or self.running or self.claiming or self.closing)

    def may_start(self, concurrency: int) -> bool:
        """Whether an attempt may begin."""
        return bool(self.backlog) and not self.closing and self.running < self._most(concurrency)

    def may_claim(self, concurrency: int) -> bool:
        """Whether more should be claimed."""
        if self.backlog or self.claiming or self.closing or self.drained:
            return False
        return self.running < self._most(concurrency)

    def _most(self, concurrency: int) -> int:
        if self.probing:
            return 1
        return concurrency if self.reached else min(concurrency, FIRST)

    def pause(self, reason: str, not_before: float) -> SetLane:
        """A fault of our own side: nothing more before this time; the change that says so."""
        self.fault = reason
        self._close(not_before)
        return SetLane(self.lane.id, LaneState.PAUSED, reason, not_before)

    def back_off(self, reason: str, now: float, not_before: float) -> SetLane:
        """The destination cannot be reached: all of the lane waits; the change that says so."""
        if not self.troubled:
            self.swept = now
        self.failures += 1
        self.fault = ""
        self._close(not_before)
        return SetLane(self.lane.id, LaneState.OPEN, f"cannot be reached: {reason}", not_before)

    def reopen(self) -> SetLane:
        """It works again; the change that says so."""
        self.troubled, self.failures, self.fault, self.not_before = False, 0, "", 0.0
        self.lane = evolve(self.lane, state=LaneState.OPEN, reason="")
        return SetLane(self.lane.id, LaneState.OPEN)

    def _close(self, not_before: float) -> None:
        self.troubled = self.closing = self.drained = True
        self.reached = False
        self.not_before = not_before

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Claimed deliveries: those of one message are one attempt."""
        groups: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            groups.setdefault(delivery.message, []).append(delivery)
        self.backlog.extend(groups.items())

    def take_all(self) -> list[Delivery]:
        """Empty the backlog."""
        taken = [delivery for _, deliveries in self.backlog for delivery in deliveries]
        self.backlog.clear()
        return taken
