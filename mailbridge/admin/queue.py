"""Commands on the queue: looking at what waits, and moving it. Each change is one commit of the store.

The store tells whoever watches its lanes, so the queue follows at once. No answer holds more than a page: a queue of a
million deliveries is read with a million / `LONGEST_PAGE` questions.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from attrs import asdict, fields_dict

from mailbridge.admin import names
from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError, usage
from mailbridge.admin.plain import plain
from mailbridge.interfaces import IStore
from mailbridge.message.header import end_of_header
from mailbridge.routing.route import USDS_LANES
from mailbridge.store.changes import (
    Discard,
    Hold,
    Lane,
    LaneState,
    Message,
    QueueEntry,
    Reroute,
    RetryNow,
    Selection,
    SetLane,
    Unhold,
)

Record = dict[str, Any]

LONGEST_PAGE = 1000
HEADER_OCTETS = 32 * 1024
HEADER_LINES = 200
HEADER_COLUMNS = 500
MOST_LANES = 1000
LANES_A_COMMIT = 200
MOST_ALARMS = 20
_TARGET = re.compile(r"[a-z]+(?::[A-Za-z0-9_.-]{1,64})?")
_SELECTED_BY = ("id", "recipient", "sender", "target", "destination")
EVERYTHING = Selection()
SELECT = ", ".join(f"--{name}" for name in _SELECTED_BY)


class QueueOperations:
    """`queue ...`. `seconds()` is the time since 1970.

    All but `show`, `stats` and `list` need a selection (id, recipient, sender, target, destination), or `all` = true.
    """

    def __init__(self, store: IStore, seconds: Callable[[], float]) -> None:
        self._store = store
        self._seconds = seconds

    # --- looking ------------------------------------------------------------------------------------------------------

    async def list_entries(self, arguments: Arguments) -> Record:
        """`queue list`: a selection or none; `after` (the `next` of the page before, at first 0) and `limit`."""
        selection = _selection(arguments)
        after = arguments.number("after", 0, 2**63 - 1, 0)
        limit = arguments.number("limit", 1, LONGEST_PAGE, LONGEST_PAGE)
        arguments.end()
        entries: tuple[QueueEntry, ...] = await self._store.queue(selection, after, limit)
        following = entries[-1].delivery if len(entries) == limit else None
        return {"now": self._seconds(), "entries": [asdict(entry) for entry in entries], "next": following}

    async def count(self, arguments: Arguments) -> Record:
        """`queue count`: how many deliveries a selection means, counted page by page."""
        selection = _required_selection(arguments)
        arguments.end()
        count = after = 0
        while True:
            entries: tuple[QueueEntry, ...] = await self._store.queue(selection, after, LONGEST_PAGE)
            count += len(entries)
            if len(entries) < LONGEST_PAGE:
                return {"count": count}
            after = entries[-1].delivery

    async def show(self, arguments: Arguments) -> Record:
        """`queue show`: id. The message, the beginning of its header, and its first 1,000 deliveries."""
        queue_id = arguments.text("id")
        arguments.end()
        entries: tuple[QueueEntry, ...] = await self._store.queue(Selection(queue_id=queue_id), 0, LONGEST_PAGE)
        message = self._store.messages([entries[0].message]).get(entries[0].message) if entries else None
        if message is None:
            raise OperationError(Kind.CONFLICT, f"no message {plain(queue_id, 40)!r} waits: `mailbridge queue list` "
                                                "shows what does")
        return {
            "now": self._seconds(), "id": message.queue_id, "sender": message.sender,
            "origin": json.loads(message.origin or "{}"), "received": message.received, "size": message.content.size,
            "header": self._header(message),
            "deliveries": [asdict(entry) for entry in entries], "more": len(entries) == LONGEST_PAGE,
        }

    def _header(self, message: Message) -> list[str]:
        octets = self._store.read(message.content, 0, min(message.content.size, HEADER_OCTETS))
        end = end_of_header(octets)
        lines = octets[:end if end >= 0 else None].removesuffix(b"\r\n").split(b"\r\n")
        shown = [plain(line.decode("utf-8", "backslashreplace").expandtabs(), HEADER_COLUMNS) for line in lines]
        return [*shown[:HEADER_LINES], "..."] if len(shown) > HEADER_LINES or end < 0 else shown

    async def stats(self, arguments: Arguments) -> Record:
        """`queue stats`: totals, alarms, and the lanes: those that do not flow first, then those with most waiting."""
        arguments.end()
        lanes: tuple[Lane, ...] = await self._store.lanes()
        busy = [lane for lane in lanes if lane.waiting or lane.state is not LaneState.OPEN]
        busy.sort(key=lambda lane: (lane.state is LaneState.OPEN, -lane.waiting, lane.target, lane.destination))
        return {
            "now": self._seconds(), "waiting": sum(lane.waiting for lane in lanes), "oldest": await self.oldest(),
            "alarms": await self.alarms(lanes),
            "lanes": [{**asdict(lane), "state": lane.state.value} for lane in busy[:MOST_LANES]],
            "more_lanes": max(0, len(busy) - MOST_LANES),
        }

    async def oldest(self, selection: Selection = EVERYTHING) -> float | None:
        """When the oldest message with a delivery in the queue came, None when there is none."""
        entries: tuple[QueueEntry, ...] = await self._store.queue(selection, 0, 1)
        return entries[0].received if entries else None

    async def alarms(self, lanes: Iterable[Lane]) -> list[Record]:
        """Each route that paused itself, in plain words with the remedy: {text, since}.

        `since` is the arrival of the oldest message that waits for it, now if there is none.
        """
        paused: dict[tuple[str, str], list[Lane]] = {}
        for lane in lanes:
            if lane.state is LaneState.PAUSED:
                paused.setdefault((lane.target, lane.reason), []).append(lane)
        alarms = []
        for (target, reason), found in list(paused.items())[:MOST_ALARMS]:
            wait = Selection(target=target, destination=found[0].destination if len(found) == 1 else None)
            since = await self.oldest(wait)
            alarms.append({"text": _alarm(target, reason, found), "since": self._seconds() if since is None else since})
        return alarms

    async def stranded(self, lanes: Iterable[Lane]) -> list[Record]:
        """What waits in an embedded OCE that is switched off, as `alarms` has it."""
        alarms = []
        for target in sorted({each.target for each in lanes if each.target.startswith(USDS_LANES) and each.waiting}):
            since = await self.oldest(Selection(target=target))
            waiting = sum(each.waiting for each in lanes if each.target == target)
            alarms.append({"text": f"{waiting} messages wait in the embedded OCE, which is switched off: set [oce] "
                                   f"embedded = true, or forget them with `mailbridge queue remove --target "
                                   f"'{target}'`", "since": self._seconds() if since is None else since})
        return alarms

    # --- changing -----------------------------------------------------------------------------------------------------

    async def hold(self, arguments: Arguments) -> Record:
        """`queue hold`: keep what waits from being tried."""
        return await self._change(arguments, Hold)

    async def release(self, arguments: Arguments) -> Record:
        """`queue release`: let go what is held."""
        return await self._change(arguments, Unhold)

    async def retry(self, arguments: Arguments) -> Record:
        """`queue retry`: try now what waits, also where the route had paused itself."""
        return await self._change(arguments, RetryNow)

    async def remove(self, arguments: Arguments) -> Record:
        """`queue remove`: forget deliveries; nobody is told."""
        return await self._change(arguments, Discard)

    async def reroute(self, arguments: Arguments) -> Record:
        """`queue reroute`: `to`, a target such as relay:NAME, and perhaps `to_destination`."""
        target, destination = arguments.text("to"), arguments.optional_text("to_destination")
        if not _TARGET.fullmatch(target):
            raise usage(f"{plain(target, 80)!r} is no way out: write relay:NAME, one of the configuration")
        return await self._change(arguments, lambda selection: Reroute(selection, target, destination))

    async def pause(self, arguments: Arguments) -> Record:
        """`queue pause`: hold whole lanes (target, destination), also what comes later; `reason` is kept."""
        reason = arguments.optional_text("reason") or "paused by the operator"
        return await self._set_lanes(arguments, LaneState.HELD, reason)

    async def resume(self, arguments: Arguments) -> Record:
        """`queue resume`: open lanes (target, destination) again, whoever paused them."""
        return await self._set_lanes(arguments, LaneState.OPEN, "")

    async def _change(self, arguments: Arguments, change: Callable[[Selection], object]) -> Record:
        selection = _required_selection(arguments)
        arguments.end()
        (count,) = await self._store.commit(change(selection))
        return {"count": count}

    async def _set_lanes(self, arguments: Arguments, state: LaneState, reason: str) -> Record:
        selection = _required_selection(arguments)
        arguments.end()
        if (selection.queue_id, selection.recipient, selection.sender) != (None, None, None):
            raise usage("routes are paused and resumed by target and destination; messages are held and released")
        lanes: tuple[Lane, ...] = await self._store.lanes()
        changed = [lane for lane in lanes if _meant(lane, selection) and lane.state is not state]
        for at in range(0, len(changed), LANES_A_COMMIT):
            await self._store.commit(*(SetLane(lane.id, state, reason) for lane in changed[at:at + LANES_A_COMMIT]))
        return {"count": len(changed)}


def _meant(lane: Lane, selection: Selection) -> bool:
    return all(
        wanted is None or wanted.casefold() == found.casefold()
        for wanted, found in ((selection.target, lane.target), (selection.destination, lane.destination))
    )


def _selection(arguments: Arguments) -> Selection:
    """What is selected; nothing at all is everything."""
    given = {name: arguments.optional_text(name) for name in _SELECTED_BY}
    for name in ("recipient", "sender"):
        text = given[name]
        if text is None or (name == "sender" and text in ("", "<>")):
            continue
        if text.startswith("@"):
            names.address("x" + text, name)
        else:
            given[name] = names.address(text, name).text
    if given["sender"] == "<>":
        given["sender"] = ""
    return Selection(given["id"], given["recipient"], given["sender"], given["target"], given["destination"])


def _required_selection(arguments: Arguments) -> Selection:
    everything = arguments.optional_flag("all")
    selection = _selection(arguments)
    chosen = any(getattr(selection, name) is not None for name in fields_dict(Selection))
    if not chosen and not everything:
        raise usage(f"say which deliveries: {SELECT}, or --all for every one")
    if chosen and everything:
        raise usage("--all goes with no selection: leave out one of them")
    return selection


def _alarm(target: str, reason: str, lanes: list[Lane]) -> str:
    waiting = sum(lane.waiting for lane in lanes)
    where = f" for {len(lanes)} destinations" if len(lanes) > 1 else f" for {lanes[0].destination}"
    # The reason may quote a server, and the text goes to a log and a terminal.
    return plain(
        f"{target} is paused{where if lanes[0].destination else ''}: {reason or 'no reason was noted'}; {waiting} "
        f"deliveries wait and nothing is bounced: correct {_table(target, lanes[0].destination)} in the "
        f"configuration, `mailbridge reload`, then `mailbridge queue retry --target {shlex.quote(target)}`"
    )


def _table(target: str, destination: str) -> str:
    """The part of the configuration that a target was made of."""
    if target.startswith(USDS_LANES):
        return f"[oce.tribes.{destination}]"
    kind, colon, name = target.partition(":")
    return f"[{kind}.{name or 'NAME'}]" if colon else f"[{kind}]"
