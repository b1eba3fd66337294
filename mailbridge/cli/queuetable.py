"""The queue as a person reads it: a row a delivery, a page a message, the routes with what waits for them.

Everything that came from outside (addresses, answers, headers) is shown harmlessly.
"""

from __future__ import annotations

from typing import Any

from mailbridge.admin.plain import plain
from mailbridge.admin.status import size
from mailbridge.cli.status import duration

Record = dict[str, Any]

_COLUMNS = (("ID", 20), ("AGE", 9), ("STATE", 7), ("TRIES", 5), ("NEXT TRY", 9), ("ROUTE", 22), ("SENDER", 26),
            ("RECIPIENT", 26))
HEADING = " ".join(f"{name:{width}}" for name, width in _COLUMNS) + " LAST ANSWER"
LONGEST_ANSWER = 160


def row(entry: Record, now: float) -> str:
    """One delivery in one line; `now` is seconds since 1970."""
    cells = (
        entry["queue_id"], duration(now - entry["received"]), entry["state"], str(entry["attempts"]),
        next_try(entry, now), route(entry), entry["sender"] or "<>", entry["recipient"],
    )
    shown = (f"{plain(cell, width):{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    return f"{' '.join(shown)} {plain(entry['answer'], LONGEST_ANSWER) or '-'}"


def next_try(entry: Record, now: float) -> str:
    """When a delivery is tried next."""
    if entry["state"] != "waiting":
        return "now" if entry["state"] == "claimed" else "-"
    return "due" if entry["due"] <= now else f"in {span(entry['due'] - now)}"


def span(seconds: float) -> str:
    """`45 s` below two minutes, else as `duration`."""
    return f"{seconds:.0f} s" if seconds < 120 else duration(seconds)


def route(entry: Record) -> str:
    """The way out and the destination."""
    return f"{entry['target']} {entry['destination']}".strip()


def message(told: Record) -> str:
    """One message with its deliveries."""
    now = told["now"]
    lines = [
        f"message   {plain(told['id'])}",
        f"sender    {plain(told['sender']) or '<>'}",
        f"received  {duration(now - told['received'])} ago",
        f"origin    {plain(origin(told['origin'])) or '-'}",
        f"size      {size(told['size'])}",
    ]
    for entry in told["deliveries"]:
        lines += [
            f"recipient {plain(entry['recipient'])}",
            f"  route     {plain(route(entry))}",
            f"  state     {entry['state']}, {entry['attempts']} tries, next {next_try(entry, now)}",
            f"  answer    {plain(entry['answer']) or '-'}",
        ]
    if told["more"]:
        lines.append(f"further recipients: `mailbridge queue list --id {plain(told['id'])}`")
    return "\n".join([*lines, "header", *(f"  {plain(line)}" for line in told["header"])])


def origin(said: Record) -> str:
    """Who brought a message, and how."""
    return ", ".join(f"{name} {said[name]}" for name in ("listener", "peer", "helo", "user", "tls") if said.get(name))


def statistics(told: Record) -> str:
    """Totals, alarms, lanes."""
    now = told["now"]
    oldest = "" if told["oldest"] is None else f", the oldest for {duration(now - told['oldest'])}"
    lines = [f"{told['waiting']} deliveries wait{oldest}"]
    lines += [f"ALARM: {plain(alarm['text'])}" for alarm in told["alarms"]]
    if told["lanes"]:
        lines.append(f"{'ROUTE':40} {'STATE':7} {'WAITING':>9} {'NEXT TRY':9} REASON")
    for lane in told["lanes"]:
        if lane["due"] is None:
            when = "-"
        else:
            soon = max(lane["due"], lane["not_before"])
            when = "due" if soon <= now else f"in {span(soon - now)}"
        lines.append(f"{plain(route(lane), 40):40} {lane['state']:7} {lane['waiting']:9} {when:9} "
                     f"{plain(lane['reason'], LONGEST_ANSWER) or '-'}")
    if told["more_lanes"]:
        lines.append(f"and {told['more_lanes']} further routes")
    return "\n".join(lines)
