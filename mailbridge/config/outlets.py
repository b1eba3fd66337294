"""What the applications of a configuration are: whom each takes mail for, how its jobs are made, where they go.

Used at the start, at each reload, by `mailbridge route --message` and by the loader, so that all of them mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailbridge.application.claim import Claim
from mailbridge.application.recipe import Recipe
from mailbridge.application.tags import SMS_TAGS, TagData
from mailbridge.config.model import ApplicationSettings, Config, ReceiverSettings
from mailbridge.config.receiver import SHIPPED_TAGS
from mailbridge.niceness import nice_of
from mailbridge.routing.clients import ClientList
from mailbridge.target.application import ApplicationPlan
from mailbridge.target.outlet import CommandOutlet, FolderOutlet, Outlet


def claim(name: str, settings: ApplicationSettings, receiver: ReceiverSettings) -> Claim:
    """Whom an application takes mail for. Raises ValueError that begins with the key."""
    return Claim.make(
        name=name,
        addresses=settings.addresses,
        clients=settings.clients,
        receiver_clients=receiver.clients,
        from_enabled=settings.from_enabled,
        from_disabled=settings.from_disabled,
        process_anonymous=settings.process_anonymous,
        normalize=settings.normalize,
        state_prefix=settings.state_prefix,
        national_prefix=settings.national_prefix,
        allowed_numbers=settings.allowed_numbers,
        needs_number=settings.needs_number,
    )


def recipe(
    name: str, settings: ApplicationSettings, receiver: ReceiverSettings, command_tags: Mapping[str, TagData]
) -> Recipe:
    """How an application makes jobs. Raises RecipeFaults."""
    tables = {SHIPPED_TAGS: SMS_TAGS, **command_tags}
    return Recipe.make(
        name,
        ctl_type=settings.ctl_type,
        command=bool(settings.command),
        format_preference=settings.format_preference,
        command_tags=tables.get(settings.cmd_tags),
        cmd_error=settings.cmd_error,
        ctl_settings=settings.ctl_settings,
        ctl_settings_lock=settings.ctl_settings_lock,
        transform=settings.transform,
        ctl_layout=settings.ctl_layout,
        ctl_suffix=settings.ctl_suffix,
        output_code_page=settings.output_code_page or receiver.output_code_page,
        ini_semicolon=settings.ini_semicolon,
        use_mail_priority=settings.use_mail_priority,
        process_att_msg=settings.process_att_msg,
        process_attachments=settings.process_attachments,
        attachment_types=settings.attachment_types,
        attachment_count=settings.attachment_count,
        attachment_size=settings.attachment_size,
        attachment_total=settings.attachment_total,
        text_size=settings.text_size,
    )


def enabled(config: Config) -> dict[str, ApplicationSettings]:
    """The applications that work, in their order."""
    return {name: settings for name, settings in config.application.items() if settings.enabled}


def claims(config: Config) -> tuple[Claim, ...]:
    """Those of all applications, in their order."""
    return tuple(claim(name, settings, config.receiver) for name, settings in enabled(config).items())


def application_plans(config: Config) -> tuple[ApplicationPlan, ...]:
    """How each application works."""
    return tuple(_plan(config, name, settings) for name, settings in enabled(config).items())


def _plan(config: Config, name: str, settings: ApplicationSettings) -> ApplicationPlan:
    made = recipe(name, settings, config.receiver, config.command_tags)
    outlet: Outlet
    if settings.output_folder is not None:
        outlet = FolderOutlet(settings.output_folder, made.suffix)
    else:
        outlet = CommandOutlet(settings.command, settings.command_timeout)
    return ApplicationPlan(
        name=name,
        claim=claim(name, settings, config.receiver),
        recipe=made,
        outlet=outlet,
        expiry=settings.expiry,
        daily_limit=settings.daily_limit,
        pickup=settings.pickup,
        accounting=settings.accounting,
        nice=nice_of(config.receiver.thread_priority),
    )


def first_number(config: Config) -> int:
    """The number of the first job, where none has been made yet."""
    return config.receiver.id_allocated + 1


def host_names(config: Config) -> frozenset[str]:
    """The host names on client lists, which have to be looked up."""
    lists = [config.receiver.clients]
    for settings in enabled(config).values():
        lists += [settings.clients, settings.terminator_clients]
    return frozenset(name for entries in lists for name in ClientList.parse(entries).names)
