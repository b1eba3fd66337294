"""`[oce]` and `[oce.tribes.NAME]` as frozen values, a part of `config.model`: what every key means, and its default."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen


@frozen
class TribeSettings:
    """One `[oce.tribes.NAME]`, a tribe by its name here. `key` is the address of its OCE, no secret.

    An embedded OCE reaches it at `url` and proves itself by `secret`, which both sides know, or by the certificate
    `identity` (PEM with its key); the other side is known by `ca` or `pin` (SHA-256), and proves itself by `secret` or
    by the certificate of `client_pin`. `allow_cleartext` takes http:// to another host.
    """

    key: str
    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    ca: Path | None = None
    pin: str | None = None
    client_pin: str | None = None
    identity: Path | None = None
    allow_cleartext: bool = False


@frozen(kw_only=True)
class OCESettings:
    """`[oce]`: the Online Communication Engine, another program at `url` or our own (`embedded`).

    `member` registers the bridge, with `password`; `coterie`, `app_id` and `dialect` are what the bridge tells the OCE.
    It asks for mail every `interval` seconds and keeps `request_interval` seconds between requests (None: none for an
    embedded one or one on this host, 1 otherwise). `ca`, `pin`, `identity` and `allow_cleartext` are for `url`.

    The embedded one is the tribe `name`, whose `key` is made when it has none. It listens at `listen`, in TLS with
    `tls`, for applications of `pod` (client lists) and for other tribes. Applications that `member` registers are
    approved at once unless `approve` is false; `registrars` may register some, all members when none are named.
    `request_lock` wrong passwords lock a host out for a time. `groups` are members by group, of coterie 1.
    """

    url: str | None = None
    embedded: bool = False
    member: str | None = None
    password: str | None = field(default=None, repr=False)
    coterie: str = "1"
    app_id: str = "SMTP:mailbridge"
    dialect: str = "osa"
    interval: float = 300.0
    request_interval: float | None = None
    allow_cleartext: bool = False
    ca: Path | None = None
    pin: str | None = None
    identity: Path | None = None
    name: str = "oce"
    key: str | None = None
    listen: str = "tcp:1895:interface=127.0.0.1"
    tls: bool = False
    approve: bool = True
    registrars: tuple[str, ...] = ()
    pod: tuple[str, ...] = ("localhost",)
    request_lock: int = 5
    groups: dict[str, tuple[str, ...]] = field(factory=dict)
    tribes: dict[str, TribeSettings] = field(factory=dict)
