"""`mailbridge restart`: stop it if it runs, then start it."""

from __future__ import annotations

from mailbridge.cli import background
from mailbridge.cli.options import Subparsers


def add_to(subparsers: Subparsers) -> None:
    """Add `restart` to the command line."""
    subparsers.add_parser("restart", help="stop it if it runs, then start it").set_defaults(run=background.restart)
