"""`mailbridge clearqueue`: removes everything that waits, after a question."""

from __future__ import annotations

from mailbridge.cli import queue
from mailbridge.cli.options import Subparsers


def add_to(subparsers: Subparsers) -> None:
    """Add `clearqueue` to the command line."""
    parser = subparsers.add_parser("clearqueue", help="remove everything that waits in the queue; asks first")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=lambda args: queue.run(args, queue.remove), action="remove", all=True)
