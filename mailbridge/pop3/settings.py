"""What one POP3 listener is set to."""

from __future__ import annotations

from attrs import frozen

OFFER = "offer"
REQUIRE = "require"
OFF = "off"


@frozen
class Settings:
    """`name` stands in the greeting. `starttls`: with `require` nobody logs in before STLS, wherever he comes from.

    Passwords in clear are taken from loopback, and from elsewhere only with `login_in_clear`. `apop` offers APOP.
    """

    name: str
    starttls: str = OFFER
    login_in_clear: bool = False
    apop: bool = False
