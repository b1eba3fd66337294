"""Faults that no single key has: keys that contradict each other, and what one table says of another.

Works on the file as TOML gives it, so that these faults are found together with all others, whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mailbridge.config.endpoint import Endpoint, parse_endpoint
from mailbridge.config.relays import receiver_listens, relay_faults
from mailbridge.config.units import time
from mailbridge.errors import Fault
from mailbridge.routing.pattern import Pattern
from mailbridge.routing.route import MAILDROP, REFUSE
from mailbridge.routing.rules import anyone_domains

Document = Mapping[str, Any]


def combinations(document: Document) -> Iterator[Fault]:
    """Every fault of this kind."""
    yield from _tls(document)
    yield from _collisions(document)
    yield from _routes(document)
    yield from relay_faults(document)
    yield from _queue(document)


def tables(document: Document, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(place, table) of each well-formed `[[name]]`."""
    found = document.get(name)
    if not isinstance(found, list):
        return []
    return [(f"{name}[{index}]", table) for index, table in enumerate(found) if isinstance(table, dict)]


def _listeners(document: Document) -> list[tuple[str, dict[str, Any]]]:
    """(place, table) of every listener, that of `[receiver]` too."""
    own = [("receiver", {"listen": listen}) for listen in receiver_listens(document)]
    return tables(document, "smtp") + tables(document, "pop3") + own


def _tls(document: Document) -> Iterator[Fault]:
    for place, table in _listeners(document):
        implicit, starttls = table.get("tls") is True, table.get("starttls")
        if implicit and starttls == "require":
            yield Fault(f"{place}.starttls", 'with tls = true the session begins in TLS; leave starttls out')
        if "tls" in document:
            continue
        if implicit:
            yield Fault(f"{place}.tls", "needs [tls] with certificate and key")
        if starttls == "require":
            yield Fault(f"{place}.starttls", '"require" needs [tls] with certificate and key')


def _collisions(document: Document) -> Iterator[Fault]:
    taken: list[tuple[str, Endpoint]] = []
    for place, table in _listeners(document):
        try:
            endpoint = parse_endpoint(table.get("listen"))
        except ValueError:
            continue  # said by the reader of the key
        for other_place, other in taken:
            if endpoint.collides(other):
                yield Fault(f"{place}.listen", f'"{endpoint.description}" takes the same {endpoint.place} as '
                                               f'{other_place}.listen, "{other.description}"')
                break
        taken.append((place, endpoint))


def _routes(document: Document) -> Iterator[Fault]:
    listeners = [place for place, _ in _listeners(document)]
    for place, table in tables(document, "route"):
        to = table.get("to")
        if "reply" in table and to != REFUSE:
            yield Fault(f"{place}.reply", 'is the text of a refusal; it needs to = "refuse"')
        listener = table.get("listener")
        if isinstance(listener, str) and listener not in listeners:
            known = ", ".join(listeners) or "none, for there is no [[smtp]] or [[pop3]]"
            yield Fault(f"{place}.listener", f'there is no listener "{listener}"; known are {known}')
        if table.get("anyone") is not True:
            continue
        if isinstance(to, str) and (to == REFUSE or to.partition(":")[0] == MAILDROP):
            yield Fault(f"{place}.anyone", f'has no meaning with to = "{to}": that is open to anyone already')
            continue
        try:
            recipient = table.get("recipient")
            anyone_domains(Pattern(recipient) if isinstance(recipient, str) else None)
        except ValueError as error:
            if "recipient" not in table or str(error).startswith("needs"):
                yield Fault(f"{place}.anyone", str(error))


def _queue(document: Document) -> Iterator[Fault]:
    table = document.get("queue")
    if not isinstance(table, dict):
        return
    read = time(0, 10**9)
    try:
        retry, longest = (read(table.get(key, default)) for key, default in (("retry", 300), ("longest_retry", 14400)))
    except ValueError:
        return  # said by the readers of the keys
    if retry > longest:
        yield Fault("queue.retry", "is longer than longest_retry")
