"""`mailbridge register MEMBER [PASSWORD]`: registers the bridge as an application of its OCE (fauSMTP: -r)."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show, warn
from mailbridge.config.secrets import secret_text_reader
from mailbridge.errors import ConfigError, Fault

VARIABLE = "MAILBRIDGE_OCE_PASSWORD"


def add_to(subparsers: Subparsers) -> None:
    """Add `register` to the command line."""
    parser = subparsers.add_parser("register", help="register this bridge with its OCE")
    parser.add_argument("member", nargs="?", metavar="MEMBER", help="who may register it (default: oce.member)")
    parser.add_argument("password", nargs="?", metavar="PASSWORD",
                        help=f"his password; left out, it is asked for, or taken from ${VARIABLE} or oce.password")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="read the password from FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Register. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    config = read_config(args)
    oce = config.oce
    member = args.member or (oce.member if oce is not None else None)
    if member is None:
        raise ConfigError("mailbridge", (Fault("register", "needs the name of a member"),))
    if args.password is not None:
        warn("a password on the command line can be seen by every user of this host, and stays in the shell's history")
    password = args.password or _password(args.password_file, oce.password if oce is not None else None, member)

    async def work(ask: Ask) -> dict[str, str]:
        told: dict[str, str] = await ask("oce register", {"member": member, "password": password})
        return told

    told = converse(config, work)
    show(args, told, f"registered: {told['answer']}")
    return 0


def _password(file: Path | None, configured: str | None, member: str) -> str:
    if file is not None:
        try:
            return secret_text_reader(Path.cwd())({"file": str(file)})
        except ValueError as error:
            raise ConfigError("mailbridge", (Fault("--password-file", str(error)),)) from None
    given = os.environ.get(VARIABLE) or configured
    if given:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return getpass.getpass(f"Password of {member} at the OCE: ")
