"""`mailbridge cert`: make a certificate for a LAN, or show the one that is configured.

It is the one command that must work before the configuration does: the files of `[tls]` may be what is missing. So it
reads only `hostname` and `[tls]` of the file, and no file at all is fine.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from attrs import evolve, frozen

from mailbridge import certificate
from mailbridge.certificate import LONGEST, Description, days_left, warning
from mailbridge.cli.options import Subparsers, config_path, show
from mailbridge.config.load import this_host
from mailbridge.errors import ConfigError, StartError

#: Nobody is there, and nothing is sent: asking the system for the way to them tells our own address in each network.
_FAR_AWAY = ("192.0.2.1", "10.255.255.254", "172.31.255.254", "192.168.255.254", "2001:db8::1", "fdff::1")
_DISCARD = 9


def own_addresses() -> tuple[str, ...]:
    """Addresses by which other machines may reach this one, loopback last; those that could be found."""
    found: list[str] = []
    for far in _FAR_AWAY:
        family = socket.AF_INET6 if ":" in far else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, _DISCARD))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    with suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)]
    lan = [text for text in found if "%" not in text and not ip_address(text).is_loopback]
    return tuple(dict.fromkeys([*lan, "127.0.0.1", "::1"]))


def names(hostname: str, extra: Iterable[str], addresses: Iterable[str]) -> tuple[str, ...]:
    """What a certificate is made for: the names asked for, the host name, its short form, localhost, addresses."""
    short = hostname.split(".")[0]
    own = [hostname] if short.isdigit() else [hostname, short]
    return tuple(dict.fromkeys([*extra, *own, "localhost", *addresses]))


@frozen
class Place:
    """Where the pair is or goes, and for which host; `source` is the configuration that says so, if there is one."""

    certificate: Path
    key: Path
    hostname: str
    source: Path | None
    configured: bool


def _text(value: object) -> str | None:
    """A path of the configuration: a string, or a table with `file`."""
    if isinstance(value, dict):
        value = value.get("file")
    return value if isinstance(value, str) and value else None


def place(source: Path | None) -> Place:
    """Read `hostname` and `[tls]` of the configuration, if there is one; relative paths are relative to it.

    Errors: StartError when the file cannot be read or is no TOML.
    """
    table: dict[str, object] = {}
    if source is not None:
        try:
            table = tomllib.loads(source.read_text("utf-8"))
        except OSError as error:
            raise StartError(f"{source}: {error.strerror}: give the right file with --config") from None
        except ValueError as error:
            raise StartError(f"{source}: is no TOML: {error}") from None
    tls = table.get("tls")
    tls = tls if isinstance(tls, dict) else {}
    certificate_path, key_path = _text(tls.get("certificate")), _text(tls.get("key"))
    folder = source.parent if source is not None else Path.cwd()
    return Place(
        certificate=folder / (certificate_path or "cert.pem"),
        key=folder / (key_path or "key.pem"),
        hostname=_text(table.get("hostname")) or this_host(),
        source=source,
        configured=certificate_path is not None and key_path is not None,
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _record(told: Description, now: float, **more: object) -> dict[str, object]:
    return {
        **more,
        "subject": told.subject,
        "issuer": told.issuer,
        "names": told.names,
        "not_before": told.not_before,
        "not_after": told.not_after,
        "days_left": round(days_left(told, now), 1),
        "sha256": told.fingerprint,
        "warning": warning(told, now),
    }


def _as_text(told: Description, now: float) -> str:
    issuer = "itself (self-signed)" if told.self_signed else told.issuer
    lines = [
        f"subject  {told.subject}",
        f"issuer   {issuer}",
        f"names    {', '.join(told.names)}",
        f"expires  {_day(told.not_after)} ({days_left(told, now):.0f} days)",
        f"SHA-256  {told.fingerprint}",
    ]
    said = warning(told, now)
    return "\n".join([*lines, *([f"Warning: {said}"] if said else [])])


def _next_steps(where: Place) -> str:
    if where.configured:
        return f"{where.source} names both files already. A running mailbridge takes them at the next SIGHUP."
    folder = where.source.parent if where.source is not None else Path.cwd()

    def quoted(path: Path) -> str:
        inside = path.is_relative_to(folder)
        return json.dumps(str(path.relative_to(folder) if inside else path.absolute()), ensure_ascii=False)

    return "\n".join(
        [
            f"Put this into {where.source or 'mailbridge.toml'} and start mailbridge anew. Its user must own the key:",
            "",
            "    [tls]",
            f"    certificate = {quoted(where.certificate)}",
            f"    key = {{ file = {quoted(where.key)} }}",
        ]
    )


def _show(where: Place, args: argparse.Namespace, now: float) -> int:
    told = certificate.read(where.certificate)
    show(args, _record(told, now, certificate=str(where.certificate)), _as_text(told, now))
    return 0 if told.not_before <= now < told.not_after else 1


def _make(where: Place, args: argparse.Namespace, now: float) -> int:
    wanted = names(where.hostname, [*args.name, *args.address], own_addresses())
    try:
        pair = certificate.make(wanted, args.days, now)
    except ValueError as error:
        raise StartError(str(error)) from None
    certificate.write(pair, where.certificate, where.key, replace=args.force)
    told = certificate.describe(pair.certificate)
    files = f"certificate  {where.certificate}\nprivate key  {where.key} (mode 0600)"
    show(
        args,
        _record(told, now, certificate=str(where.certificate), key=str(where.key)),
        f"{files}\n\n{_as_text(told, now)}\n\n{_next_steps(where)}",
    )
    return 0


def _configuration(args: argparse.Namespace) -> Path | None:
    """The configuration; None when there is none yet, which is no error here unless one was named."""
    try:
        return config_path(args)
    except ConfigError:
        if args.config is not None:
            raise
        return None


def run(args: argparse.Namespace) -> int:
    """Make or show. 0, or 1 when the certificate shown is not valid now. Errors: StartError."""
    where = place(_configuration(args))
    if args.certificate is not None or args.key is not None:
        chosen = args.certificate or where.certificate
        where = evolve(where, certificate=chosen, key=args.key or chosen.with_name("key.pem"), configured=False)
    now = time.time()
    return _show(where, args, now) if args.show else _make(where, args, now)


def add_to(subparsers: Subparsers) -> None:
    """Add `cert` to the command line."""
    parser = subparsers.add_parser("cert", help="make a certificate for a LAN, or show the configured one")
    parser.add_argument("--show", action="store_true", help="show names, expiry and fingerprint of the certificate")
    parser.add_argument("--name", action="append", default=[], metavar="HOST", help="a further host name (repeatable)")
    parser.add_argument("--address", action="append", default=[], metavar="IP", help="a further address (repeatable)")
    parser.add_argument("--days", type=int, default=LONGEST, help=f"for how long (default: {LONGEST}, the longest)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="where it is or goes (default: as configured)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="where the private key goes")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)
