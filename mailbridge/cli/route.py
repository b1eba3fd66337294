"""`mailbridge route FROM TO`: where a message would go, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailbridge.admin.plain import plain
from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show
from mailbridge.cli.preview import lines, preview, read_message
from mailbridge.config.model import Config
from mailbridge.config.rooms import RECEIVER


def add_to(subparsers: Subparsers) -> None:
    """Add `route` to the command line."""
    parser = subparsers.add_parser("route", help="show where a message would go, step by step")
    parser.add_argument("sender", metavar="FROM", help="the sender's address; '' or '<>' for none")
    parser.add_argument("recipient", metavar="TO", help="the recipient's address")
    parser.add_argument("--client", metavar="IP", help="the address of the client that sends it (default: a stranger)")
    parser.add_argument("--user", metavar="NAME", help="the user who has logged in to send it")
    parser.add_argument("--listener", metavar="PLACE",
                        help="where it comes in (default: smtp[0], or receiver where there is no [[smtp]])")
    parser.add_argument("--message", type=Path, metavar="FILE",
                        help="show also the files that an application would write for this message")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the bridge, and print. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    config = read_config(args)
    if args.listener is None and not config.smtp and config.receiver.listens:
        args.listener = RECEIVER
    content = None if args.message is None else read_message(args.message)
    return converse(config, lambda ask: route(args, ask, config, content))


async def route(args: argparse.Namespace, ask: Ask, config: Config | None = None, content: bytes | None = None) -> int:
    """Print the steps, and the job that `content` makes; 0 when it would be taken, 1 when it would be refused."""
    arguments = {"from": args.sender, "to": args.recipient}
    for name in ("client", "user", "listener"):
        if getattr(args, name) is not None:
            arguments[name] = getattr(args, name)
    result = await ask("route", arguments)
    told = list(result["lines"])
    if config is not None and content is not None and result["accepted"]:
        made = preview(config, result, content)
        result = {**result, "preview": made, "accepted": "refused" not in made}
        told += lines(made)
    show(args, result, "\n".join(map(plain, told)))
    return 0 if result["accepted"] else 1
