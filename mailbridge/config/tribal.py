"""What the rooms of the OCE are told: small values, made of `[oce]` at the start and at reloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mailbridge.config.endpoint import parse_endpoint
from mailbridge.config.model import Config, OCESettings, TribeSettings
from mailbridge.edge.clienttls import Trust
from mailbridge.errors import StartError
from mailbridge.oce.client import Identity
from mailbridge.oce.dialect import DIALECTS
from mailbridge.oce.embedded import settings as embedded
from mailbridge.oce.embedded.federation import Peering
from mailbridge.oce.exchange import Exchange, Place, is_loopback
from mailbridge.oce.tribes import Tribes
from mailbridge.routing.names import fold_domain
from mailbridge.routing.tribes import OCEWay

MEMBER_DOMAIN = "oce"
PLACE = "oce"
"""The embedded OCE's listener, in messages."""
POLITE_SECONDS = 1.0
"""Between two requests to an OCE of somebody else."""


def member_domain(config: Config) -> str:
    """The domain that users log in with besides their own."""
    return MEMBER_DOMAIN if config.oce is not None else ""


def smtp_port(config: Config) -> int:
    """The port that the OCE is told of the bridge; 0 where it has none of its own."""
    for listener in config.smtp:
        kind, _, port = parse_endpoint(listener.listen).place.partition(" ")
        if kind == "port":
            return int(port)
    return 0


def tribes(oce: OCESettings, own_key: str, domains: Iterable[str]) -> Tribes:
    """The tribes by name and key; `own_key` is empty while nobody knows it. `domains` are those of our own mail."""
    keys = {name: tribe.key for name, tribe in oce.tribes.items()}
    own_name = oce.name if oce.embedded else ""
    return Tribes(own_key or oce.key or "", keys, own_name, frozenset(map(fold_domain, domains)))


def way(oce: OCESettings, own_key: str) -> OCEWay:
    """The OCE as the router knows it."""
    lanes = {}
    for name, tribe in oce.tribes.items():
        lanes[fold_domain(name)] = lanes[fold_domain(tribe.key)] = fold_domain(name)
    own = {oce.name, own_key or oce.key or ""} - {""} if oce.embedded else {oce.key or ""} - {""}
    return OCEWay(lanes, frozenset(fold_domain(each) for each in own), oce.embedded)


def identity(oce: OCESettings, hostname: str) -> Identity:
    """Who the bridge is to its OCE. An embedded one knows it as itself, not as one of its members."""
    interval = oce.request_interval
    if interval is None:
        interval = 0.0 if oce.embedded or is_loopback(place(oce).host) else POLITE_SECONDS
    member = oce.member or ""
    if oce.embedded:
        member = f"mailbridge@{hostname}"
    return Identity(member, oce.coterie, oce.app_id, DIALECTS[oce.dialect], interval)


def place(oce: OCESettings) -> Place:
    """Where the OCE is. Raises StartError for certificates that cannot be read."""
    return Place(oce.url or "", _trust("oce", oce.ca, oce.pin, oce.identity), oce.allow_cleartext)


def embedded_settings(oce: OCESettings) -> embedded.OCESettings:
    """What the embedded OCE works by. The bridge itself is always inside of its domain."""
    return embedded.OCESettings(
        name=oce.name,
        member=oce.member or "",
        approve=oce.approve,
        registrars=oce.registrars,
        coteries={embedded.FIRST_COTERIE: embedded.Coterie(oce.groups)},
        tribes=tuple(
            embedded.RemoteTribe(name, tribe.key, _secret(tribe), tribe.client_pin)
            for name, tribe in oce.tribes.items()
        ),
        pod=("localhost", *oce.pod),
        request_interval=oce.request_interval or 0.0,
        request_lock=oce.request_lock,
    )


def peerings(oce: OCESettings, reactor: Any) -> Mapping[str, Peering]:
    """How the embedded OCE reaches other tribes. Raises StartError for certificates that cannot be read."""
    found = places(oce)
    return {name: Peering(Exchange(reactor, found[name]), _secret(tribe)) for name, tribe in oce.tribes.items()}


def places(oce: OCESettings) -> dict[str, Place]:
    """Where other tribes are, by name. Raises StartError for certificates that cannot be read."""
    return {
        name: Place(tribe.url or "", _trust(f"oce.tribes.{name}", tribe.ca, tribe.pin, tribe.identity),
                    tribe.allow_cleartext)
        for name, tribe in oce.tribes.items()
    }


def _secret(tribe: TribeSettings) -> bytes | None:
    return None if tribe.secret is None else tribe.secret.encode("utf-8")


def _trust(where: str, ca: Path | None, pin: str | None, own: Path | None) -> Trust:
    try:
        return Trust(True, _pem(ca), pin, _pem(own))
    except (OSError, ValueError) as error:
        raise StartError(f"{where}: ca or identity cannot be used: {error}") from None


def _pem(path: Path | None) -> str | None:
    return None if path is None else path.read_text("ascii")
