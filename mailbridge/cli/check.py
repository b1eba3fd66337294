"""`mailbridge check`: everything that is wrong with the configuration, the users and, when asked, the store.

Faults make it fail; warnings are what hardly was meant, and what will be a fault soon. It changes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from attrs import Factory, define

from mailbridge import certificate
from mailbridge.accounts.foreign import load_checker
from mailbridge.cli.options import Subparsers, read_config, show
from mailbridge.cli.people import has_store, read_people
from mailbridge.config import rooms
from mailbridge.config.model import Config
from mailbridge.config.warnings import warnings
from mailbridge.errors import ConfigError, MailbridgeError, StartError
from mailbridge.routing.directory import Directory
from mailbridge.store import room
from mailbridge.store.changes import People
from mailbridge.store.check import check_store, orphan_octets


@define
class Findings:
    """What was found, each in a line of its own."""

    faults: list[str] = Factory(list)
    warnings: list[str] = Factory(list)
    notes: list[str] = Factory(list)

    def text(self, source: str) -> str:
        """Every finding, then the sum."""
        lines = [
            *(f"fault: {fault}" for fault in self.faults),
            *(f"warning: {warning}" for warning in self.warnings),
            *self.notes,
        ]
        number = len(self.faults)
        verdict = f"{number} fault{'s' if number != 1 else ''}" if number else "no faults"
        return "\n".join([*lines, f"{source}: {verdict}, {len(self.warnings)} warnings"])


def check_certificate(config: Config, now: float, findings: Findings) -> None:
    """Load the certificate as the listeners do, and see how long it is good."""
    if config.tls is None:
        return
    try:
        certificate.load_context(config.tls.certificate, config.tls.key)
        said = certificate.warning(certificate.read(config.tls.certificate), now)
    except StartError as error:
        findings.faults.append(str(error))
        return
    if said is not None:
        findings.warnings.append(f"{config.tls.certificate}: {said}")


def check_ways(config: Config, findings: Findings) -> None:
    """Make the relays as the bridge does: their certificates are read; and look for the receiver's checker."""
    checker = config.receiver.authentication_lib
    for make in (lambda: rooms.relay_plans(config), lambda: load_checker(checker) if checker is not None else None):
        try:
            make()
        except StartError as error:
            findings.faults.append(str(error))


def check_people(config: Config, people: People) -> Iterable[str]:
    """What is to be said of users and aliases under this configuration."""
    users = config.users
    directory = Directory(users.domains, users.tag_separator, users.postmaster)
    directory.replace(people)
    if not people.users:
        return ["there is no user yet, so nobody gets mail: make one with `mailbridge user add NAME`"]
    return directory.check()


def check(config: Config, now: float, with_store: bool) -> Findings:
    """Look at everything. Runs the reactor when there is a store."""
    findings = Findings(warnings=warnings(config))
    check_certificate(config, now, findings)
    check_ways(config, findings)
    little_room = room.warning(config.state, config.store.min_free)
    if little_room is not None:
        findings.warnings.append(little_room)
    path = config.state / config.store.url.removeprefix("sqlite:")
    try:
        findings.warnings += check_people(config, read_people(config))
        there = has_store(config)
    except MailbridgeError as error:
        findings.faults.append(str(error))
        return findings
    if with_store and there:
        findings.faults += check_store(path)
        findings.notes.append(f"store {path}: checked, {orphan_octets(path)} octets wait to be freed")
    elif with_store:
        findings.notes.append(f"store {path}: there is none yet; the first start makes it")
    return findings


def add_to(subparsers: Subparsers) -> None:
    """Add `check` to the command line."""
    parser = subparsers.add_parser("check", help="check the configuration and the users, and the store when asked")
    parser.add_argument("--store", action="store_true", help="read the whole store too, whether a bridge runs or not")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found: 0, or 1 when there is a fault. Errors: StartError when there is no configuration."""
    try:
        config = read_config(args)
    except ConfigError as error:
        source, findings = error.source, Findings(faults=[str(fault) for fault in error.faults])
    else:
        source, findings = config.source, check(config, time.time(), args.store)
    record = {
        "config": source, "faults": findings.faults, "warnings": findings.warnings, "notes": findings.notes
    }  # fmt: skip
    show(args, record, findings.text(source))
    return 1 if findings.faults else 0
