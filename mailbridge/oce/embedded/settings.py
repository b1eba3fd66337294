"""What the embedded OCE is told: its coteries, the other tribes, who may do what. Frozen values, no reading."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from mailbridge.limits import KIB, MIB

FIRST_COTERIE = "1"
"""The coterie that every tribe has, of all its members."""


@frozen
class Coterie:
    """`groups` are members by the name of the group. The members of a coterie are those of its groups; of coterie 1,
    all."""

    groups: Mapping[str, tuple[str, ...]] = field(factory=dict)


@frozen
class RemoteTribe:
    """Another tribe: its name here, the key of its OCE, and how that OCE proves itself when it sends to us.

    By `secret` if there is one (`keys.sign`), else by the certificate whose SHA-256 is `pin`; with neither it cannot.
    """

    name: str
    key: str
    secret: bytes | None = field(default=None, repr=False)
    pin: str | None = None


@frozen
class OCESettings:
    """`name` of the tribe. `member` is the operator: applications that he registers are approved at once, unless
    `approve` is false.

    `registrars` may register applications, all members when there are none named. `pod` are the addresses of
    applications (entries of `routing.access`). Two requests of one host must be `request_interval` seconds apart
    (0: no rule; never for loopback); `request_lock` offences or wrong passwords lock a host out for a time.
    `largest` are the octets of one request, `largest_all` of all that are being read.
    """

    name: str = "oce"
    member: str = ""
    approve: bool = True
    registrars: tuple[str, ...] = ()
    coteries: Mapping[str, Coterie] = field(factory=dict)
    tribes: tuple[RemoteTribe, ...] = ()
    pod: tuple[str, ...] = ("localhost",)
    request_interval: float = 0.0
    request_lock: int = 5
    largest: int = 64 * MIB
    largest_all: int = 256 * MIB
    connections: int = 200
    connections_per_client: int = 64
    idle: float = 60.0
    slowest: int = 16 * KIB
    """Octets a second that a client must send or take on the average."""
