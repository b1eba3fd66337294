"""`mailbridge client [USER]`: prints what to type into a mail program to use this bridge."""

from __future__ import annotations

import argparse

from attrs import asdict, evolve

from mailbridge import certificate
from mailbridge.cli.mail_program import settings
from mailbridge.cli.options import Subparsers, read_config, show
from mailbridge.cli.people import read_people
from mailbridge.cli.snippets import PROGRAMS
from mailbridge.config import tribal
from mailbridge.config.model import Config
from mailbridge.routing.directory import Directory
from mailbridge.store.changes import People

ANYBODY = "NAME"


def add_to(subparsers: Subparsers) -> None:
    """Add `client` to the command line."""
    parser = subparsers.add_parser("client", help="print what to type into a mail program")
    parser.add_argument("user", nargs="?", metavar="USER", help="for this user (default: a word that stands for any)")
    parser.add_argument("--for", dest="program", choices=sorted(PROGRAMS), default="thunderbird", metavar="PROGRAM",
                        help=f"write it for {', '.join(sorted(PROGRAMS))} (default: the fields of an account page)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the settings. Errors: ConfigError, StartError, NotAllowed."""
    config = read_config(args)
    told = certificate.read(config.tls.certificate) if config.tls is not None else None
    found = settings(config, args.user or ANYBODY, told)
    if args.user is not None:
        found = evolve(found, notes=(*found.notes, *about(args.user, config, read_people(config))))
    show(args, asdict(found), PROGRAMS[args.program](found))
    return 0


def about(name: str, config: Config, people: People) -> tuple[str, ...]:
    """What is to be said of a user: nothing when there is one of that name who can log in."""
    users = config.users
    directory = Directory(users.domains, users.tag_separator, users.postmaster, tribal.member_domain(config))
    directory.replace(people)
    if directory.login(name) is not None:
        return ()
    return (f"There is no user {name}: `mailbridge user add NAME` makes one, `mailbridge user list` names all.",)
