"""The one door through which SMTP and POP3 log in: portal, throttle and mechanisms together.

Works with any cred Portal: which mechanisms are offered is read from the credentials its checkers take. What went wrong
is told in two errors and everything else is a fault of our own (the store, the disk): the peer gets a 4yz for it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import LoginDenied, LoginFailed, Unauthorized, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface

from mailbridge.accounts.checkers import NothingToCompare, WrongSecret
from mailbridge.accounts.credentials import IProof, for_portal
from mailbridge.accounts.pool import PoolFull
from mailbridge.accounts.throttle import Throttle
from mailbridge.errors import MailbridgeError
from mailbridge.sasl.mechanisms import CRAM_MD5, LOGIN, PLAIN, SCRAM_SHA_256, Mechanisms
from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import Credentials, Password, SASLError
from mailbridge.sasl.verifier import Verifiers

Avatar = tuple[type[Interface], object, Callable[[], None]]
WHEN_BUSY = 2.0


class WrongPassword(MailbridgeError):
    """Name or password is wrong; which of them is nobody's business."""


class LoginLater(MailbridgeError):
    """Too many wrong passwords, or too much to do: not tried. `seconds` says when it may be."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"no login for another {seconds:.0f} seconds")


def always() -> bool:
    """Whatever the portal takes is offered."""
    return True


class Login:
    """Logs clients in.

    `random(n)` gives n octets that cannot be guessed. `verifiers` are needed to offer SCRAM. `digests()` says whether
    CRAM-MD5 and APOP are worth offering: not while no user's secret is kept, as clients would try them in vain.
    """

    _log = Logger()

    def __init__(
        self,
        portal: Portal,
        throttle: Throttle,
        hostname: str,
        random: Callable[[int], bytes],
        verifiers: Verifiers | None = None,
        digests: Callable[[], bool] = always,
    ) -> None:
        self._portal = portal
        self._throttle = throttle
        self._hostname = hostname
        self._random = random
        self._verifiers = verifiers
        self._digests = digests

    def mechanisms(self, peer: str) -> Mechanisms:
        """What the client at this address may log in with."""
        return Mechanisms(
            self._offered(), self._hostname, self._random, self._verifiers,
            lambda name: not self._throttle.blocked(peer, _throttled_name(name)),
        )

    @property
    def takes_apop(self) -> bool:
        """Whether APOP (a `sasl.values.Apop`) can succeed."""
        return IUsernameHashedPassword in self._portal.listCredentialsInterfaces() and self._digests()

    def _offered(self) -> tuple[str, ...]:
        taken = self._portal.listCredentialsInterfaces()
        names = [SCRAM_SHA_256] if IProof in taken and self._verifiers is not None else []
        if IUsernamePassword in taken:
            names += [PLAIN, LOGIN]
        if IUsernameHashedPassword in taken and self._digests():
            names.append(CRAM_MD5)
        return tuple(names)

    def login(self, credentials: Credentials, peer: str, interface: type[Interface]) -> Deferred[Avatar]:
        """Fires with (interface, avatar, logout). Fails with WrongPassword, LoginLater, or a fault of our own."""
        return Deferred.fromCoroutine(self._login(credentials, peer, interface))

    async def _login(self, credentials: Credentials, peer: str, interface: type[Interface]) -> Avatar:
        name = _throttled_name(credentials.username)
        self._not_blocked(peer, name)
        if isinstance(credentials, Password) and credentials.for_another:
            raise WrongPassword("nobody acts as somebody else")
        try:
            avatar: Avatar = await self._portal.login(for_portal(credentials, peer), None, interface)
        except (LoginDenied, UnhandledCredentials):
            raise
        except PoolFull:
            raise LoginLater(WHEN_BUSY) from None
        except NothingToCompare:
            raise WrongPassword("wrong") from None
        except (LoginFailed, Unauthorized) as error:
            self._not_blocked(peer, name)  # tried beside others that were wrong: no verdict, and not counted either
            self._throttle.failed(peer, name)
            # What was given as the name may be a password typed into the wrong field: only names of users are told.
            known = f"user {error.user!r}" if isinstance(error, WrongSecret) else "an unknown name"
            self._log.info("wrong password for {known} from {peer}", known=known, peer=peer)
            raise WrongPassword("wrong") from None
        try:
            self._not_blocked(peer, name)
        except LoginLater:
            avatar[2]()
            raise
        self._throttle.succeeded(peer, name)
        return avatar

    def _not_blocked(self, peer: str, name: str) -> None:
        seconds = self._throttle.blocked(peer, name)
        if seconds:
            raise LoginLater(seconds)


def _throttled_name(username: bytes) -> str:
    """One name for all spellings of an account, without asking a directory: known and unknown names count alike."""
    try:
        name = prepare(username[:512])
    except SASLError:
        name = username[:512].decode("utf-8", "replace")
    name = name.casefold()
    return name.rpartition("@")[0] or name
