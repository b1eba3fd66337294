"""`mailbridge route FROM TO`: where a message would go, and why."""

from __future__ import annotations

import argparse

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show


def add_to(subparsers: Subparsers) -> None:
    """Add `route` to the command line."""
    parser = subparsers.add_parser("route", help="show where a message would go, step by step")
    parser.add_argument("sender", metavar="FROM", help="the sender's address; '' or '<>' for none")
    parser.add_argument("recipient", metavar="TO", help="the recipient's address")
    parser.add_argument("--client", metavar="IP", help="the address of the client that sends it (default: a stranger)")
    parser.add_argument("--user", metavar="NAME", help="the user who has logged in to send it")
    parser.add_argument("--listener", metavar="PLACE", default="smtp[0]", help="where it comes in (default: smtp[0])")
    parser.set_defaults(run=lambda args: converse(read_config(args), lambda ask: route(args, ask)))


async def route(args: argparse.Namespace, ask: Ask) -> int:
    """Print the steps; 0 when the recipient would be taken, 1 when it would be refused."""
    arguments = {"from": args.sender, "to": args.recipient, "listener": args.listener}
    for name in ("client", "user"):
        if getattr(args, name) is not None:
            arguments[name] = getattr(args, name)
    result = await ask("route", arguments)
    show(args, result, "\n".join(result["lines"]))
    return 0 if result["accepted"] else 1
