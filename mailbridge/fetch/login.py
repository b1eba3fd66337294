"""How each account logs in, and the opener that collections use: secrets are fetched anew for each session."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from mailbridge.edge.upstream import open_upstream
from mailbridge.edge.upstreamsession import UpstreamSession
from mailbridge.fetch.account import Account
from mailbridge.fetch.secret import Secret, reveal
from mailbridge.fetch.session import Opener
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin


@frozen(kw_only=True)
class AccountLogin:
    """`auth` and `in_clear` as in UpstreamLogin; a password or a token."""

    user: str
    auth: str = "auto"
    in_clear: bool = False
    password: Secret | None = None
    token: Secret | None = None


def opener(
    reactor: Any, logins: Mapping[str, AccountLogin], limits: UpstreamLimits,
    transcript: Callable[[str], Callable[[str], object] | None],
) -> Opener:
    """Opens sessions of accounts, whose `key` finds the login.

    `transcript(name)` gives what takes the lines that are said in a session of that account, None when nobody reads
    them.
    """

    async def open_account(account: Account) -> UpstreamSession:
        login = logins[account.key]
        password = await reveal(login.password, reactor) if login.password is not None else None
        token = await reveal(login.token, reactor) if login.token is not None else None
        who = UpstreamLogin(login.user, password, token, login.auth, login.in_clear)
        return await open_upstream(reactor, account.upstream, who, os.urandom, limits, transcript(account.name))

    return lambda account: Deferred.fromCoroutine(open_account(account))
