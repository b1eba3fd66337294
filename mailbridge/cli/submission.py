"""The door of the local bridge: the SMTP listener of its configuration that a program on this machine uses best.

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
from mailbridge.config.historic import separated
from mailbridge.config.load import MAX_OCTETS, this_host
from mailbridge.config.receiver import application_client
from mailbridge.config.relays import receiver_listens
from mailbridge.config.units import size
from mailbridge.errors import StartError
from mailbridge.limits import Limits
from mailbridge.routing.access import AccessList
from mailbridge.routing.clients import ClientList

LIMIT = size(1, 2**40)
_CLIENTS = separated(application_client)
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
    doors = sorted(_doors(document), key=lambda found: found[0])
    if doors:
        _, host, port, tls = doors[0]
        return Submission(host, port, tls, _domain(document), _size(document))
    raise StartError(f"{path}: has no [[smtp]] listener for programs on this machine: add one with "
                     'listen = "tcp:PORT:interface=127.0.0.1" (a port that is not 0, no haproxy, auth not "require")')


def _doors(document: dict[str, Any]) -> Iterator[tuple[tuple[bool, int, int], str, int, str]]:
    """(rank, host, port, tls) of each listener that can be used; the lowest rank is the best.

    First one that trusts this machine, so that mail may leave it; then UNIX sockets, loopback, what is open to all.
    """
    found = document.get("smtp")
    tables = [*(found if isinstance(found, list) else []), *_receiver(document)]
    for number, table in enumerate(tables):
        if not isinstance(table, dict) or table.get("auth") == "require":
            continue
        try:
            endpoint = parse_endpoint(table.get("listen"))
        except ValueError:
            continue
        if endpoint.proxied or endpoint.kind == "systemd" or endpoint.place == "port 0":
            continue
        kind, _, place = endpoint.place.partition(" ")
        nearness = 0 if kind == "path" else 1 if endpoint.is_local else 2
        host = place if kind == "path" else _host(endpoint)
        tls = "require" if table.get("starttls") == "require" else "off"
        if table.get("tls") is True:
            tls = "implicit"
        rank = (not _trusts(table.get("clients"), host), nearness, number)
        yield rank, host, 0 if kind == "path" else int(place), tls


def _receiver(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The listener of `[receiver]` as one more `[[smtp]]`, if it lets this machine in."""
    for listen in receiver_listens(document):
        host = _host(parse_endpoint(listen))
        try:
            clients = ClientList.parse(_CLIENTS(document["receiver"].get("clients", [])))
        except ValueError:
            return
        if clients.allows(host):
            yield {"listen": listen, "clients": [host]}


def _host(endpoint: Endpoint) -> str:
    """The address by which a program on this machine reaches a listener."""
    return LOOPBACK.get(endpoint.interface or ("::" if endpoint.kind == "tcp6" else ""), endpoint.interface)


def _trusts(clients: object, host: str) -> bool:
    try:
        return AccessList.parse(clients).allows(host) if isinstance(clients, list) else False
    except (ValueError, TypeError, AttributeError):
        return False


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
