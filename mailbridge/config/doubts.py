"""What `[receiver]` and `[application.NAME]` may say but hardly mean: a part of `config.warnings`.

Also what they name and this host has not, or not yet. That is no fault: a bridge whose jobs go to a disk that is not
mounted starts, its other mail goes on, and its operator can look at the queue.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.files import folder_fault, program_fault
from mailbridge.config.model import ApplicationSettings, Config
from mailbridge.config.outlets import enabled, recipe
from mailbridge.routing.route import APPLICATION


def receiver_warnings(config: Config) -> Iterator[str]:
    """Of what all applications share."""
    receiver = config.receiver
    if receiver.log_rcv_data and (receiver.logging_file_name is None or "T" not in receiver.log_file):
        yield "receiver.log_rcv_data: has an effect only with a logging_file_name and T in log_file"
    if receiver.logging_file_name is not None:
        fault = folder_fault(receiver.logging_file_name.parent)
        if fault:
            yield f"receiver.logging_file_name: {fault}; without it the bridge does not start"
    if not receiver.listens:
        return
    remote = not parse_endpoint(receiver.listen).is_local
    lists = [receiver.clients, *(settings.clients for settings in enabled(config).values())]
    if receiver.authentication_lib is None:
        if not any(lists):
            yield "receiver.clients: is empty, like those of all applications, so nobody may connect to the receiver"
    elif remote and config.tls is None and not receiver.auth_in_clear:
        yield ("receiver.authentication_lib: nobody but this host can log in; set [tls], or auth_in_clear = true for a "
               "network that you trust")
    if receiver.auth_in_clear and remote:
        yield "receiver.auth_in_clear: passwords may pass over the network in clear"


def application_warnings(config: Config) -> Iterator[str]:
    """Of each application that works."""
    for name, settings in enabled(config).items():
        place = f"application.{name}"
        for doubt in recipe(name, settings, config.receiver, config.command_tags).doubts():
            yield f"{place}.{doubt}"
        yield from _reach(config, place, name, settings)
        yield from _ways(place, settings)
        if settings.nonstandard_data_terminator is not None and not settings.terminator_clients:
            yield f"{place}.nonstandard_data_terminator: has no effect, as terminator_clients names nobody"
        if settings.terminator_clients and settings.nonstandard_data_terminator is None:
            yield f"{place}.terminator_clients: has no effect without nonstandard_data_terminator"
    used = {settings.cmd_tags for settings in config.application.values()}
    for table in config.command_tags:
        if table not in used:
            yield f"command_tags.{table}: no application names it in cmd_tags"


def _ways(place: str, settings: ApplicationSettings) -> Iterator[str]:
    """Whether what its jobs need is there."""
    found = [
        ("output_folder", settings.output_folder and folder_fault(settings.output_folder)),
        ("accounting", settings.accounting and folder_fault(settings.accounting.parent)),
        ("command", settings.command and program_fault(settings.command)),
    ]
    yield from (f"{place}.{key}: {fault}; until then its mail waits" for key, fault in found if fault)


def _reach(config: Config, place: str, name: str, settings: ApplicationSettings) -> Iterator[str]:
    """Whether any mail comes there."""
    if not settings.addresses and not any(route.to == APPLICATION + name for route in config.route):
        yield f"{place}.addresses: there are none, and no route leads to it, so it gets no mail"
    if settings.from_enabled == ():
        yield f"{place}.from_enabled: is empty, so nobody may send; leave it out to let all senders"
