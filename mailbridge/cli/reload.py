"""`mailbridge reload`: has the running bridge read its configuration again; no session is dropped."""

from __future__ import annotations

import argparse
from typing import Any

from mailbridge.admin.call import NotRunning, call
from mailbridge.admin.control import socket_path
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.cli.loop import run_reactor
from mailbridge.cli.options import Subparsers, read_config, show


def add_to(subparsers: Subparsers) -> None:
    """Add `reload` to the command line."""
    parser = subparsers.add_parser("reload", help="have the running bridge read its configuration again")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reload, and print what needs a restart. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    path = socket_path(read_config(args).state)  # a file with faults is told here already

    from twisted.internet import reactor

    async def ask() -> dict[str, Any]:
        told: dict[str, Any] = await call(reactor, path, "reload", {})
        return told

    try:
        told = run_reactor(reactor, ask)
    except NotRunning:
        raise OperationError(Kind.FAILED, "it is not running: there is nothing to reload") from None
    show(args, told, "\n".join(["the configuration was read again", *told["notes"]]))
    return 0
