"""What a configuration may say but hardly means: told by `mailbridge check`, never a reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator

from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.model import Config, POP3Listener, SMTPListener


def warnings(config: Config) -> list[str]:
    """One line each, with its place."""
    return list(_warnings(config))


def _warnings(config: Config) -> Iterator[str]:
    if not config.smtp and not config.pop3:
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
    if config.limits.connections_per_client > config.limits.connections:
        yield "limits.connections_per_client: is more than limits.connections, so one client can take all"
    if config.limits.header_size > config.limits.message_size:
        yield "limits.header_size: is more than limits.message_size, which comes first"
    if config.limits.pop3_idle < 600:
        yield "limits.pop3_idle: is less than the 10 minutes that RFC 1939 promises to clients"


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
