"""`mailbridge start`: start the bridge in the background."""

from __future__ import annotations

from mailbridge.cli import background
from mailbridge.cli.options import Subparsers


def add_to(subparsers: Subparsers) -> None:
    """Add `start` to the command line."""
    subparsers.add_parser("start", help="start the bridge in the background").set_defaults(run=background.start)
