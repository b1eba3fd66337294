"""`mailbridge pullinfo`: how the bridge and its OCE stand (fauSMTP: -pullinfo)."""

from __future__ import annotations

import argparse
from typing import Any

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show


def add_to(subparsers: Subparsers) -> None:
    """Add `pullinfo` to the command line."""
    subparsers.add_parser("pullinfo", help="show how the bridge and its OCE stand").set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it. Errors: ConfigError, StartError, NotAllowed, OperationError."""

    async def work(ask: Ask) -> dict[str, Any]:
        told: dict[str, Any] = await ask("oce pullinfo", {})
        return told

    told = converse(read_config(args), work)
    show(args, {name: value for name, value in told.items() if name != "lines"}, "\n".join(told["lines"]))
    return 0
