"""What each room is told of the configuration: the small settings values that rooms take, made of the whole.

Used at the start and at each reload, so that both mean the same.
"""

from __future__ import annotations

from mailbridge.address import parse_mailbox
from mailbridge.config.model import Config, POP3Listener, SMTPListener
from mailbridge.edge.smtp_listener import SMTPListenerSettings
from mailbridge.pop3.settings import Settings as POP3Settings
from mailbridge.queue.bounce import BounceSettings
from mailbridge.routing.access import AccessList
from mailbridge.routing.intake import SubmissionRules
from mailbridge.routing.rules import Rule
from mailbridge.smtp.decisions import ServerSettings


def smtp_settings(config: Config, place: str, listener: SMTPListener) -> SMTPListenerSettings:
    """The rules of one `[[smtp]]`; `place` is its name in messages, `smtp[0]`."""
    starttls = listener.starttls if config.tls is not None and not listener.tls else "off"
    return SMTPListenerSettings(
        name=place,
        server=ServerSettings(config.hostname, config.limits, starttls),
        clients=AccessList.parse(listener.clients),
        auth=listener.auth,
        auth_in_clear=listener.auth_in_clear,
        normalise=listener.bare_newlines == "normalise",
    )


def pop3_settings(config: Config, listener: POP3Listener) -> POP3Settings:
    """The rules of one `[[pop3]]`."""
    starttls = listener.starttls if config.tls is not None and not listener.tls else "off"
    return POP3Settings(config.hostname, starttls, listener.login_in_clear, listener.apop)


def bounce_settings(config: Config) -> BounceSettings:
    """How notices to senders are made, and how many may leave."""
    queue = config.queue
    return BounceSettings(config.hostname, queue.notices_per_minute, queue.bounce_size, queue.expire)


def submission_rules(config: Config) -> dict[str, SubmissionRules]:
    """What listeners do for trusted and logged-in clients, by listener."""
    return {
        place: SubmissionRules(
            listener.add_headers, parse_mailbox(listener.sender.encode()) if listener.sender else None
        )
        for place, listener in smtp_places(config)
    }


def routing_rules(config: Config) -> list[Rule]:
    """The compiled `[[route]]` tables."""
    return [
        Rule.make(
            f"route[{number}]", route.to, route.recipient, route.sender, route.user, route.clients, route.listener,
            route.reply, route.anyone,
        )
        for number, route in enumerate(config.route)
    ]


def smtp_places(config: Config) -> list[tuple[str, SMTPListener]]:
    """Each `[[smtp]]` with its place."""
    return [(f"smtp[{number}]", listener) for number, listener in enumerate(config.smtp)]


def pop3_places(config: Config) -> list[tuple[str, POP3Listener]]:
    """Each `[[pop3]]` with its place."""
    return [(f"pop3[{number}]", listener) for number, listener in enumerate(config.pop3)]
