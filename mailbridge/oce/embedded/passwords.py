"""Passwords of members who register applications: the bridge's own checker, slowed down for those who guess."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import LoginFailed, Unauthorized
from twisted.internet.defer import Deferred

from mailbridge.accounts.credentials import PasswordCredentials
from mailbridge.accounts.pool import PoolFull
from mailbridge.accounts.throttle import Throttle
from mailbridge.oce.embedded.deeds import Refused


class Passwords:
    """`checker` is what SMTP and POP3 log in with; hashing is never done in the reactor thread."""

    def __init__(self, checker: ICredentialsChecker, throttle: Throttle) -> None:
        self._checker = checker
        self._throttle = throttle

    def check(self, member: str, password: str, peer: str) -> Deferred[None]:
        """Fires when it is his password. Fails with Refused: INVPASS, KILL for a host that guessed too often."""
        return Deferred.fromCoroutine(self._check(member, password, peer))

    async def _check(self, member: str, password: str, peer: str) -> None:
        seconds = self._throttle.blocked(peer, member)
        if seconds:
            raise Refused("KILL", f"too many wrong passwords, no registration for another {seconds:.0f} seconds")
        try:
            judged: Any = self._checker.requestAvatarId(
                PasswordCredentials(member.encode("utf-8"), password.encode("utf-8"), peer))
            await judged
        except PoolFull:
            raise Refused("INTERR", "too many password checks wait already; try again") from None
        except (LoginFailed, Unauthorized):
            self._throttle.failed(peer, member)
            raise Refused("INVPASS") from None
        self._throttle.succeeded(peer, member)
