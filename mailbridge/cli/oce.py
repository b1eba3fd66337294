"""`mailbridge oce`: applications of the embedded OCE, their approval and values, and going on after a KILL."""

from __future__ import annotations

import argparse
from typing import Any

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show

_NAME = "its number, AppId or AppId/member"


def add_to(subparsers: Subparsers) -> None:
    """Add `oce` and its parts to the command line."""
    parser = subparsers.add_parser("oce", help="applications of the embedded OCE, and going on after a KILL")
    parts = parser.add_subparsers(required=True, metavar="WHAT")
    for name, text in (("applications", "list what is registered"), ("requests", "list who asked to be a member"),
                       ("release", "go on after the OCE told us to stop")):
        parts.add_parser(name, help=text).set_defaults(run=_run, operation=name, given=lambda _: {})
    for name, approved, text in (("approve", True, "let an application work"), ("revoke", False, "stop one")):
        part = parts.add_parser(name, help=text)
        part.add_argument("application", metavar="NAME", help=_NAME)
        part.set_defaults(run=_run, operation="approve",
                          given=lambda args, approved=approved: {"application": args.application, "approved": approved})
    part = parts.add_parser("enrol", help="set the values that a member has in an application")
    part.add_argument("application", metavar="NAME", help=_NAME)
    part.add_argument("values", nargs="+", metavar="FIELD=VALUE")
    part.add_argument("--member", metavar="MEMBER", help="whose (default: of all who have none of their own)")
    part.set_defaults(run=_run, operation="enrol", given=lambda args: {
        "application": args.application, "values": args.values, **({"member": args.member} if args.member else {})})
    part = parts.add_parser("forget", help="forget a request for membership that was dealt with")
    part.add_argument("login", metavar="LOGIN")
    part.set_defaults(run=_run, operation="forget", given=lambda args: {"login": args.login})


def _run(args: argparse.Namespace) -> int:
    """Do it and print the result. Errors: ConfigError, StartError, NotAllowed, OperationError."""

    async def work(ask: Ask) -> Any:
        return await ask(f"oce {args.operation}", args.given(args))

    told = converse(read_config(args), work)
    show(args, told, _text(args.operation, told))
    return 0


def _text(operation: str, told: Any) -> str:
    if operation == "release":
        return "mail goes to the OCE again" if told["released"] else "nothing had been stopped"
    if operation == "forget":
        return f"forgotten: {told['login']}"
    if operation == "requests":
        lines = (", ".join(f"{name}: {value}" for name, value in each.items()) for each in told)
        return "\n".join(lines) or "nobody asked"
    return "\n".join(
        f"{each['number']:4} {each['app_id']}  of {each['member']}  "
        f"{'works' if each['approved'] else 'waits for approval'}  ({each['name']})" for each in told
    ) or "no application is registered"
