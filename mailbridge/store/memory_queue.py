"""The queue of the store in memory: claims, their ends, lanes, and what an operator does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from mailbridge.errors import StoreConflict
from mailbridge.store import changes
from mailbridge.store.changes import Delivery, Lane, LaneState, QueueEntry, Selection, Verdict
from mailbridge.store.memory_state import State, Waiting
from mailbridge.store.operating import OPERATIONS as OPERATIONS
from mailbridge.store.operating import Operation
from mailbridge.store.rows import ANSWER
from mailbridge.store.selecting import fold


def lane_id(state: State, target: str, destination: str) -> int:
    """The lane of a target and a destination, made if there is none."""
    for lane in state.lanes.values():
        if (lane.target, lane.destination) == (target, destination):
            return lane.id
    id = state.number("lane")
    state.lanes[id] = Lane(id, target, destination, LaneState.OPEN, "", 0.0, None, 0)
    return id


def apply(state: State, change: changes.Settle | changes.Move | changes.Deposit | changes.SetLane,
          touched: set[str]) -> object:
    """End a claim or set a lane; the receipt."""
    touched.add("lanes")
    if isinstance(change, changes.SetLane):
        if change.lane not in state.lanes:
            raise StoreConflict(f"there is no lane {change.lane}")
        state.lanes[change.lane] = evolve(state.lanes[change.lane], state=change.state, reason=change.reason,
                                          not_before=change.not_before)
        return None
    if isinstance(change, changes.Deposit):
        return _deposit(state, change, touched)
    waiting = _claimed(state, change.delivery, change.fence)
    if waiting is None:
        return False
    delivery = evolve(waiting.delivery, fence=waiting.delivery.fence + 1)
    if isinstance(change, changes.Move):
        delivery = evolve(delivery, lane=lane_id(state, change.target, change.destination))
    elif change.verdict is Verdict.DONE:
        del state.queue[change.delivery]
        return True
    else:
        delivery = evolve(delivery, attempts=delivery.attempts + 1, noticed=delivery.noticed or change.noticed,
                          answer=change.answer[:ANSWER] or delivery.answer)
    state.queue[change.delivery] = Waiting(delivery, change.due, held=waiting.held)
    return True


def _claimed(state: State, delivery: int, fence: int) -> Waiting | None:
    waiting = state.queue.get(delivery)
    return waiting if waiting is not None and fence and waiting.delivery.fence == fence else None


def _deposit(state: State, change: changes.Deposit, touched: set[str]) -> bool:
    if change.user not in state.users:
        raise StoreConflict(f"user {change.user} was removed")
    waiting = _claimed(state, change.delivery, change.fence)
    if waiting is not None:
        state.deposited = change.delivery, change.fence, waiting.delivery.message
        del state.queue[change.delivery]
    elif state.deposited is None or state.deposited[:2] != (change.delivery, change.fence):
        return False
    assert state.deposited is not None
    state.maildrops.setdefault(change.user, {}).setdefault(state.deposited[2], change.size)
    touched.add(f"maildrop:{change.user}")
    return True


def claim(state: State, now: float, owner: str, lane: int, limit: int, ttl: float) -> tuple[Delivery, ...]:
    """See IStore."""
    _expire(state, now)
    found = state.lanes.get(lane)
    if found is None or found.not_before > now or found.state is LaneState.HELD:
        return ()
    if found.state is LaneState.PAUSED:
        limit = min(limit, 1) if found.not_before else 0
    due = sorted((waiting.due, id) for id, waiting in state.queue.items()
                 if waiting.delivery.lane == lane and _waits(waiting) and waiting.due <= now)
    claimed = []
    for _, id in due[:max(limit, 0)]:
        waiting = state.queue[id]
        waiting.delivery = evolve(waiting.delivery, fence=waiting.delivery.fence + 1)
        waiting.owner, waiting.lease = owner, now + ttl
        claimed.append(waiting.delivery)
    return tuple(claimed)


def renew(state: State, now: float, owner: str, deliveries: Sequence[Delivery], ttl: float) -> tuple[Delivery, ...]:
    """See IStore."""
    _expire(state, now)
    held = []
    for delivery in deliveries:
        waiting = state.queue.get(delivery.id)
        if (waiting is not None and waiting.lease is not None and waiting.owner == owner
                and waiting.delivery.fence == delivery.fence):
            waiting.lease = now + ttl
            held.append(delivery)
    return tuple(held)


def lanes(state: State, now: float) -> tuple[Lane, ...]:
    """See IStore."""
    _expire(state, now)
    dues: dict[int, list[float]] = {}
    for waiting in state.queue.values():
        if _waits(waiting):
            dues.setdefault(waiting.delivery.lane, []).append(waiting.due)
    return tuple(evolve(lane, due=min(dues.get(lane.id, ()), default=None), waiting=len(dues.get(lane.id, ())))
                 for lane in state.lanes.values())


def ready(state: State, now: float, limit: int) -> tuple[tuple[Lane, ...], float | None]:
    """See IStore."""
    times = sorted((max(lane.due, lane.not_before), lane.id, lane) for lane in lanes(state, now)
                   if lane.due is not None and (lane.state is LaneState.OPEN
                                                or (lane.state is LaneState.PAUSED and lane.not_before > 0)))
    found = [lane for when, _, lane in times if when <= now][:limit]
    return tuple(found), min((when for when, _, _ in times if when > now), default=None)


def page(state: State, now: float, selection: Selection, after: int, limit: int) -> tuple[QueueEntry, ...]:
    """See IStore."""
    _expire(state, now)
    return tuple(_selected(state, selection, after))[:max(limit, 0)]


def _selected(state: State, selection: Selection, after: int = 0) -> Iterator[QueueEntry]:
    for id, waiting in sorted(state.queue.items()):
        delivery, message = waiting.delivery, state.messages[waiting.delivery.message]
        lane = state.lanes[delivery.lane]
        word = "held" if waiting.held else "waiting" if waiting.lease is None else "claimed"
        if (id > after and _meant(selection.queue_id, message.queue_id)
                and _meant(selection.recipient, delivery.recipient) and _meant(selection.sender, message.sender)
                and _meant(selection.target, lane.target) and _meant(selection.destination, lane.destination)):
            yield QueueEntry(id, message.id, message.queue_id, message.sender, delivery.recipient, lane.target,
                             lane.destination, word, message.received, max(waiting.due, lane.not_before),
                             delivery.attempts, message.content.size, delivery.answer)


def _meant(wanted: str | None, found: str) -> bool:
    if wanted is None:
        return True
    return fold(found).endswith(fold(wanted)) if wanted.startswith("@") else fold(found) == fold(wanted)


def operate(state: State, now: float, change: Operation, touched: set[str]) -> int:
    """Do what an operator asks; to how many deliveries."""
    _expire(state, now)
    wanted = {changes.Hold: ("waiting",), changes.Unhold: ("held",), changes.RetryNow: ("waiting",)}.get(
        type(change), ("waiting", "held"))
    found = [entry for entry in _selected(state, change.selection) if entry.state in wanted]
    for entry in found:
        waiting = state.queue[entry.delivery]
        match change:
            case changes.Hold():
                waiting.held = True
            case changes.Unhold():
                waiting.held, waiting.due = False, now
            case changes.RetryNow():
                waiting.due = now
                lane = state.lanes[waiting.delivery.lane]
                if lane.state is not LaneState.HELD:
                    state.lanes[lane.id] = evolve(lane, state=LaneState.OPEN, reason="", not_before=0.0)
            case changes.Discard():
                del state.queue[entry.delivery]
            case changes.Reroute(target=target, destination=destination):
                to = lane_id(state, target, entry.destination if destination is None else destination)
                waiting.delivery = evolve(waiting.delivery, lane=to, pinned=True)
                if not waiting.held:
                    waiting.due = now
    if found:
        touched.add("lanes")
    return len(found)


def _waits(waiting: Waiting) -> bool:
    return waiting.lease is None and not waiting.held


def _expire(state: State, now: float) -> None:
    for waiting in state.queue.values():
        if waiting.lease is not None and waiting.lease <= now:
            waiting.lease, waiting.owner = None, ""
