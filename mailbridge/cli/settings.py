"""`mailbridge settings`: the settings in force, those that fauSMTP had first; secrets are never shown."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

from attrs import asdict, fields

from mailbridge.cli.connect import Ask, converse
from mailbridge.cli.options import Subparsers, read_config, show
from mailbridge.cli.people import has_store
from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.model import Config, OCESettings
from mailbridge.config.switches import DEDICATED

_HIDDEN = "(set, not shown)"


def add_to(subparsers: Subparsers) -> None:
    """Add `settings` to the command line."""
    subparsers.add_parser("settings", help="show the settings in force, without secrets").set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print them. Errors: ConfigError, StartError, NotAllowed, OperationError."""
    config = read_config(args)
    first = {**historic(config), "registered": registered(config)}
    lines = [f"{name:14} {_text(value)}" for name, value in first.items()]
    lines += ["", *(f"{name} = {_text(value)}" for name, value in flat(plain(config)).items())]
    show(args, {"switches": first, "settings": plain(config)}, "\n".join(lines))
    return 0


def historic(config: Config) -> dict[str, Any]:
    """The settings of fauSMTP by its names; None for what is not set."""
    default = next((relay for relay in config.relay.values() if relay.default or len(config.relay) == 1), None)
    dedicated = config.relay.get(DEDICATED)
    server = None
    if dedicated is not None and dedicated.dedicatedsmtp is not None:
        host, port, user, _ = dedicated.dedicatedsmtp
        server = ",".join(filter(None, (host, str(port), user)))
    return {
        "smtpport": _port(config.smtp[0].listen) if config.smtp else None,
        "pop3port": _port(config.pop3[0].listen) if config.pop3 else None,
        "jsonport": _oce_port(config.oce) if config.oce is not None else None,
        "usefromsmtp": int(default is not None and default.use_from),
        "dedicatedsmtp": server,
    }


def registered(config: Config) -> str | None:
    """Whether the bridge is registered with its OCE, and who did it; None without an OCE.

    Runs the reactor: once in a process. Errors: StartError, NotAllowed, OperationError.
    """
    if config.oce is None:
        return None
    if not has_store(config):  # looking never makes a store
        return "no"

    async def work(ask: Ask) -> dict[str, Any]:
        told: dict[str, Any] = await ask("oce pullinfo", {})
        return told

    told = converse(config, work)
    return f"yes, as {told['app_id']} by {told['member']}" if told["registered"] else "no"


def _oce_port(oce: OCESettings) -> int | None:
    if oce.url is None:
        return _port(oce.listen)
    parts = urlsplit(oce.url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


def _port(listen: str) -> int | None:
    kind, _, port = parse_endpoint(listen).place.partition(" ")
    return int(port) if kind == "port" else None


def plain(config: Config) -> dict[str, Any]:
    """Every setting as JSON values. What no repr shows is a secret."""
    return {name: value for name, value in _plain(config).items() if name != "source"}


def _plain(value: Any) -> Any:
    if hasattr(type(value), "__attrs_attrs__"):
        hidden = {field.name for field in fields(type(value)) if not field.repr}
        values = asdict(value, recurse=False)
        return {name: _HIDDEN if name in hidden and each else _plain(each) for name, each in values.items()}
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Each setting by its place, `smtp[0].listen`."""
    if isinstance(value, dict):
        inner = [(f"{place}.{name}" if place else name, each) for name, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        inner = [(f"{place}[{number}]", each) for number, each in enumerate(value)]
    else:
        return {place: value}
    return {name: each for at, below in inner for name, each in flat(below, at).items()}


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
