"""`mailbridge status`: how the running bridge is, as a Nagios plug-in says it.

Exit code 0 OK, 1 warning, 2 critical (also when nothing runs), 3 unknown. One summary line, then details.
"""

from __future__ import annotations

import argparse
from typing import Any

from mailbridge.admin.call import NotRunning, call
from mailbridge.admin.control import socket_path
from mailbridge.admin.status import Level, size
from mailbridge.cli.loop import run_reactor
from mailbridge.cli.options import Subparsers, read_config, show
from mailbridge.errors import MailbridgeError

CODES = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}
UNKNOWN = 3
PATIENCE = 20.0


def add_to(subparsers: Subparsers) -> None:
    """Add `status` to the command line."""
    subparsers.add_parser("status", help="tell how the bridge is (exit code as Nagios wants it)").set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the running bridge and print what it says."""
    try:
        path = socket_path(read_config(args).state)
    except MailbridgeError as error:
        return unknown(args, str(error))

    from twisted.internet import reactor

    async def ask() -> dict[str, Any]:
        told: dict[str, Any] = await call(reactor, path, "status", {}, PATIENCE)
        return told

    try:
        return tell(args, run_reactor(reactor, ask))
    except NotRunning:
        text = "it is not running: start it with `mailbridge start`"
        show(args, {"level": Level.CRITICAL, "problems": [{"level": Level.CRITICAL, "text": text}]},
             f"mailbridge CRITICAL: {text}")
        return CODES[Level.CRITICAL]
    except MailbridgeError as error:
        return unknown(args, str(error))


def unknown(args: argparse.Namespace, reason: str) -> int:
    """The state could not be found out."""
    first, *more = reason.splitlines() or [""]
    show(args, {"level": "unknown", "problems": [{"level": "unknown", "text": reason}]},
         "\n".join([f"mailbridge UNKNOWN: {first}", *more]))
    return UNKNOWN


def tell(args: argparse.Namespace, told: dict[str, Any]) -> int:
    """Print a summary line and details; the exit code."""
    level = Level(told["level"])
    sessions = sum(told["sessions"].values())
    summary = "; ".join(problem["text"] for problem in told["problems"]) or (
        f"{sessions} sessions, {told['users']} users, {size(told['free_octets'])} free"
    )
    by_kind = ", ".join(f"{count} {kind}" for kind, count in told["sessions"].items()) or "none"
    certificate = told["certificate_days"]
    oldest = "" if told["oldest"] is None else f", the oldest for {duration(told['now'] - told['oldest'])}"
    details = [
        f"version      {told['version']}, process {told['pid']}, up {duration(told['uptime'])}",
        f"host name    {told['hostname']}",
        f"listening    {', '.join(told['listeners']) or 'nowhere'}",
        f"sessions     {by_kind}",
        f"users        {told['users']}, aliases {told['aliases']}",
        f"queue        {told['queue']} deliveries wait{oldest}",
        f"free room    {size(told['free_octets'])}",
        f"certificate  {'none' if certificate is None else f'{certificate:.0f} days left'}",
    ]
    show(args, told, "\n".join([f"mailbridge {level.upper()}: {summary}", *details]))
    return CODES[level]


def duration(seconds: float) -> str:
    """`3 d 4 h`, `4 h 5 min` or `5 min`."""
    minutes = int(seconds // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
