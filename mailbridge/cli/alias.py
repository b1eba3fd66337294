"""`mailbridge alias add | list | remove`: names that stand for users."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show


def add_to(subparsers: Subparsers) -> None:
    """Add `alias` to the command line."""
    actions = subparsers.add_parser("alias", help="add, list and remove aliases").add_subparsers(
        required=True, metavar="ACTION", title="actions"
    )

    def action(name: str, help: str, work: Callable[..., Any]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
        parser.set_defaults(run=lambda args: converse(read_config(args), lambda ask: work(args, ask)))
        return parser

    parser = action("add", "make or replace an alias", add)
    parser.add_argument("name", metavar="NAME", help="sales, sales@DOMAIN, or @DOMAIN for all else of a domain")
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="users or other aliases")
    action("list", "list all aliases", list_aliases)
    parser = action("remove", "remove an alias", remove)
    parser.add_argument("name", metavar="NAME")


async def add(args: argparse.Namespace, ask: Ask) -> int:
    """Make or replace an alias."""
    result = await ask("alias set", {"name": args.name, "targets": args.targets})
    done = "now leads" if result["replaced"] else "leads"
    show(args, result, f"alias {result['name']} {done} to {', '.join(result['targets'])}")
    return 0


async def list_aliases(args: argparse.Namespace, ask: Ask) -> int:
    """List aliases."""
    result = await ask("alias list", {})
    lines = [f"{alias['name']}: {', '.join(alias['targets'])}" for alias in result["aliases"]]
    show(args, result, "\n".join(lines) or "there are no aliases")
    return 0


async def remove(args: argparse.Namespace, ask: Ask) -> int:
    """Remove an alias."""
    result = await ask("alias remove", {"name": args.name})
    show(args, result, f"alias {result['name']} is removed")
    return 0
