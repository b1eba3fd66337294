"""Faults of `[receiver]` and `[application.NAME]` that no single key has: what contradicts, what is not there.

Looks at the tables that can be read, whatever is wrong with others, so that all faults are found together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from attrs import frozen

from mailbridge.application.claim import Claim
from mailbridge.application.keys import RecipeFaults
from mailbridge.application.tags import TagData
from mailbridge.config.forward import FORWARD
from mailbridge.config.model import ApplicationSettings, ReceiverSettings
from mailbridge.config.outlets import recipe
from mailbridge.config.receiver import SHIPPED_TAGS
from mailbridge.errors import Fault
from mailbridge.routing.clients import ClientList
from mailbridge.routing.route import APPLICATION

_NEED_LISTENER = ("thread_num", "socket_timeout", "authentication_lib", "auth_in_clear")
_NEED_FOLDER = ("pickup", "ctl_suffix")


@frozen
class Readable:
    """The tables of one file that have no fault of their own. None: that one has."""

    receiver: ReceiverSettings | None
    applications: Mapping[str, ApplicationSettings]
    command_tags: Mapping[str, TagData] | None


def application_faults(document: Mapping[str, Any], readable: Readable) -> Iterator[Fault]:
    """Every fault of this kind in `document`, the file as TOML gives it."""
    if readable.receiver is not None:
        yield from _receiver(readable.receiver)
    yield from _forward(document)
    yield from _routes(document, readable.applications)
    tables = document.get("application", {})
    for name, settings in readable.applications.items():
        place = f"application.{name}"
        yield from _way(place, settings, tables[name])
        yield from _claim(place, name, settings)
        yield from _recipe(place, name, settings, readable)
    yield from _terminators(readable.applications)


def _routes(document: Mapping[str, Any], applications: Mapping[str, ApplicationSettings]) -> Iterator[Fault]:
    """No route leads to an application that is off."""
    off = {APPLICATION + name for name, settings in applications.items() if not settings.enabled}
    routes = document.get("route")
    for index, table in enumerate(routes if isinstance(routes, list) else []):
        to = table.get("to") if isinstance(table, dict) else None
        if isinstance(to, str) and to in off:
            yield Fault(f"route[{index}].to", f"{to} is switched off by its enabled")


def _receiver(receiver: ReceiverSettings) -> Iterator[Fault]:
    if not receiver.listens:
        for key in _NEED_LISTENER:
            if getattr(receiver, key):
                yield Fault(f"receiver.{key}", "is for the receiver's own listener; set smtp_port, or leave it out")


def _forward(document: Mapping[str, Any]) -> Iterator[Fault]:
    """The forward server is one more relay, and the default one."""
    receiver, relays = document.get("receiver"), document.get("relay", {})
    if not isinstance(receiver, dict) or not isinstance(relays, dict):
        return
    if "forward_smtp_server" not in receiver:
        if "forward_smtp_server_port" in receiver:
            yield Fault("receiver.forward_smtp_server_port", "has no meaning without forward_smtp_server")
        return
    if FORWARD in relays:
        yield Fault(f"relay.{FORWARD}", "is the name of receiver.forward_smtp_server among the relays; take another")
    defaults = [name for name, table in relays.items() if isinstance(table, dict) and table.get("default") is True]
    if defaults:
        yield Fault("receiver.forward_smtp_server", f"is a default relay, and relay.{defaults[0]} is it already")


def _way(place: str, settings: ApplicationSettings, table: Mapping[str, Any]) -> Iterator[Fault]:
    """Where jobs go: one way. Whether it is there is a doubt, for a disk may be mounted later."""
    if settings.command and settings.output_folder is not None:
        yield Fault(f"{place}.command", "takes the place of output_folder; leave one of them out")
    elif settings.command:
        for key in _NEED_FOLDER:
            if key in table:
                yield Fault(f"{place}.{key}", "is for files in output_folder, and has no meaning with command")
    elif settings.output_folder is None:
        yield Fault(f"{place}.output_folder", "is missing; name the folder for jobs, or the program in command")
    if not settings.command and "command_timeout" in table:
        yield Fault(f"{place}.command_timeout", "has no meaning without command")


def _claim(place: str, name: str, settings: ApplicationSettings) -> Iterator[Fault]:
    """What a claim says of each address, and of the rest."""
    for index, address in enumerate(settings.addresses):
        try:
            Claim.make(name, addresses=[address], needs_number=settings.needs_number)
        except ValueError as error:
            problem = str(error).removeprefix("addresses[0]: ")
            yield Fault(f"{place}.addresses[{index}]", problem)
    try:
        Claim.make(
            name, normalize=settings.normalize, state_prefix=settings.state_prefix,
            national_prefix=settings.national_prefix, allowed_numbers=settings.allowed_numbers,
        )
    except ValueError as error:
        key, _, problem = str(error).partition(": ")
        yield Fault(f"{place}.{key}", problem)


def _recipe(place: str, name: str, settings: ApplicationSettings, readable: Readable) -> Iterator[Fault]:
    tags = readable.command_tags
    if tags is not None and settings.cmd_tags not in ("", SHIPPED_TAGS, *tags):
        yield Fault(f"{place}.cmd_tags", f"there is no [command_tags.{settings.cmd_tags}]; known are "
                                         f'{", ".join((SHIPPED_TAGS, *tags))}; "" switches @commands off')
    try:
        recipe(name, settings, readable.receiver or ReceiverSettings(), tags or {})
    except RecipeFaults as error:
        yield from (Fault(f"{place}.{fault.place}", fault.problem) for fault in error.faults)


def _terminators(applications: Mapping[str, ApplicationSettings]) -> Iterator[Fault]:
    """One client sends one nonstandard end: what two applications say of it is the same."""
    senders = [
        (name, settings) for name, settings in applications.items()
        if settings.enabled and settings.nonstandard_data_terminator is not None
    ]
    for (name, one), (other, two) in combinations(senders, 2):
        if one.nonstandard_data_terminator != two.nonstandard_data_terminator and _share(one, two):
            yield Fault(f"application.{other}.terminator_clients", "names a client for whom application."
                                                                   f"{name} has another nonstandard_data_terminator")


def _share(one: ApplicationSettings, two: ApplicationSettings) -> bool:
    lists = (ClientList.parse(one.terminator_clients), ClientList.parse(two.terminator_clients))
    return bool(set(lists[0].names) & set(lists[1].names)) or lists[0].fixed.overlaps(lists[1].fixed)
