"""The options of `mailbridge send`, and what they mean as keywords of `sendmessage`: one option a keyword.

Files, secrets and standard input are read here, before anything is connected to.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mailbridge.admin.messages import usage
from mailbridge.cli.newmessage import Attachment, checked_header, new_message
from mailbridge.cli.options import config_path
from mailbridge.cli.submission import read_submission
from mailbridge.config.servers import parse_server
from mailbridge.errors import ConfigError, StartError
from mailbridge.sendmail import INSECURE, SECURE, Phase, Trust

PASSWORD = "MAILBRIDGE_PASSWORD"
LONGEST_SECRET = 64 * 1024
LONGEST_PEM = 1024 * 1024
_PHASES = {phase.name.lower(): phase for phase in Phase}
Keywords = dict[str, Any]


@frozen
class Here:
    """Where a command finds things: standard input, the environment, and the terminal for a password (None: none)."""

    read: Callable[[], bytes]
    environment: Mapping[str, str]
    secret: Callable[[str], str] | None


def here() -> Here:
    """This process."""
    return Here(lambda: sys.stdin.buffer.read(), os.environ, getpass.getpass if _has_terminal() else None)


def _has_terminal() -> bool:
    """Whether there is one to ask at; getpass would else read the message from standard input."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    add = parser.add_argument
    add("recipients", nargs="*", metavar="RECIPIENT", help="whom to send to (default: as the headers say)")
    message = parser.add_argument_group("the message", "a text from standard input, unless said otherwise")
    add = message.add_argument
    add("--from", dest="author", metavar="ADDRESS", help="the From header, and the envelope sender")
    add("--originator", metavar="ADDRESS", help="the envelope sender, when it is another; '' is the null sender")
    add("--subject", metavar="TEXT")
    add("--cc", action="append", default=[], metavar="ADDRESS")
    add("--bcc", action="append", default=[], metavar="ADDRESS")
    add("--header", action="append", default=[], metavar="NAME:VALUE", help="a further header (repeatable)")
    add("--file", type=Path, help="read the text from a file")
    add("--attach", action="append", default=[], type=Path, metavar="FILE", help="attach a file (repeatable)")
    add("--message", metavar="FILE", help="send this message, header and all ('-': standard input)")
    add("--from-message", action="store_true", help="take the recipients of the message's own To, Cc, Bcc, Dcc too")
    add("--bcc-digest", action="store_true", help="blind recipients get a message that holds the message")
    server = parser.add_argument_group("the server", "without --server, the bridge on this machine")
    add = server.add_argument
    add("--server", action="append", default=[], metavar="HOST[:PORT]", help="or the path of a UNIX socket (repeatable:"
        " the first that talks to us)")
    add("--tls", choices=("opportunistic", "require", "implicit", "off"))
    add("--tls-policy", choices=(SECURE, INSECURE), help="without TLS: give the server up, or go on in clear")
    add("--no-verify", action="store_true", help="believe any certificate")
    add("--ca", type=Path, metavar="FILE", help="believe these authorities (PEM)")
    add("--pin", metavar="SHA256", help="believe only the certificate with this fingerprint")
    add("--identity", type=Path, metavar="FILE", help="our own certificate with its key (PEM)")
    add("--client-name", metavar="HOST", help="the name to say in EHLO")
    add("--lmtp", action="store_true", help="speak LMTP")
    add("--bind", metavar="ADDRESS", help="connect from this address of ours")
    add("--bind-port", type=int, default=0, metavar="PORT")
    login = parser.add_argument_group("login", f"the password comes from --password-file, ${PASSWORD} or a question")
    add = login.add_argument
    add("--user", metavar="NAME")
    add("--password-file", type=Path, metavar="FILE")
    add("--token-file", type=Path, metavar="FILE", help="log in with an OAuth token")
    add("--two-step", action="store_true", help="wait with the token until the server asks for it")
    add("--external", action="store_true", help="log in by our certificate")
    add("--password-in-clear", action="store_true", help="show the password without TLS, if the server wants that")
    add("--login-optional", action="store_true", help="go on when the login is refused")
    how = parser.add_argument_group("how")
    add = how.add_argument
    add("--at-least-one", action="store_true", help="send though some recipients are refused (exit code: of these)")
    add("--queue", action="store_true", help="ask the server to queue it (XQUE)")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="for everything (default: 120)")
    add("--limit", action="append", default=[], metavar="PHASE=SECONDS", help=f"PHASE: {', '.join(_PHASES)}")
    add("--notify", action="append", default=[], choices=("never", "success", "failure", "delay"),
        help="which notices to ask for (repeatable)")
    add("--ret", choices=("full", "hdrs"), help="what a notice gives back")
    add("--envid", metavar="TEXT", help="what a notice names the message by")
    add("--context", metavar="TEXT", help="given back in the result")
    add("--log", action="store_true", help="show the dialogue on standard error, secrets masked")


def keywords(args: argparse.Namespace, at: Here) -> tuple[bytes, Keywords]:
    """(the message, the keywords). Raises OperationError (usage), StartError, and OSError for a file."""
    headers = _headers(args)
    message = _message(args, at)
    names = {name.lower() for name, _ in headers}
    if args.message is None and args.originator is None and not names & {"from", "resent-from"}:
        raise usage("there is no sender: name one with --from")
    recipients: object = [*args.recipients, *args.cc, *args.bcc] if args.recipients and not args.bcc_digest else None
    if args.from_message:
        if args.recipients:
            raise usage("--from-message reads the recipients of the message: name none beside it")
        recipients = "from-message"
    return message, {
        "headers": headers,
        "originator": args.originator,
        "recipients": recipients,
        "bcc": "digest" if args.bcc_digest else "deliver",
        "at_least_one": args.at_least_one,
        "queue": args.queue,
        "timeout": args.timeout,
        "limits": dict(_limit(text) for text in args.limit),
        "bind_address": args.bind,
        "bind_port": args.bind_port,
        "client_name": args.client_name,
        "lmtp": args.lmtp,
        "notify": [word.upper() for word in args.notify],
        "ret": args.ret.upper() if args.ret else None,
        "envid": args.envid,
        "context": args.context,
        **_server(args),
        **_login(args, at),
    }


def _headers(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Header fields, checked and encoded."""
    given = []
    for text in args.header:
        name, colon, value = text.partition(":")
        if not colon:
            raise usage(f"--header is NAME:VALUE, got {text[:60]!r}")
        given.append((name.strip(), value.strip()))
    if args.author is not None:
        given.append(("From", args.author))
    if args.recipients and (args.message is None or args.bcc_digest):
        given.append(("To", ", ".join(args.recipients)))
    given += [(name, ", ".join(values)) for name, values in (("Cc", args.cc), ("Bcc", args.bcc)) if values]
    if args.subject is not None:
        given.append(("Subject", args.subject))
    return [checked_header(name, value) for name, value in given]


def _message(args: argparse.Namespace, at: Here) -> bytes:
    if args.message is not None:
        if args.file is not None or args.attach:
            raise usage("--message is a whole message: --file and --attach make a new one")
        return at.read() if args.message == "-" else Path(args.message).read_bytes()
    text = at.read() if args.file is None else args.file.read_bytes()
    files = [Attachment(path.name, path.read_bytes()) for path in args.attach]
    return new_message([], text, files, f"=_{os.urandom(18).hex()}")


def _limit(text: str) -> tuple[Phase, float]:
    name, _, seconds = text.partition("=")
    try:
        phase, limit = _PHASES[name.lower()], float(seconds)
    except (KeyError, ValueError):
        raise usage(f"--limit is PHASE=SECONDS, got {text[:60]!r}; the phases are {', '.join(_PHASES)}") from None
    if not limit > 0:
        raise usage("--limit is a number of seconds above 0")
    return phase, limit


def _server(args: argparse.Namespace) -> Keywords:
    local = None
    servers, ports = [], []
    for text in args.server:
        try:
            host, port = (text, None) if text.startswith("/") else parse_server(text)
        except ValueError as error:
            raise usage(f"--server {error}") from None
        servers.append(host)
        ports.append(port or (465 if args.tls == "implicit" else 25))
    if not servers:
        try:
            local = read_submission(config_path(args))
        except ConfigError as error:
            raise StartError(f"there is no --server, and no bridge on this machine: {error}") from None
        servers, ports = [local.host], [local.port or 25]
    asked = args.no_verify or args.ca or args.pin or args.identity
    trust = None
    if asked or local is not None:  # what listens on loopback need not prove who it is
        try:
            trust = Trust(not args.no_verify and bool(args.ca or local is None), _pem(args.ca), args.pin,
                          _pem(args.identity))
        except ValueError as error:
            raise usage(f"--ca, --pin or --identity: {error}") from None
    return {
        "servers": servers, "ports": ports, "trust": trust,
        "tls": args.tls or (local.tls if local is not None else "opportunistic"),
        "tls_policy": (lambda code, text: args.tls_policy) if args.tls_policy else None,
        "password_in_clear": args.password_in_clear or local is not None,
    }


def _login(args: argparse.Namespace, at: Here) -> Keywords:
    login: Keywords = {"username": args.user, "two_step": args.two_step, "external": args.external,
                       "login_required": not args.login_optional}
    if args.token_file is not None:
        return {**login, "token": _first_line(args.token_file)}
    if args.user is None or args.external:
        return login
    if args.password_file is not None:
        return {**login, "password": _first_line(args.password_file)}
    if PASSWORD in at.environment:
        return {**login, "password": at.environment[PASSWORD]}
    if at.secret is None:
        raise usage(f"there is nobody to ask for a password: use --password-file FILE or ${PASSWORD}")
    try:
        return {**login, "password": at.secret(f"Password for {args.user}: ")}
    except EOFError:
        raise usage("no password was given") from None


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        octets = file.read(LONGEST_SECRET)
    try:
        return octets.partition(b"\n")[0].removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise usage(f"{path}: is not UTF-8") from None


def _pem(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as file:
        octets = file.read(LONGEST_PEM)
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise usage(f"{path}: is not PEM") from None
