"""`mailbridge send`: sends one message by SMTP, to any server or to the bridge on this machine.

Exit codes are those of sysexits.h (see `cli.sysexits`); with --json the result or the failure is an object.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, TextIO

from attrs import asdict
from twisted.internet.defer import Deferred

from mailbridge.admin.plain import plain
from mailbridge.admin.status import size
from mailbridge.cli import sysexits
from mailbridge.cli.loop import run_reactor
from mailbridge.cli.options import Subparsers, show, warn
from mailbridge.cli.sendoptions import Keywords, add_options, here, keywords
from mailbridge.sendmail import Refusal, SendFailure, SendResult, sendmessage

LARGE = 256 * 1024
Send = Callable[..., "Deferred[SendResult]"]


def add_to(subparsers: Subparsers) -> None:
    """Add `send` to the command line."""
    parser = subparsers.add_parser("send", help="send a message by SMTP")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send it. Errors: OperationError (usage), StartError."""
    try:
        message, options = keywords(args, here())
    except OSError as error:
        warn(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return sysexits.NO_INPUT
    if len(message) >= LARGE and sys.stderr.isatty():
        options["progress"] = Progress(sys.stderr)

    from twisted.internet import reactor

    return run_reactor(reactor, lambda: send(args, reactor, message, options))


async def send(
    args: argparse.Namespace, reactor: Any, message: bytes, options: Keywords, sendmessage: Send = sendmessage
) -> int:
    """Send it, and say what came of it."""
    log = (lambda line: print(plain(line), file=sys.stderr)) if args.log else False
    try:
        result = await sendmessage(reactor, message, transaction_log=log, **options)
    except SendFailure as failure:
        code = sysexits.of_failure(failure)
        tell(failure.refused)
        if failure.maybe_sent:
            warn("all of the message had gone out when this happened: the server may have it")
        if args.json:
            show(args, {"sent": False, "exit": code, **record(failure)}, "")
        warn(plain(failure.line))
        return code
    tell(result.refused)
    facts = "".join(f", {plain(fact)}" for fact in (result.tls, result.mechanism) if fact)
    show(args, {"sent": True, **asdict(result)}, f"sent to {plain(result.server)}{facts}: {plain(result.answer)}")
    return sysexits.of_refused(result.refused)


def tell(refused: tuple[Refusal, ...], program: str = "mailbridge") -> None:
    """Each refused recipient on a line of standard error."""
    for each in refused:
        print(f"{program}: {plain(each.address)}: {plain(each.text)}", file=sys.stderr)


def record(failure: SendFailure) -> dict[str, Any]:
    """A failure as JSON values."""
    return {
        "kind": failure.kind, "line": failure.line, "code": failure.code, "maybe_sent": failure.maybe_sent,
        "reasons": [{"server": server, "reason": reason} for server, reason in failure.reasons],
        "refused": [asdict(each) for each in failure.refused], "context": failure.context,
        "transcript": failure.transcript,
    }


class Progress:
    """Tells on a terminal how much has gone out, a new line at the end."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._told = -1

    def __call__(self, sent: int, total: int) -> None:
        """Octets so far."""
        percent = 100 * sent // total
        if percent != self._told:
            self._told = percent
            self._terminal.write(f"\r{percent:3} % of {size(total)}" + ("\n" if sent == total else ""))
            self._terminal.flush()
