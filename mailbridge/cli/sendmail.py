"""A drop-in for /usr/sbin/sendmail: a message from standard input, handed to the bridge on this machine by SMTP.

Reads nothing but the listener out of the configuration (`cli.submission`). One line on standard error for what went
wrong, and an exit code of sysexits.h: 75 when the bridge is down, so that the caller keeps the message.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from attrs import frozen
from twisted.internet.defer import Deferred

from mailbridge.admin.messages import OperationError, usage
from mailbridge.admin.plain import plain
from mailbridge.cli import sysexits
from mailbridge.cli.loop import run_reactor
from mailbridge.cli.newmessage import checked_header
from mailbridge.cli.send import tell
from mailbridge.cli.sendmailoptions import SendmailOptions, parse
from mailbridge.cli.submission import Submission, read_submission
from mailbridge.config.find import SYSTEM, find_config
from mailbridge.errors import AddressError, ConfigError, MailbridgeError, StartError
from mailbridge.lines import Normaliser
from mailbridge.message.header import end_of_header, fields
from mailbridge.message.mailboxes import parse_mailboxes
from mailbridge.sendmail import Kind, SendFailure, SendResult, Trust, sendmessage

PROGRAM = "sendmail"
NAMES = ("sendmail", "mailbridge-sendmail")
TIMEOUT = 600.0
_TO = (b"to", b"cc", b"bcc")

Keywords = dict[str, Any]
Send = Callable[..., "Deferred[SendResult]"]


class TooLarge(MailbridgeError):
    """The message is larger than the bridge takes."""


@frozen
class Caller:
    """Who runs it: the login name, and the full name (empty if unknown)."""

    login: str
    name: str


def caller(user: int) -> Caller:
    """The user of this id."""
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return Caller(f"uid{user}", "")
    return Caller(entry.pw_name, entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own, without its name); the exit code."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        door = read_submission(config_path(options.config))
        message = read_message(sys.stdin.buffer, options.ignore_dots, door.message_size)
        keywords = prepare(options, message, door, caller(os.getuid()))
    except OperationError as error:
        return fail(str(error), sysexits.USAGE)
    except (StartError, ConfigError) as error:
        return fail(str(error), sysexits.CONFIGURATION)
    except (TooLarge, AddressError) as error:
        return fail(str(error), sysexits.DATA)
    except OSError as error:
        return fail(f"standard input: {error.strerror}", sysexits.NO_INPUT)
    except KeyboardInterrupt:
        return fail("interrupted: nothing was sent", sysexits.INTERRUPTED)

    from twisted.internet import reactor

    try:
        return run_reactor(reactor, lambda: hand_in(reactor, message, keywords))
    except KeyboardInterrupt:
        return fail("interrupted: it may have been sent", sysexits.INTERRUPTED)
    except Exception as error:
        return fail(f"a fault of mailbridge itself: {type(error).__name__}: {error}", sysexits.SOFTWARE)


def config_path(named: str | None) -> Path:
    """The configuration that -C names, else of the environment, else of the system. Raises ConfigError.

    Never that of the working folder: sendmail runs anywhere, also where strangers may put files.
    """
    return find_config(os.path.abspath(named) if named is not None else None, os.environ, SYSTEM.parent)


def fail(line: str, code: int) -> int:
    """Say one line; the exit code."""
    print(f"{PROGRAM}: {plain(line)}", file=sys.stderr)
    return code


def read_message(stdin: BinaryIO | Iterable[bytes], ignore_dots: bool, most: int) -> bytes:
    """The message, CR LF at each line end. A line that is only a dot ends it, unless `ignore_dots`.

    A first line `From ...`, as mailbox files have it, is left out.
    """
    lines: list[bytes] = []
    octets = 0
    for line in stdin:
        if not ignore_dots and line in (b".\n", b".\r\n", b"."):
            break
        if not octets and line.startswith(b"From "):
            continue
        octets += len(line)
        if octets > most:
            raise TooLarge(f"the message is larger than the {most} octets that the bridge takes")
        lines.append(line)
    normaliser = Normaliser()
    return normaliser.feed(b"".join(lines)) + normaliser.finish()


def prepare(options: SendmailOptions, message: bytes, door: Submission, who: Caller) -> Keywords:
    """The keywords of `sendmessage`. Raises OperationError (usage) or AddressError."""
    end = end_of_header(message)
    head = list(fields(message if end < 0 else message[:end]))
    if not all(name for name, _ in head):  # a text without a header
        head = []
    recipients = [address.text for text in options.recipients for address in parse_mailboxes(text)]
    if options.from_header:
        recipients += header_recipients(head)
        if not recipients:
            raise AddressError("no recipient in To, Cc or Bcc of the message")
    elif not recipients:
        raise usage("name a recipient, or use -t to take those of the message")
    sender = originator(options, door, who)
    return {
        "servers": [door.host], "ports": [door.port or 25], "tls": door.tls, "trust": Trust(verify=False),
        "originator": sender, "recipients": list(dict.fromkeys(recipients)), "at_least_one": True,
        "headers": author(options, {name for name, _ in head}, sender, door, who),
        "notify": options.notify, "ret": options.ret, "envid": options.envid, "timeout": TIMEOUT,
    }


def header_recipients(head: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Every recipient that the header names: of the Resent- fields if there are any, else of To, Cc and Bcc."""
    resent = any(name.startswith(b"resent-") and name.removeprefix(b"resent-") in _TO for name, _ in head)
    wanted = tuple(b"resent-" + name for name in _TO) if resent else _TO
    found = []
    for name, octets in head:
        if name in wanted:
            value = octets.partition(b":")[2].decode("utf-8", "surrogateescape")
            found += [address.text for address in parse_mailboxes(value)]
    return found


def originator(options: SendmailOptions, door: Submission, who: Caller) -> str:
    """The envelope sender, with the local domain where it has none; empty for the null sender."""
    text = who.login if options.sender is None else options.sender
    if not text.strip():
        return ""
    found = parse_mailboxes(text)
    if len(found) != 1:
        raise AddressError(f"-f takes one address, got {plain(text, 80)!r}")
    return found[0].text if found[0].domain else f"{found[0].text}@{door.domain}"


def author(
    options: SendmailOptions, present: set[bytes], sender: str, door: Submission, who: Caller
) -> list[tuple[str, str]]:
    """The From header for a message that has none."""
    if b"from" in present or b"resent-from" in present:
        return []
    address = sender or f"MAILER-DAEMON@{door.domain}"
    full = options.full_name
    if full is None and options.sender is None:
        full = who.name
    if not full:
        return [("From", address)]
    quoted = full.replace("\\", "\\\\").replace('"', '\\"')
    return [checked_header("From", f'"{quoted}" <{address}>')]


async def hand_in(reactor: Any, message: bytes, keywords: Keywords, sendmessage: Send = sendmessage) -> int:
    """Give it to the bridge, and say what went wrong; the exit code."""
    try:
        result = await sendmessage(reactor, message, **keywords)
    except SendFailure as failure:
        code = sysexits.of_failure(failure)
        if failure.kind is Kind.CONNECTION and not failure.maybe_sent:
            return fail(f"mailbridge is not running: {failure.line}", sysexits.TEMPORARY)
        if failure.refused:
            tell(failure.refused, PROGRAM)
            return code
        return fail(failure.line, code)
    tell(result.refused, PROGRAM)
    return sysexits.of_refused(result.refused)
