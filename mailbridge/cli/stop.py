"""`mailbridge stop`: stop it; waits for mail in progress."""

from __future__ import annotations

from mailbridge.cli import background
from mailbridge.cli.options import Subparsers


def add_to(subparsers: Subparsers) -> None:
    """Add `stop` to the command line."""
    subparsers.add_parser("stop", help="stop it; waits for mail in progress").set_defaults(run=background.stop)
