"""The command `mailbridge`: finds the sub-command, runs it, turns what it raises into one line and an exit code.

| code | meaning                                                                                |
|------|----------------------------------------------------------------------------------------|
| 0    | done                                                                                   |
| 1    | it did not work, or contradicts what is stored                                         |
| 64   | the command line or the configuration is wrong                                         |
| 78   | it cannot start: state, certificate, a path                                            |
| 130  | interrupted                                                                            |

`status` has the exit codes of a Nagios plug-in instead, `send` and a link named `sendmail` those of sysexits.h.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import PurePath

from mailbridge import __version__
from mailbridge.admin.call import NotAllowed
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.cli import (
    alias,
    cert,
    check,
    clearqueue,
    client,
    demo,
    fetch,
    historic,
    importreg,
    oce,
    pullinfo,
    queue,
    register,
    reload,
    restart,
    route,
    send,
    sendmail,
    set,
    settings,
    start,
    status,
    stop,
    user,
)
from mailbridge.cli.options import EX_USAGE, CommandParser, warn
from mailbridge.errors import ConfigError, MailbridgeError, StartError

COMMANDS = (demo, check, cert, user, alias, route, client, status, reload, queue, clearqueue, send, fetch, importreg,
            settings, set, start, stop, restart, register, pullinfo, oce)
EX_FAILED = 1
EX_CONFIG = 78
EX_INTERRUPTED = 130


def parser() -> CommandParser:
    """The parser of the whole command line."""
    top = CommandParser(prog="mailbridge", description="Look after a mailbridge, whether it runs or not.")
    top.add_argument("--version", action="version", version=f"mailbridge {__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add_to(subparsers)
    return top


def _historic(words: list[str]) -> int:
    """The command line of fauSMTP; the exit code of the first command that failed."""
    try:
        plan = historic.parse(words)
    except historic.BadCommandLine as error:
        _say(error)
        return EX_USAGE
    codes = (main(each) if historic.runs_here(plan, each) else historic.run(each) for each in historic.commands(plan))
    return next((code for code in codes if code), 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); the exit code."""
    if argv is None and PurePath(sys.argv[0]).name in sendmail.NAMES:  # a link to us in the place of sendmail
        return sendmail.main()
    words = sys.argv[1:] if argv is None else list(argv)
    if historic.is_historic(words):
        return _historic(words)
    args = parser().parse_args(words)
    args.config, args.json = getattr(args, "config", None), getattr(args, "json", False)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        _say(error)
        return EX_USAGE
    except OperationError as error:
        _say(error)
        return EX_USAGE if error.kind is Kind.USAGE else EX_FAILED
    except StartError as error:
        _say(error)
        return EX_CONFIG
    except (NotAllowed, MailbridgeError) as error:
        _say(error)
        return EX_FAILED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; nothing is left to say, not even at the interpreter's end
        return EX_FAILED
    except KeyboardInterrupt:
        warn("interrupted")
        return EX_INTERRUPTED


def _say(error: Exception) -> None:
    for line in str(error).splitlines():
        warn(line)
