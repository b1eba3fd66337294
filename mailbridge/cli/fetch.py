"""`mailbridge fetch`: collect now, with progress on a terminal; a test cycle, a dry run, how it goes, go on.

| code | of `fetch` and `fetch --test`                                                       |
|------|-------------------------------------------------------------------------------------|
| 0    | everything that was there was collected                                             |
| 1    | an account failed, or a message went to duds.dat                                    |
| 2    | `--test` only: the configuration or the start is wrong (else 64 and 78, as usual)   |
| 3    | the fetcher has stopped, because too many messages in a row went to duds.dat        |

Through the running bridge where there is one, else on the store itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from mailbridge.admin.messages import usage
from mailbridge.cli.fetchalone import Ask, asking
from mailbridge.cli.fetchtable import conclusion, preview_lines, progress, settings_lines, settings_record, status_lines
from mailbridge.cli.loop import run_reactor
from mailbridge.cli.options import Subparsers, read_config, show, warn
from mailbridge.config.model import Config
from mailbridge.errors import ConfigError, StartError

FAILED, BAD_CONFIG, STOPPED = 1, 2, 3
REFRESH = 0.5
_ACTIONS = ("now", "status", "resume", "settings")

Work = Callable[[argparse.Namespace, Any, Ask], Coroutine[Any, Any, int]]


def add_to(subparsers: Subparsers) -> None:
    """Add `fetch` to the command line."""
    parser = subparsers.add_parser("fetch", help="collect mail from POP3 servers now, or tell how that goes")
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="now",
                        help="now (the default), status, resume (after too many duds) or settings (of a dmail.conf)")
    parser.add_argument("--account", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--test", action="store_true", help="one cycle, with all that is said to the servers")
    what.add_argument("--dry-run", action="store_true", help="show what would become of each message; change nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry it out. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    if args.action != "now" and (args.test or args.dry_run or args.account):
        raise usage(f"--test, --dry-run and --account are not for `fetch {args.action}`")
    if args.action == "settings":
        show(args, settings_record(), "\n".join(settings_lines()))
        return 0
    try:
        return _with_bridge(args, read_config(args))
    except (ConfigError, StartError) as error:
        if not args.test:
            raise
        for line in str(error).splitlines():
            warn(line)
        return BAD_CONFIG


def _with_bridge(args: argparse.Namespace, config: Config) -> int:
    if config.popfetch is None:
        raise usage(f"{config.source} has no [popfetch]: nothing is collected")
    work = _preview if args.dry_run else {"now": _now, "status": _status, "resume": _status}[args.action]

    from twisted.internet import reactor

    return run_reactor(reactor, lambda: asking(reactor, config, lambda ask: work(args, reactor, ask)))


async def _status(args: argparse.Namespace, reactor: Any, ask: Ask) -> int:
    told = await ask(f"fetch {args.action}", {})
    show(args, told, "\n".join(status_lines(told)))
    return 0


async def _now(args: argparse.Namespace, reactor: Any, ask: Ask) -> int:
    """Collect, and meanwhile show how far it is, or with --test what is said."""
    follower = _Transcript(ask) if args.test else _Progress(ask, args) if sys.stderr.isatty() else None
    looking = None
    if follower is not None:
        await follower.begin()
        looking = LoopingCall(lambda: Deferred.fromCoroutine(follower.look()))
        looking.clock = reactor
        looking.start(REFRESH, now=False).addErrback(lambda _: None)  # the collection itself will say what is wrong
    try:
        told = await ask("fetch now", {"accounts": args.account, "verbose": args.test})
        if follower is not None:
            await follower.look()
    finally:
        if looking is not None and looking.running:
            looking.stop()
        if follower is not None:
            follower.end()
    show(args, told, "\n".join(conclusion(told)))
    if told["stopped"]:
        return STOPPED
    return FAILED if told["failed"] or told["totals"].get("failures") or told["totals"].get("duds") else 0


async def _preview(args: argparse.Namespace, reactor: Any, ask: Ask) -> int:
    """Account by account, so that no answer is too long."""
    names = args.account or [account["account"] for account in (await ask("fetch status", {}))["accounts"]]
    found = []
    for name in names:
        (account,) = (await ask("fetch preview", {"accounts": [name]}))["accounts"] or [_unconnected(name)]
        found.append(account)
        if not args.json:
            print("\n".join(preview_lines(account)), flush=True)
    if args.json:
        show(args, {"accounts": found}, "")
    return FAILED if any(account["error"] for account in found) else 0


def _unconnected(name: str) -> dict[str, Any]:
    return {"account": name, "error": "no connection: the dial command failed", "listed": 0, "messages": []}


class _Transcript:
    """Prints the lines of the log as they come."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._last = 0
        self._busy = False

    async def begin(self) -> None:
        """Pass over what was said before."""
        self._last = (await self._ask("fetch lines", {"after": 2**53}))["last"]

    async def look(self) -> None:
        """Print what is new."""
        while not self._busy:
            self._busy = True
            try:
                told = await self._ask("fetch lines", {"after": self._last})
            finally:
                self._busy = False
            self._last = told["last"]
            if not told["lines"]:
                return
            print("\n".join(told["lines"]), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing is left behind."""


class _Progress:
    """One line for each account on the terminal, written over and over."""

    def __init__(self, ask: Ask, args: argparse.Namespace) -> None:
        self._ask = ask
        self._names = frozenset(args.account)
        self._drawn = 0

    async def begin(self) -> None:
        """Nothing is shown yet."""

    async def look(self) -> None:
        """Draw."""
        told = await self._ask("fetch status", {})
        lines = progress(told, self._names)
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        sys.stderr.write(up + "".join(f"\x1b[K{line}\n" for line in lines) + "\x1b[J")
        sys.stderr.flush()
        self._drawn = len(lines)

    def end(self) -> None:
        """Take the lines away; the result follows."""
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}F\x1b[J")
            sys.stderr.flush()
