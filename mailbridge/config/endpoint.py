"""Where a listener listens: Twisted endpoint descriptions, read without opening anything.

Checked here and not by `serverFromString`, because that wants a reactor and looks at inherited sockets and the
environment; a test holds the two together. Known are tcp, tcp6, unix, systemd, and haproxy: before one of them.
"""

from __future__ import annotations

from ipaddress import ip_address

from attrs import frozen

from mailbridge.config.units import shown

_KEYS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "interface", "backlog"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
_TLS = ("ssl", "tls", "txtls")
_ANY = ("", "0.0.0.0", "::")


@frozen
class Endpoint:
    """A checked description. `proxied` is the PROXY protocol; `place` what it binds: a port, a path, a socket."""

    description: str
    kind: str
    proxied: bool
    place: str
    interface: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this host reaches it. An inherited socket may be reached from anywhere, so it is not local."""
        if self.proxied or self.kind == "systemd":
            return False
        return self.kind == "unix" or (self.interface not in _ANY and ip_address(self.interface).is_loopback)

    def collides(self, other: Endpoint) -> bool:
        """Whether the two cannot be open at the same time. Port 0 is a new port each time."""
        if self.place != other.place or self.place == "port 0" or self._is_ipv6 != other._is_ipv6:
            return False
        return self.interface == other.interface or bool({self.interface, other.interface} & set(_ANY))

    @property
    def _is_ipv6(self) -> bool:
        return self.kind == "tcp6" or ":" in self.interface


def parse_endpoint(value: object) -> Endpoint:
    """The endpoint a description names. Raises ValueError with the remedy."""
    if not isinstance(value, str) or not value:
        raise ValueError(f'must be an endpoint such as "tcp:25" or "tcp:2525:interface=127.0.0.1", got {shown(value)}')
    if any(c < " " or c == "\x7f" for c in value) or value.replace("\\\\", "").endswith("\\"):
        raise ValueError("an endpoint has no control characters, and no backslash at its end")
    fields = _fields(value)
    proxied = fields[0] == (None, "haproxy")
    if proxied:
        fields = fields[1:]
    key, kind = fields[0] if fields else (None, "")
    if key is not None or kind not in _KEYS:
        if kind in _TLS:
            raise ValueError(f"{kind}: is not taken here; write tcp:PORT and tls = true, with the certificate in [tls]")
        known = ", ".join(f"{name}:" for name in _KEYS)
        raise ValueError(f"{shown(value)} is no endpoint; it begins with {known} or haproxy: and one of these, "
                         'such as "tcp:25"')
    return _checked(value, kind, proxied, _settings(kind, fields[1:]))


def _fields(value: str) -> list[tuple[str | None, str]]:
    r"""The parts between colons, as (key, text); a backslash takes the meaning from the next character."""
    fields: list[tuple[str | None, str]] = []
    key: str | None = None
    text = ""
    characters = iter(value)
    for c in characters:
        if c == "\\":
            text += next(characters, "")
        elif c == ":":
            fields.append((key, text))
            key, text = None, ""
        elif c == "=" and key is None:
            key, text = text, ""
        else:
            text += c
    return [*fields, (key, text)]


def _settings(kind: str, fields: list[tuple[str | None, str]]) -> dict[str, str]:
    keys = _KEYS[kind]
    settings: dict[str, str] = {}
    for key, text in fields:
        if key is None and settings:
            raise ValueError(f'"{text}" needs a key, one of {", ".join(keys)}; write a colon inside a value as \\:')
        key = keys[0] if key is None else key
        if key not in keys:
            raise ValueError(f'{kind}: has no key "{key}"; known are {", ".join(keys)}')
        if key in settings:
            raise ValueError(f'"{key}" is given twice')
        settings[key] = text
    return settings


def _checked(value: str, kind: str, proxied: bool, settings: dict[str, str]) -> Endpoint:
    for key in ("backlog", "index"):
        if key in settings:
            _whole(key, settings[key], 0, 65535)
    if kind == "unix":
        if not settings.get("address"):
            raise ValueError("unix: needs a path, such as unix:/run/mailbridge/smtp")
        if "mode" in settings:
            _mode(settings["mode"])
        if settings.get("lockfile", "0") not in ("0", "1"):
            raise ValueError(f'lockfile must be 0 or 1, got "{settings["lockfile"]}"')
        return Endpoint(value, kind, proxied, f"path {settings['address']}")
    if kind == "systemd":
        if settings.get("domain") not in ("INET", "INET6", "UNIX"):
            raise ValueError("systemd: needs domain=INET, domain=INET6 or domain=UNIX")
        if ("index" in settings) == ("name" in settings):
            raise ValueError("systemd: needs either index=N or name=NAME, the socket to take over")
        return Endpoint(value, kind, proxied, f"socket {settings.get('name', settings.get('index'))}")
    port = _whole("port", settings.get("port", ""), 0, 65535)
    interface = settings.get("interface", "")
    if interface:
        try:
            version = ip_address(interface).version
        except ValueError:
            raise ValueError(f'interface must be an address of this host, got "{interface}"') from None
        if kind == "tcp6" and version == 4:
            raise ValueError(f"{interface} is IPv4; write tcp:{port}:interface={interface}")
    return Endpoint(value, kind, proxied, f"port {port}", interface)


def _whole(key: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and low <= int(text) <= high):
        raise ValueError(f'{key} must be {low} to {high}, got "{text}"')
    return int(text)


def _mode(text: str) -> None:
    if not (text.isascii() and len(text) <= 4 and text.isdigit() and set(text) <= set("01234567")):
        raise ValueError(f'mode must be octal such as 660, got "{text}"')
