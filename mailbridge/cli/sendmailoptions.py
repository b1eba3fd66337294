"""The command line of sendmail(8), as programs have written it since 1983.

Options of other sendmails that would change nothing here are taken without a word. Those that would are refused: a
program that asks for something else must not believe that it got it.
"""

from __future__ import annotations

import getopt
import re
from collections.abc import Sequence

from attrs import define, field

from mailbridge.admin.messages import usage

_OPTIONS = "A:B:C:F:GL:N:O:R:UV:X:b:e:f:h:imno:p:q:r:stv"
_HARMLESS = ("-A", "-G", "-L", "-U", "-h", "-m", "-n", "-p", "-s", "-v")
_MODES = {
    "s": "SMTP on standard input is not spoken: connect to the SMTP listener of the bridge",
    "p": "the queue is shown by `mailbridge queue list`",
    "i": "there is no alias file: `mailbridge alias` keeps aliases",
    "I": "there is no alias file: `mailbridge alias` keeps aliases",
    "d": "the bridge is started by `twist mailbridge`",
    "D": "the bridge is started by `twist mailbridge`",
    "v": "recipients are explained by `mailbridge route FROM TO`",
    "t": "addresses are explained by `mailbridge route FROM TO`",
}
_ERROR_MODES = ("e", "m", "p", "q", "w")
_HARMLESS_O = re.compile(r"(?:e[empqw]|d[a-zA-Z]?|[AHLMST].*|c|f|m|s|v|o|7|8|j|n|G|B.?|h\d*|r.*)")
_HARMLESS_LONG = ("deliverymode", "errormode", "verbose", "queuesortorder", "sendmimeerrors", "logfile", "metoo",
                  "noop", "usersubmission")
_NOTIFY = {"success", "failure", "delay"}


@define
class SendmailOptions:
    """What a command line means. `sender` None: whoever runs it; empty: the null sender."""

    recipients: list[str] = field(factory=list)
    from_header: bool = False
    ignore_dots: bool = False
    sender: str | None = None
    full_name: str | None = None
    notify: list[str] = field(factory=list)
    ret: str | None = None
    envid: str | None = None
    config: str | None = None


def parse(argv: Sequence[str]) -> SendmailOptions:
    """The meaning of the arguments `argv`. Raises OperationError (usage)."""
    try:
        given, recipients = getopt.getopt(list(argv), _OPTIONS)
    except getopt.GetoptError as error:
        raise usage(str(error)) from None
    options = SendmailOptions(recipients)
    for option, value in given:
        _take(options, option, value)
    return options


def _take(options: SendmailOptions, option: str, value: str) -> None:
    match option:
        case "-t":
            options.from_header = True
        case "-i":
            options.ignore_dots = True
        case "-f" | "-r":
            options.sender = "" if value == "<>" else value
        case "-F":
            options.full_name = value
        case "-N":
            options.notify = _notify(value)
        case "-R":
            if value.lower() not in ("full", "hdrs"):
                raise usage(f"-R is full or hdrs, got {value[:40]!r}")
            options.ret = value.upper()
        case "-V":
            options.envid = value
        case "-C":
            options.config = value
        case "-B":
            if value.lower() not in ("7bit", "8bitmime"):  # what the message is made of is seen when it is read
                raise usage(f"-B is 7bit or 8bitmime, got {value[:40]!r}")
        case "-b":
            if value != "m":
                raise usage(f"-b{value[:40]}: {_MODES.get(value, 'there is no such mode here')}")
        case "-e":
            if value not in _ERROR_MODES:
                raise usage(f"-e{value[:40]}: there is no such error mode")
        case "-o":
            _old(options, value)
        case "-O":
            _long(options, value)
        case "-q":
            raise usage("-q: the queue runs by itself; `mailbridge queue retry --all` tries everything now")
        case _ if option not in _HARMLESS:
            raise usage(f"{option}: this option is not known here")


def _old(options: SendmailOptions, value: str) -> None:
    """One of the -o options of the first sendmail."""
    if value == "i":
        options.ignore_dots = True
    elif not _HARMLESS_O.fullmatch(value):
        raise usage(f"-o{value[:40]}: this option is not known here")


def _long(options: SendmailOptions, value: str) -> None:
    name, _, argument = value.partition("=")
    if name.lower() == "ignoredots":
        options.ignore_dots = argument.lower() not in ("false", "no", "f", "n")
    elif name.lower() not in _HARMLESS_LONG:
        raise usage(f"-O{name[:40]}: this option is not known here")


def _notify(value: str) -> list[str]:
    words = [word.strip().lower() for word in value.split(",")]
    if words == ["never"] or (words and set(words) <= _NOTIFY):
        return [word.upper() for word in words]
    raise usage(f"-N is never, or some of success,failure,delay, got {value[:40]!r}")
