"""How a configured relay logs in: a password or a token, strongest mechanism first, nothing in clear unless allowed."""

from __future__ import annotations

from collections.abc import Callable

from mailbridge.edge.sending import Login, Server
from mailbridge.sasl.client import ClientMechanism, OAuthBearer, XOAuth2, for_password

_NONCE_OCTETS = 18


def login(
    user: str, password: str | None, token: str | None, in_clear: bool, random: Callable[[int], bytes]
) -> Login:
    """A login with `password`, or else with `token`. `random(n)` gives n octets nobody can guess."""

    def mechanisms(server: Server, encrypted: bool) -> list[ClientMechanism]:
        may_show = encrypted or in_clear
        if password is not None:
            return for_password(
                user, password, server.host, lambda: random(_NONCE_OCTETS).hex().encode("ascii"), may_show
            )
        if token is None or not may_show:
            return []
        return [OAuthBearer(user, token, server.host, server.port), XOAuth2(user, token)]

    return Login(mechanisms)
