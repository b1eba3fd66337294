"""Faults of `[relay]` that no single key has: contradictions, two defaults, a relay that leads back to ourselves.

Works on the file as TOML gives it, like all of `config.combinations`. No fault shows a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from mailbridge.config.endpoint import Endpoint, parse_endpoint
from mailbridge.config.historic import counted
from mailbridge.config.model import ReceiverSettings
from mailbridge.config.servers import MX, bind_address, dedicated_server, parse_server, relay_name, server_host
from mailbridge.errors import Fault

Table = Mapping[str, Any]

_SMTP, _SMTPS = 25, 465


def relay_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Every fault of this kind."""
    own = list(_own_endpoints(document))
    yield from _forward_loop(document, own)
    relays = document.get("relay")
    if not isinstance(relays, dict):
        return
    tables = {name: table for name, table in relays.items() if isinstance(table, dict)}
    defaults = [name for name, table in tables.items() if table.get("default") is True]
    for name in defaults[1:]:
        yield Fault(f"relay.{name}.default", f"only one relay is the default, and relay.{defaults[0]} is it already")
    for name, table in tables.items():
        try:
            place = f"relay.{relay_name(name)}"
        except ValueError:
            continue  # said by the reader of the table
        yield from _ways(place, table)
        yield from _login(place, table)
        yield from trust_faults(place, table)
        yield from _loop(place, table, own, document.get("hostname"))


def is_direct(table: Table) -> bool:
    """Whether DNS names the servers."""
    return table.get("use_from") is True or MX in _servers(table)


def _servers(table: Table) -> list[Any]:
    servers = table.get("servers")
    return servers if isinstance(servers, list) else []


def _ways(place: str, table: Table) -> Iterator[Fault]:
    """Where the server comes from: one way, not two, not none."""
    servers = _servers(table)
    use_from = table.get("use_from") is True
    if MX in servers and len(servers) > 1:
        yield Fault(f"{place}.servers", '"mx" stands alone: DNS names the servers then')
    elif use_from and servers and servers != [MX]:
        yield Fault(f"{place}.use_from", "takes the server of the sender's domain; leave servers out")
    if "dedicatedsmtp" in table:
        for key in ("servers", "use_from", "user", "password", "token"):
            if table.get(key):
                yield Fault(f"{place}.dedicatedsmtp", f"names the server and the login; leave {key} out")
    elif "servers" not in table and not use_from:
        yield Fault(f"{place}.servers", 'is missing; name servers in a list, or ["mx"] for direct delivery')
    if is_direct(table):
        for key, value in (("tls", "implicit"), ("lmtp", True)):
            if table.get(key) == value:
                yield Fault(f"{place}.{key}", "is for servers with a name, not for those that DNS names")


def _login(place: str, table: Table) -> Iterator[Fault]:
    """A login is whole, meant for a named server, and does not pass in clear by accident."""
    secrets = [key for key in ("password", "token") if key in table]
    if len(secrets) == 2:
        yield Fault(f"{place}.token", "takes the place of a password; leave one of them out")
    if "user" in table and not secrets:
        yield Fault(f"{place}.user", "needs a password or a token")
    if secrets and "user" not in table:
        yield Fault(f"{place}.{secrets[0]}", "needs a user")
    if secrets and is_direct(table):
        yield Fault(f"{place}.{secrets[0]}", "would be shown to servers of strangers; a login needs named servers")
    login = secrets or (["dedicatedsmtp"] if _has_password(table) else [])
    in_clear = table.get("auth_in_clear") is True
    if login and table.get("tls") == "off" and not in_clear:
        yield Fault(f"{place}.{login[0]}", 'would pass in clear with tls = "off"; set auth_in_clear = true to allow it')
    if in_clear and not login:
        yield Fault(f"{place}.auth_in_clear", "has no meaning without a login")


def _has_password(table: Table) -> bool:
    try:
        return "dedicatedsmtp" in table and bool(dedicated_server(table["dedicatedsmtp"])[3])
    except ValueError:
        return False


def trust_faults(place: str, table: Table) -> Iterator[Fault]:
    """Whom to believe is said once."""
    given = [key for key in ("verify", "ca", "pin", "identity") if table.get(key)]
    if table.get("tls") == "off":
        for key in given:
            yield Fault(f"{place}.{key}", 'has no meaning with tls = "off"')
    if "pin" in table and "ca" in table:
        yield Fault(f"{place}.pin", "takes the place of ca; leave one of them out")
    if table.get("verify") is False:
        for key in ("ca", "pin"):
            if key in table:
                yield Fault(f"{place}.{key}", "has no meaning with verify = false")
    if "pin" in table and is_direct(table):
        yield Fault(f"{place}.pin", "is the certificate of one server; DNS names many")


def _loop(place: str, table: Table, own: list[tuple[str, Endpoint]], hostname: object) -> Iterator[Fault]:
    """No server is one of our own listeners: mail would go round in a circle."""
    standard = _SMTPS if table.get("tls") == "implicit" else _SMTP
    named: list[tuple[str, str, int]] = []
    for index, text in enumerate(_servers(table)):
        try:
            if text != MX:
                host, port = parse_server(text)
                named.append((f"{place}.servers[{index}]", host, port or standard))
        except ValueError:
            continue  # said by the reader of the key
    if "dedicatedsmtp" in table:
        try:
            host, port, _, _ = dedicated_server(table["dedicatedsmtp"])
            named.append((f"{place}.dedicatedsmtp", host, port))
        except ValueError:
            pass
    for where, host, port in named:
        yield from _circle(where, host, port, own, hostname)


def _forward_loop(document: Mapping[str, Any], own: list[tuple[str, Endpoint]]) -> Iterator[Fault]:
    """The same for the forward server of `[receiver]`."""
    table = document.get("receiver")
    try:
        if isinstance(table, dict) and "forward_smtp_server" in table:
            host = server_host(table["forward_smtp_server"])
            port = counted(1, 65_535)(table.get("forward_smtp_server_port", _SMTP))
            host = host.removeprefix("[").removesuffix("]")
            yield from _circle("receiver.forward_smtp_server", host, port, own, document.get("hostname"))
    except ValueError:
        return  # said by the readers of the keys


def _circle(
    where: str, host: str, port: int, own: list[tuple[str, Endpoint]], hostname: object
) -> Iterator[Fault]:
    for listener, endpoint in own:
        if endpoint.place == f"port {port}" and _is_here(host, endpoint.interface, hostname):
            yield Fault(where, f"is {listener} of this bridge itself: mail would go round in a circle")
            return


def _own_endpoints(document: Mapping[str, Any]) -> Iterator[tuple[str, Endpoint]]:
    listeners = document.get("smtp")
    listens = [
        (f"smtp[{index}]", table.get("listen") if isinstance(table, dict) else None)
        for index, table in enumerate(listeners if isinstance(listeners, list) else [])
    ]
    for place, listen in (*listens, *(("receiver", listen) for listen in receiver_listens(document))):
        try:
            yield place, parse_endpoint(listen)
        except ValueError:
            continue


def receiver_listens(document: Mapping[str, Any]) -> Iterator[str]:
    """The endpoint of the receiver's own listener, where `[receiver]` has one that can be read."""
    table = document.get("receiver")
    if not isinstance(table, dict):
        return
    port, address = table.get("smtp_port"), table.get("smtp_ip_address")
    try:
        settings = ReceiverSettings(
            smtp_port=None if port is None else counted(0, 65_535)(port),
            smtp_ip_address=None if address is None else bind_address(address),
        )
    except ValueError:
        return  # said by the readers of the keys
    if settings.listens:
        yield settings.listen


def _is_here(host: str, interface: str, hostname: object) -> bool:
    """Whether `host` leads to a listener on `interface` of this host."""
    everywhere = interface in ("", "0.0.0.0", "::")
    if host == "localhost":
        return everywhere or ip_address(interface).is_loopback
    if isinstance(hostname, str) and host == hostname.lower():
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return host == interface or (everywhere and (address.is_loopback or address.is_unspecified))
