"""What a configuration may say but hardly means: told by `mailbridge check`, never a reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator

from mailbridge.config.doubts import application_warnings, receiver_warnings
from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.model import Config, POP3Listener, RelaySettings, SMTPListener
from mailbridge.config.popfetch import popfetch_warnings
from mailbridge.config.servers import MX, parse_server
from mailbridge.routing.route import RELAY


def warnings(config: Config) -> list[str]:
    """One line each, with its place."""
    return list(_warnings(config))


def _warnings(config: Config) -> Iterator[str]:
    own_oce = config.oce is not None and config.oce.embedded
    listens = config.smtp or config.pop3 or config.receiver.listens or own_oce
    if not listens and config.popfetch is None:
        yield "no [[smtp]] and no [[pop3]]: nothing will listen"
    for number, smtp in enumerate(config.smtp):
        yield from _open_to_others(config, f"smtp[{number}]", smtp, "auth_in_clear", smtp.auth_in_clear)
        if smtp.auth == "require" and _no_login(config, smtp, smtp.auth_in_clear):
            yield (f"smtp[{number}].auth: nobody but this host can log in, and a login is required; set [tls], or "
                   "auth_in_clear = true for a network that you trust")
    for number, pop3 in enumerate(config.pop3):
        yield from _open_to_others(config, f"pop3[{number}]", pop3, "login_in_clear", pop3.login_in_clear)
        if _no_login(config, pop3, pop3.login_in_clear):
            yield (f"pop3[{number}]: nobody but this host can log in; set [tls], or login_in_clear = true for a "
                   "network that you trust")
    yield from _relays(config)
    yield from receiver_warnings(config)
    yield from application_warnings(config)
    yield from popfetch_warnings(config)
    if config.limits.connections_per_client > config.limits.connections:
        yield "limits.connections_per_client: is more than limits.connections, so one client can take all"
    if config.limits.header_size > config.limits.message_size:
        yield "limits.header_size: is more than limits.message_size, which comes first"
    if config.limits.pop3_idle < 600:
        yield "limits.pop3_idle: is less than the 10 minutes that RFC 1939 promises to clients"


def _relays(config: Config) -> Iterator[str]:
    default = len(config.relay) == 1 or any(relay.default for relay in config.relay.values())
    if config.relay and not default:
        yield "relay: none of them is the default, so mail for other domains goes nowhere; set default = true in one"
    for name, relay in config.relay.items():
        leads_there = any(route.to == RELAY + name for route in config.route)
        if not leads_there and not (relay.default or (relay.default is None and len(config.relay) == 1)):
            yield f"relay.{name}: no route leads to it, and it is not the default"
        if relay.auth_in_clear:
            yield f"relay.{name}.auth_in_clear: the password may pass over the network in clear"
        if relay.tls == "off" and not relay.user and relay.dedicatedsmtp is None and not _is_near(relay):
            yield f"relay.{name}.tls: mail passes over the network in clear"


def _is_near(relay: RelaySettings) -> bool:
    """Whether all servers are on this host."""
    near = ("localhost", "127.0.0.1", "::1")
    return bool(relay.servers) and all(server != MX and parse_server(server)[0] in near for server in relay.servers)


def _open_to_others(
    config: Config, place: str, listener: SMTPListener | POP3Listener, key: str, in_clear: bool
) -> Iterator[str]:
    if parse_endpoint(listener.listen).is_local:
        return
    if _is_without_tls(config, listener):
        yield f"{place}.listen: {listener.listen} is open to other hosts without TLS; set [tls]"
    if in_clear and not listener.tls and listener.starttls != "require":
        yield f"{place}.{key}: passwords may pass over the network in clear"


def _no_login(config: Config, listener: SMTPListener | POP3Listener, in_clear: bool) -> bool:
    """Whether a client on another host that reaches the listener could never log in."""
    return not in_clear and _is_without_tls(config, listener) and not parse_endpoint(listener.listen).is_local


def _is_without_tls(config: Config, listener: SMTPListener | POP3Listener) -> bool:
    return config.tls is None or (not listener.tls and listener.starttls == "off")
