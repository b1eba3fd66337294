"""How a POP3 server is used that mail is fetched from: the login and the limits, as plain values."""

from __future__ import annotations

from attrs import field, frozen

from mailbridge.limits import MIB

AUTO = "auto"
APOP = "apop"
USER = "user"
MECHANISMS = {
    "plain": "PLAIN", "login": "LOGIN", "cram-md5": "CRAM-MD5", "scram-sha-256": "SCRAM-SHA-256", "xoauth2": "XOAUTH2"
}
"""The SASL mechanisms that a login may ask for, and their names on the wire."""
LOGINS = (AUTO, APOP, USER, *MECHANISMS)
"""Every value of `UpstreamLogin.auth`."""


@frozen
class UpstreamLogin:
    """Who we are: a name with a password, or with a token (XOAUTH2).

    `auth` is one of LOGINS: `auto` takes the strongest that the server offers and falls back to USER and PASS, never to
    APOP. Nothing that shows password or token goes in clear to others than loopback unless `in_clear`.
    """

    user: str
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    auth: str = AUTO
    in_clear: bool = False


@frozen
class UpstreamLimits:
    """Times in seconds, sizes in octets.

    `reply` is for the first line of an answer, `listing` for a whole list; in each minute of a text `least_a_minute`
    octets must come. `messages` are kept of a list, the rest is counted; `message_size` bounds a message (None: any).
    """

    connect: float = 60.0
    tls: float = 60.0
    reply: float = 300.0
    listing: float = 600.0
    quit: float = 10.0
    least_a_minute: int = 10_000
    messages: int = 50_000
    message_size: int | None = 50 * MIB
