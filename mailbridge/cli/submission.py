"""The door of the local bridge: the first SMTP listener of its configuration that a program on this machine can use.

Any user may run sendmail, but the secrets that the configuration names are for the bridge alone. So only the few keys
that matter here are read, and none of the files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from mailbridge.config.endpoint import Endpoint, parse_endpoint
from mailbridge.config.load import MAX_OCTETS, this_host
from mailbridge.config.units import size
from mailbridge.errors import StartError
from mailbridge.limits import Limits

LIMIT = size(1, 2**40)
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@frozen
class Submission:
    """Where local mail is handed in: `host` (or the path of a UNIX socket) and `port`.

    `tls` is that of `sendmessage`; `domain` completes names without one; `message_size` is what the bridge takes.
    """

    host: str
    port: int
    tls: str
    domain: str
    message_size: int


def read_submission(path: Path) -> Submission:
    """The door that the configuration `path` opens. Raises StartError with the remedy."""
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(MAX_OCTETS).decode("utf-8-sig"))
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}: let its users read it (with secrets in files of "
                         "their own), or name another with -C") from None
    except (ValueError, RecursionError):
        raise StartError(f"{path}: is not TOML: `mailbridge check` shows where") from None
    for listener, endpoint in sorted(_listeners(document), key=lambda found: _rank(found[1])):
        host = endpoint.place.removeprefix("path ") if endpoint.kind == "unix" else endpoint.interface
        port = int(endpoint.place.removeprefix("port ")) if endpoint.kind != "unix" else 0
        tls = "require" if listener.get("starttls") == "require" else "off"
        if listener.get("tls") is True:
            tls = "implicit"
        any_address = "::" if endpoint.kind == "tcp6" else ""
        return Submission(LOOPBACK.get(host or any_address, host), port, tls, _domain(document), _size(document))
    raise StartError(f"{path}: has no [[smtp]] listener for programs on this machine: add one with "
                     'listen = "tcp:PORT:interface=127.0.0.1" (a port that is not 0, no haproxy, auth not "require")')


def _listeners(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Endpoint]]:
    tables = document.get("smtp")
    for table in tables if isinstance(tables, list) else []:
        if not isinstance(table, dict) or table.get("auth") == "require":
            continue
        try:
            endpoint = parse_endpoint(table.get("listen"))
        except ValueError:
            continue
        if not endpoint.proxied and endpoint.kind != "systemd" and endpoint.place != "port 0":
            yield table, endpoint


def _rank(endpoint: Endpoint) -> int:
    """UNIX sockets first, then loopback, then what listens everywhere."""
    return 0 if endpoint.kind == "unix" else 1 if endpoint.is_local else 2


def _domain(document: dict[str, Any]) -> str:
    users, name = document.get("users"), document.get("hostname")
    domains = users.get("domains") if isinstance(users, dict) else None
    first = domains[0] if isinstance(domains, list) and domains else name
    return first if isinstance(first, str) and first else this_host()


def _size(document: dict[str, Any]) -> int:
    limits = document.get("limits")
    try:
        return LIMIT(limits["message_size"]) if isinstance(limits, dict) else Limits().message_size
    except (KeyError, ValueError):
        return Limits().message_size
