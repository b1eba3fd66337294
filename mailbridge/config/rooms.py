"""What each room is told of the configuration: the small settings values that rooms take, made of the whole.

Used at the start and at each reload, so that both mean the same.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve

from mailbridge.address import parse_mailbox
from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.model import Config, POP3Listener, RelaySettings, SMTPListener
from mailbridge.config.outlets import enabled
from mailbridge.config.servers import MX, parse_server
from mailbridge.edge.clientlogin import login
from mailbridge.edge.clienttls import Trust
from mailbridge.edge.sending import INSECURE, NOT_OFFERED, SECURE, Manner, Server
from mailbridge.edge.smtp_listener import EndMark, SMTPListenerSettings
from mailbridge.errors import StartError
from mailbridge.logs.plan import LogPlan
from mailbridge.pop3.settings import Settings as POP3Settings
from mailbridge.queue.bounce import BounceSettings
from mailbridge.queue.schedule import Schedule
from mailbridge.routing.access import AccessList
from mailbridge.routing.clients import ClientList, Hosts
from mailbridge.routing.intake import SubmissionRules
from mailbridge.routing.route import RELAY, Lanes, WayOut
from mailbridge.routing.rules import Rule
from mailbridge.smtp.decisions import ServerSettings
from mailbridge.target.pool import PoolLimits
from mailbridge.target.relay import RelayPlan

RECEIVER = "receiver"
"""The place of the listener of `[receiver]`."""

_LOOPBACK = ("127.0.0.1", "::1")
_ANY = ("", "0.0.0.0", "::")


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
        strangers=listener.strangers,
        end_marks=_end_marks(config),
    )


def receiver_settings(config: Config, hosts: Hosts) -> SMTPListenerSettings:
    """The rules of the listener of `[receiver]`, while the host names on lists mean what `hosts` says.

    The receiver's clients are trusted, so that their other mail goes on; those of the applications may connect.
    """
    receiver, applications = config.receiver, enabled(config).values()
    timeout = receiver.socket_timeout
    limits = config.limits if timeout is None else evolve(config.limits, smtp_idle=timeout)
    own = [entry for entry in receiver.clients if not ClientList.parse([entry]).names]
    names = ClientList.parse(receiver.clients).names
    looked_up = [address for name in names for address in sorted(hosts.get(name, ()))]
    known = [entry for settings in applications for entry in settings.clients]
    return SMTPListenerSettings(
        name=RECEIVER,
        server=ServerSettings(config.hostname, limits, "off" if config.tls is None else "offer"),
        clients=AccessList.parse((*own, *looked_up)),
        auth="off" if receiver.authentication_lib is None else "offer",
        auth_in_clear=receiver.auth_in_clear,
        strangers="refuse",
        known=ClientList.parse((*receiver.clients, *known)),
        connections=receiver.thread_num,
        end_marks=_end_marks(config),
    )


def _end_marks(config: Config) -> tuple[EndMark, ...]:
    """The nonstandard ends of data, on every listener: a client sends its own wherever it connects."""
    return tuple(
        EndMark(settings.nonstandard_data_terminator, ClientList.parse(settings.terminator_clients))
        for settings in enabled(config).values() if settings.nonstandard_data_terminator is not None
    )


def log_plan(config: Config) -> LogPlan:
    """Where the log of `[receiver]` goes."""
    receiver = config.receiver
    return LogPlan(
        path=receiver.logging_file_name,
        file=receiver.log_file,
        console=receiver.log_console,
        syslog=receiver.log_event_log,
        data=receiver.log_rcv_data,
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


# --- ways out ---------------------------------------------------------------------------------------------------------


def ways_out(config: Config) -> tuple[WayOut, ...]:
    """The relays as the router knows them."""
    only = len(config.relay) == 1
    return tuple(
        WayOut(RELAY + name, _lanes(relay), only if relay.default is None else relay.default)
        for name, relay in config.relay.items()
    )


def _lanes(relay: RelaySettings) -> Lanes:
    if relay.use_from:
        return Lanes.SENDER
    return Lanes.RECIPIENT if relay.servers == (MX,) else Lanes.ONE


def schedule(config: Config) -> Schedule:
    """When what waits is tried again."""
    queue = config.queue
    return Schedule(queue.retry, queue.longest_retry, queue.expire, queue.delay_notice, queue.pause)


def relay_plans(config: Config) -> tuple[RelayPlan, ...]:
    """How each relay works. Raises StartError for certificates that cannot be read."""
    return tuple(_relay_plan(config, name, relay) for name, relay in config.relay.items())


def _relay_plan(config: Config, name: str, relay: RelaySettings) -> RelayPlan:
    servers, user, password = relay.servers, relay.user, relay.password
    named: list[tuple[str, int | None]] = []
    if relay.dedicatedsmtp is not None:
        host, port, user, password = relay.dedicatedsmtp
        named = [(host, port)]
    elif servers and servers != (MX,):
        named = [parse_server(server) for server in servers]
    direct = not named
    has_login = bool(user) and bool(password or relay.token)
    trust = _trust(f"relay.{name}", relay, (not direct) if relay.verify is None else relay.verify)
    standard = 465 if relay.tls == "implicit" else 25

    def without_tls(_code: int, text: str) -> str:
        # A server of ours whose TLS fails is a fault to be told, or an enemy; one that has none may be an old one.
        failed = trust.verify and text != NOT_OFFERED
        return SECURE if failed or (has_login and not relay.auth_in_clear) else INSECURE

    manner = Manner(
        client_name=relay.client_name or config.hostname,
        login=login(user or "", password, relay.token, relay.auth_in_clear, os.urandom) if has_login else None,
        tls_policy=without_tls,
        bind=(relay.bind, 0) if relay.bind is not None else None,
    )
    return RelayPlan(
        name=name,
        manner=manner,
        servers=tuple(Server(host, port or standard, relay.tls, relay.lmtp, trust) for host, port in named),
        stranger=Server("", 25, relay.tls, False, trust),
        limits=PoolLimits(relay.connections, relay.messages_per_connection, relay.idle),
        timeout=relay.timeout,
    )


def _trust(place: str, relay: RelaySettings, verify: bool) -> Trust:
    try:
        return Trust(
            verify and relay.tls != "off",
            pem(f"{place}.ca", relay.ca) if relay.ca is not None else None,
            relay.pin,
            pem(f"{place}.identity", relay.identity) if relay.identity is not None else None,
        )
    except ValueError as error:
        raise StartError(f"{place}: ca or identity cannot be used: {error}") from None


def pem(place: str, path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{place}: cannot read {path}: {error}") from None


def own_names(config: Config) -> tuple[str, ...]:
    """The names under which mail servers of a domain would be this bridge."""
    return (config.hostname, "localhost")


def own_addresses(config: Config) -> tuple[str, ...]:
    """The addresses under which they would: loopback, and those that an `[[smtp]]` listens on."""
    listens = [listener.listen for listener in config.smtp]
    if config.receiver.listens:
        listens.append(config.receiver.listen)
    listening = (parse_endpoint(listen).interface for listen in listens)
    return tuple(dict.fromkeys((*_LOOPBACK, *(address for address in listening if address not in _ANY))))
