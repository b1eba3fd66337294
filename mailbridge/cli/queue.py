"""`mailbridge queue ...`: list, show, stats, hold, release, retry, reroute, remove, pause, resume.

What is listed comes page by page: the first lines are there at once, however long the queue. With --json, `list` prints
one object a line for each delivery; the others print one object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

from mailbridge.admin.messages import usage
from mailbridge.admin.plain import plain_json
from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show, warn
from mailbridge.cli.people import has_store
from mailbridge.cli.queuetable import HEADING, message, row, statistics
from mailbridge.cli.user import Terminal, terminal
from mailbridge.config.model import Config

PAGE = 500
_SELECTORS = (
    ("id", "QUEUEID", "of this message"),
    ("recipient", "ADDR|@DOMAIN", "to this recipient, or all of a domain"),
    ("sender", "ADDR|@DOMAIN", "from this sender ('<>' for bounces), or all of a domain"),
    ("target", "relay:NAME", "that wait for this way out"),
    ("destination", "DOMAIN", "that wait for this destination"),
)
Work = Callable[[argparse.Namespace, Ask], Coroutine[Any, Any, int]]


def add_to(subparsers: Subparsers) -> None:
    """Add `queue` to the command line."""
    actions = subparsers.add_parser("queue", help="look at what waits, and move it").add_subparsers(
        required=True, metavar="ACTION", title="actions"
    )

    def action(name: str, help: str, work: Work) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
        parser.set_defaults(run=lambda args: run(args, work))
        return parser

    def change(name: str, help: str, work: Work | None = None) -> argparse.ArgumentParser:
        parser = action(name, help, work or change_selected)
        _selectors(parser, _SELECTORS)
        parser.add_argument("--all", action="store_true", help="every delivery in the queue")
        parser.set_defaults(action=name)
        return parser

    parser = action("list", "list what waits, oldest first", list_entries)
    _selectors(parser, _SELECTORS)
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many lines")
    parser = action("show", "show one message and its deliveries", show_message)
    parser.add_argument("id", metavar="QUEUEID")
    action("stats", "show totals, alarms and the routes with what waits for each", stats)
    change("hold", "keep what waits from being tried, until it is released")
    change("release", "let go what is held")
    change("retry", "try now, also where a route has paused itself")
    parser = change("reroute", "send what waits another way", reroute)
    parser.add_argument("--to", required=True, metavar="relay:NAME", help="the way out to take instead")
    parser.add_argument("--to-destination", metavar="DOMAIN", help="and the destination (default: as before)")
    parser = change("remove", "remove deliveries for good; nobody is told", remove)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    for name, help in (("pause", "hold whole routes, with what comes later"), ("resume", "open paused routes again")):
        parser = action(name, help, change_selected)
        _selectors(parser, _SELECTORS[-2:])
        parser.add_argument("--all", action="store_true", help="every route that the queue knows")
        parser.set_defaults(action=name)
        if name == "pause":
            parser.add_argument("--reason", metavar="TEXT", help="shown by `queue stats`")


def _selectors(parser: argparse.ArgumentParser, selectors: tuple[tuple[str, str, str], ...]) -> None:
    group = parser.add_argument_group("which", "all that are given must match; letters in any case")
    for name, metavar, help in selectors:
        group.add_argument(f"--{name}", metavar=metavar, help=help)


def run(args: argparse.Namespace, work: Work) -> int:
    """Carry out one of them. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    config = read_config(args)
    known_target(args, config)
    if not has_store(config):  # looking never makes a store
        warn("there is no store yet: nothing waits")
        return 0
    return converse(config, lambda ask: work(args, ask))


def known_target(args: argparse.Namespace, config: Config) -> None:
    """Raises OperationError (usage) when the mail should take a way out that is not configured."""
    to = getattr(args, "to", None)
    ways = [f"relay:{name}" for name in config.relay]
    if to is not None and to not in ways:
        raise usage(f"there is no way out {to!r}; the configuration has {', '.join(ways) or 'none'}")


def selected(args: argparse.Namespace) -> dict[str, Any]:
    """The selection as arguments of an operation."""
    given = {name: getattr(args, name, None) for name, _, _ in _SELECTORS}
    arguments: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if getattr(args, "all", False):
        arguments["all"] = True
    return arguments


async def list_entries(args: argparse.Namespace, ask: Ask) -> int:
    """List deliveries, page by page."""
    if args.limit is not None and args.limit < 1:
        raise usage("--limit must be 1 or more")
    after, left = 0, args.limit
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await ask("queue list", {**selected(args), "after": after, "limit": size})
        entries = page["entries"]
        if args.json:
            lines = [plain_json(entry) for entry in entries]
        else:
            heading = [HEADING] if not after and entries else []
            lines = heading + [row(entry, page["now"]) for entry in entries]
        if lines:
            print("\n".join(lines), flush=True)
        elif not after and not args.json:
            print("nothing waits")
        left = None if left is None else left - len(entries)
        if page["next"] is None or left == 0:
            return 0
        after = page["next"]


async def show_message(args: argparse.Namespace, ask: Ask) -> int:
    """Show one message."""
    told = await ask("queue show", {"id": args.id})
    show(args, told, message(told))
    return 0


async def stats(args: argparse.Namespace, ask: Ask) -> int:
    """Show totals, alarms and lanes."""
    told = await ask("queue stats", {})
    show(args, told, statistics(told))
    return 0


_DONE = {
    "hold": ("delivery", "held: `mailbridge queue release` lets go"),
    "release": ("delivery", "released"),
    "retry": ("delivery", "due now"),
    "reroute": ("delivery", "put on the other way out"),
    "remove": ("delivery", "removed"),
    "pause": ("route", "paused: `mailbridge queue resume` opens again"),
    "resume": ("route", "open again"),
}


def counted(count: int, noun: str) -> str:
    """`1 delivery`, `2 deliveries`, `0 routes`."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else many}"


async def change_selected(args: argparse.Namespace, ask: Ask, more: dict[str, Any] | None = None) -> int:
    """Carry out a change on what is selected; 1 when nothing was."""
    reason = getattr(args, "reason", None)
    arguments = {**selected(args), **({"reason": reason} if reason is not None else {}), **(more or {})}
    told = await ask(f"queue {args.action}", arguments)
    noun, done = _DONE[args.action]
    count: int = told["count"]
    more_done = "; mail goes to the OCE again" if told.get("oce") else ""  # what `mailbridge oce release` does
    show(args, told, f"{counted(count, noun)} {'is' if count == 1 else 'are'} {done}{more_done}")
    return 0 if count or more_done else 1


async def reroute(args: argparse.Namespace, ask: Ask) -> int:
    """Put what is selected into another lane."""
    more = {"to": args.to}
    if args.to_destination is not None:
        more["to_destination"] = args.to_destination
    return await change_selected(args, ask, more)


async def remove(args: argparse.Namespace, ask: Ask, here: Terminal | None = None) -> int:
    """Remove what is selected, after a question that says how much."""
    if not args.yes:
        count = (await ask("queue count", selected(args)))["count"]
        if not count:
            show(args, {"count": 0}, "nothing that waits is meant by that")
            return 1
        try:
            answer = (here or terminal()).line(f"remove {counted(count, 'delivery')} for good, telling nobody? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            warn("nothing was removed; --yes removes without asking")
            return 1
    return await change_selected(args, ask)
