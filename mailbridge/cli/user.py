"""`mailbridge user add | list | passwd | set | remove`: the people who log in."""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from mailbridge.admin.messages import usage
from mailbridge.admin.status import size
from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show, warn

LONGEST_PASSWORD_FILE = 4096


@frozen
class Terminal:
    """Where questions are asked: `secret(prompt)` without echo, `line(prompt)` with, `read(most)` a line of stdin."""

    secret: Callable[[str], str]
    line: Callable[[str], str]
    read: Callable[[int], bytes]


def terminal() -> Terminal:
    """The terminal of this process. Ctrl-C ends a question though the reactor, which runs, has taken it for itself."""

    def interruptible(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def asked(argument: Any) -> Any:
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                return ask(argument)
            finally:
                signal.signal(signal.SIGINT, before)

        return asked

    return Terminal(
        interruptible(getpass.getpass), interruptible(input),
        interruptible(lambda most: sys.stdin.buffer.readline(most)),
    )


def add_to(subparsers: Subparsers) -> None:
    """Add `user` to the command line."""
    actions = subparsers.add_parser("user", help="add, list, change and remove users").add_subparsers(
        required=True, metavar="ACTION", title="actions"
    )

    def action(name: str, help: str, work: Callable[..., Any]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
        parser.set_defaults(run=lambda args: converse(read_config(args), lambda ask: work(args, ask)))
        return parser

    parser = action("add", "make a user; asks for the password", add)
    _passwords(parser)
    parser.add_argument("--keep-secret", action="store_true", help="keep the password in clear, for CRAM-MD5 and APOP")
    parser.add_argument("--send-as", action="append", default=[], metavar="ADDRESS",
                        help="a further sender address, or *@DOMAIN (repeatable)")
    action("list", "list all users", list_users)
    parser = action("passwd", "set a new password", passwd)
    _passwords(parser)
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--keep-secret", action="store_true", default=None, help="from now on keep the password in clear")
    keep.add_argument("--forget-secret", dest="keep_secret", action="store_false", help="keep it in clear no longer")
    parser = action("set", "change which senders a user may use", set_sender)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--send-as", action="append", default=[], metavar="ADDRESS",
                        help="a sender address, or *@DOMAIN (repeatable); without any, only the user's own")
    parser = action("remove", "remove a user with all mail", remove)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _passwords(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    source.add_argument("--password-file", type=Path, metavar="FILE", help="read the password from a file's first line")


async def add(args: argparse.Namespace, ask: Ask, here: Terminal | None = None) -> int:
    """Make a user."""
    arguments = {"name": args.name, "password": password(args, here or terminal()),
                 "keep_secret": args.keep_secret, "send_as": args.send_as}
    result = await ask("user add", arguments)
    for warning in result["warnings"]:
        warn(warning)
    show(args, result, f"user {result['name']} can log in now")
    return 0


async def list_users(args: argparse.Namespace, ask: Ask) -> int:
    """List users."""
    result = await ask("user list", {})
    lines = [
        user["name"] + ("  keeps the secret" if user["keeps_secret"] else "")
        + ("  sends as " + ", ".join(user["send_as"]) if user["send_as"] else "")
        for user in result["users"]
    ]
    show(args, result, "\n".join(lines) or "there are no users yet: make one with `mailbridge user add NAME`")
    return 0


async def passwd(args: argparse.Namespace, ask: Ask, here: Terminal | None = None) -> int:
    """Set a password."""
    arguments = {"name": args.name, "password": password(args, here or terminal())}
    if args.keep_secret is not None:
        arguments["keep_secret"] = args.keep_secret
    result = await ask("user passwd", arguments)
    for warning in result["warnings"]:
        warn(warning)
    show(args, result, f"{result['name']} has a new password")
    return 0


async def set_sender(args: argparse.Namespace, ask: Ask) -> int:
    """Replace the sender addresses."""
    result = await ask("user set", {"name": args.name, "send_as": args.send_as})
    further = ", ".join(result["send_as"])
    show(args, result, f"{result['name']} may send as himself" + (f" and as {further}" if further else " only"))
    return 0


async def remove(args: argparse.Namespace, ask: Ask, here: Terminal | None = None) -> int:
    """Remove a user, after a question."""
    if not args.yes:
        told = await ask("user show", {"name": args.name})
        question = f"remove {told['name']} with {told['messages']} messages ({size(told['octets'])})? [y/N] "
        try:
            answer = (here or terminal()).line(question)
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            warn("nothing was removed; --yes removes without asking")
            return 1
    result = await ask("user remove", {"name": args.name})
    for alias in result["aliases"]:
        warn(f"the alias {alias} still names {result['name']}")
    show(args, result, f"user {result['name']} is removed, with {result['messages']} messages")
    return 0


def password(args: argparse.Namespace, here: Terminal) -> str:
    """The password from where the command line says, else typed twice. Raises OperationError (usage)."""
    if args.password_file is not None:
        try:
            with args.password_file.open("rb") as file:
                return _first_line(file.read(LONGEST_PASSWORD_FILE))
        except OSError as error:
            raise usage(f"{args.password_file}: cannot be read: {error.strerror}") from None
    if args.password_stdin:
        return _first_line(here.read(LONGEST_PASSWORD_FILE))
    try:
        first = here.secret(f"Password for {args.name}: ")
        if here.secret("Once more: ") != first:
            raise usage("the two passwords differ; nothing was changed")
    except EOFError:
        raise usage("there is nobody to ask for a password: use --password-stdin or --password-file FILE") from None
    return first


def _first_line(octets: bytes) -> str:
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise usage("the password is not UTF-8") from None
