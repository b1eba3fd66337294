"""What a mail program must be told to use this bridge, read off the configuration.

Pure: a configuration and a certificate's description in, values out. It says only what the listeners offer, and names
what would not work (no TLS, reachable from this machine only). Never holds a password. `snippets` writes it down.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mailbridge.certificate import Description
from mailbridge.config.endpoint import Endpoint, parse_endpoint
from mailbridge.config.model import Config, POP3Listener, SMTPListener

STARTTLS = "STARTTLS"
IMPLICIT = "SSL/TLS"
CLEAR = "none"
MEMBERS = "oce"
"""The domain of the tribe's members."""


@frozen
class Door:
    """One listener as a mail program sees it. `port` is None where only the operator knows it (systemd, a proxy)."""

    host: str
    port: int | None
    security: str
    login: bool
    local: bool


@frozen
class Settings:
    """Everything to type in for one user; the first door of a kind is the one to prefer."""

    user: str
    address: str
    smtp: tuple[Door, ...]
    pop3: tuple[Door, ...]
    certificate: Description | None
    notes: tuple[str, ...]


def _port(endpoint: Endpoint) -> int | None:
    """The port that clients use; behind a proxy, and on a socket of systemd's, it is somebody else's."""
    kind, _, port = endpoint.place.partition(" ")
    return int(port) or None if kind == "port" and not endpoint.proxied else None


def _host(endpoint: Endpoint, hostname: str) -> str:
    if endpoint.is_local:
        return "localhost"
    return hostname if endpoint.interface in ("", "0.0.0.0", "::") else endpoint.interface


def _door(listener: SMTPListener | POP3Listener, config: Config) -> Door:
    endpoint = parse_endpoint(listener.listen)
    if listener.tls:
        security = IMPLICIT
    elif config.tls is not None and listener.starttls != "off":
        security = STARTTLS
    else:
        security = CLEAR
    clear = listener.auth_in_clear if isinstance(listener, SMTPListener) else listener.login_in_clear
    offered = not isinstance(listener, SMTPListener) or listener.auth != "off"
    return Door(
        host=_host(endpoint, config.hostname),
        port=_port(endpoint),
        security=security,
        login=offered and (security != CLEAR or endpoint.is_local or clear),
        local=endpoint.is_local,
    )


def _names(told: Description, host: str) -> bool:
    """Whether a certificate is for `host`; a `*.` stands for one label (RFC 6125 6.4.3)."""
    return host.lower() in told.names or f"*.{host.lower().partition('.')[2]}" in told.names


def _notes(config: Config, smtp: tuple[Door, ...], pop3: tuple[Door, ...], told: Description | None) -> Iterable[str]:
    doors = (*smtp, *pop3)
    if not smtp:
        yield "No [[smtp]] listener is configured: mail cannot be sent."
    if not pop3:
        yield "No [[pop3]] listener is configured: mail cannot be fetched."
    if doors and all(door.local for door in doors):
        yield "Only programs on this machine can connect: `listen` names a loopback address."
    if any(door.security == CLEAR and not door.local for door in doors):
        remedy = "`mailbridge cert` makes a certificate." if config.tls is None else "See `starttls` of the listener."
        yield f"Where security is `none`, whoever sees the network reads the mail. {remedy}"
    if any(not door.login for door in pop3):
        yield "POP3 takes no password without TLS from another machine: nobody can fetch there. Configure [tls]."
    if any(not door.login for door in smtp):
        yield "Where SMTP takes no login, choose `no authentication`: it serves local users and trusted clients."
    if told is not None and told.self_signed:
        yield "The certificate is self-signed: the program asks once; compare the fingerprint before you trust it."
    secure = {door.host for door in doors if door.security != CLEAR}
    for host in sorted(secure):
        if told is not None and not _names(told, host):
            yield f"The certificate does not name {host}, and programs will say so: `mailbridge cert --show`."
    if config.oce is not None:
        abroad = "".join(f", those of the tribe {name} as NAME@{name}.oce" for name in config.oce.tribes)
        yield f"Members of the tribe are reached as NAME@{MEMBERS}{abroad}."
    if any(door.port is None for door in doors):
        yield "`?`: the port is that of the proxy or of the systemd socket; ask who runs it."


def settings(config: Config, user: str, told: Description | None) -> Settings:
    """What `user` (or a word that stands for any) types in; `told` describes the configured certificate."""
    smtp = tuple(_door(listener, config) for listener in config.smtp)
    pop3 = tuple(_door(listener, config) for listener in config.pop3)
    domain = config.users.domains[0] if config.users.domains else config.hostname
    member = config.oce is not None and "@" not in user
    return Settings(
        user=f"{user}@{MEMBERS}" if member else user,
        address=user if "@" in user else f"{user}@{domain}",
        smtp=smtp,
        pop3=pop3,
        certificate=told,
        notes=tuple(_notes(config, smtp, pop3, told)),
    )
