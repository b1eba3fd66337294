"""`mailbridge clearqueue`: removes everything that waits, after a question (fauSMTP: -clearqueue)."""

from __future__ import annotations

import argparse

from mailbridge.cli import queue
from mailbridge.cli.connect import Ask
from mailbridge.cli.options import Subparsers, show


def add_to(subparsers: Subparsers) -> None:
    """Add `clearqueue` to the command line."""
    parser = subparsers.add_parser("clearqueue", help="remove everything that waits in the queue; asks first")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=lambda args: queue.run(args, _clear), action="remove", all=True)


async def _clear(args: argparse.Namespace, ask: Ask) -> int:
    """An empty queue is what was asked for."""
    if not (await ask("queue count", queue.selected(args)))["count"]:
        show(args, {"count": 0}, "nothing waits")
        return 0
    return await queue.remove(args, ask)
