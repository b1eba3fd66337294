"""`mailbridge oce`: the embedded OCE's applications and their approval, and going on after a KILL."""

from __future__ import annotations

import argparse
from typing import Any

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show


def add_to(subparsers: Subparsers) -> None:
    """Add `oce` and its parts to the command line."""
    parser = subparsers.add_parser("oce", help="applications of the embedded OCE, and going on after a KILL")
    parts = parser.add_subparsers(required=True, metavar="WHAT")
    parts.add_parser("applications", help="list them, and who asked to be a member").set_defaults(
        run=_run, operation="applications")
    for name, approved, text in (("approve", True, "let an application work"), ("revoke", False, "stop an application")):
        part = parts.add_parser(name, help=text)
        part.add_argument("name", metavar="NAME", help="its number, AppId or AppId/member")
        part.set_defaults(run=_run, operation="approve", approved=approved)
    parts.add_parser("release", help="go on after the OCE told us to stop").set_defaults(
        run=_run, operation="release")


def _run(args: argparse.Namespace) -> int:
    """Do it and print the result. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    given = {"name": args.name, "approved": args.approved} if args.operation == "approve" else {}

    async def work(ask: Ask) -> dict[str, Any]:
        told: dict[str, Any] = await ask(f"oce {args.operation}", given)
        return told

    told = converse(read_config(args), work)
    show(args, told, _text(told))
    return 0


def _text(told: dict[str, Any]) -> str:
    if "released" in told:
        return "mail goes to the OCE again" if told["released"] else "nothing had been stopped"
    lines = [
        f"{each['number']:4} {each['app_id']}  of {each['member']}  "
        f"{'works' if each['approved'] else 'waits for approval'}  ({each['name']})"
        for each in told["applications"]
    ]
    lines += [f"wants to become a member: {login}" for login in told.get("requests", {})]
    return "\n".join(lines) or "no application is registered"
