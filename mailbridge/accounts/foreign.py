"""Logins judged by a checker of somebody else (`authentication_lib`): twisted.cred's, named by a dotted name.

Who it lets in is known by what it calls him, the avatar id, which is his SMTP address: he sends as that address only.
He is no user of the store and has no mailbox. Passwords come in clear (PLAIN, LOGIN): a checker knows nothing of SCRAM.
A checker runs in the reactor: it must not block, and may answer by a Deferred, which is waited for `PATIENCE` seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword
from twisted.cred.error import LoginFailed, Unauthorized, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from mailbridge.accounts.login import Avatar, Login
from mailbridge.accounts.throttle import Throttle
from mailbridge.address import Address
from mailbridge.errors import MailbridgeError, StartError

PATIENCE = 30.0
"""Seconds a checker may take."""


class CheckerFailed(MailbridgeError):
    """The checker could not judge. Its own words are not repeated: they may hold the password."""


def load_checker(dotted: str, place: str = "receiver.authentication_lib") -> ICredentialsChecker:
    """The checker that `package.module.name` names: an ICredentialsChecker, or what makes one when called without
    arguments. Raises StartError with `place`, the name and the reason.
    """
    try:
        checker = _named(dotted)
        if not ICredentialsChecker.providedBy(checker) and callable(checker):
            checker = checker()
    except Exception as error:  # whatever the module does when it is imported is its own
        reason = str(error) if isinstance(error, LookupError | ImportError) else f"{type(error).__name__}: {error}"
        raise StartError(f"{place}: cannot use {dotted}: {' '.join(reason.split())}") from None
    if not ICredentialsChecker.providedBy(checker):
        raise StartError(f"{place}: {dotted} is no twisted.cred checker (ICredentialsChecker), nor does it make one")
    if not any(taken.isOrExtends(IUsernamePassword) for taken in checker.credentialInterfaces):
        raise StartError(f"{place}: {dotted} does not take user names with passwords (IUsernamePassword)")
    return checker


def _named(dotted: str) -> object:
    """What a dotted name stands for. Raises LookupError, or what an import raises."""
    parts = dotted.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise LookupError("it is written like package.module.name")
    found: object = import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            try:
                import_module(".".join(parts[:number]))
            except ModuleNotFoundError as error:
                if error.name != ".".join(parts[:number]):
                    raise
        if not hasattr(found, part):
            raise LookupError(f"{'.'.join(parts[:number - 1])} has no {part}")
        found = getattr(found, part)
    return found


def foreign_login(
    checker: ICredentialsChecker,
    delivery_for: Callable[[str], Avatar],
    throttle: Throttle,
    hostname: str,
    random: Callable[[int], bytes],
    clock: IReactorTime,
) -> Login:
    """A Login for a listener whose clients `checker` judges. `delivery_for(address)` gives (IMessageDelivery, delivery,
    logout); the throttle is the one of all logins, so guesses count together.
    """
    return Login(Portal(_Realm(delivery_for), [_Judge(checker, clock)]), throttle, hostname, random)


def sends_as_himself(login: str, sender: Address) -> bool:
    """Whether `sender` is the address that somebody logged in with, in any case."""
    return sender.key == login.casefold()


@implementer(ICredentialsChecker)
class _Judge:
    """The foreign checker behind what we rely on: one interface, an end, a name, and no words of its own in a log."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checker: ICredentialsChecker, clock: IReactorTime) -> None:
        self._checker = checker
        self._clock = clock

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[bytes | tuple[()]]:
        """Fires with the user's address; fails with an error of cred, or CheckerFailed."""
        judged: Deferred[object] = maybeDeferred(self._checker.requestAvatarId, credentials)
        judged.addTimeout(PATIENCE, self._clock)
        return judged.addCallbacks(_avatar_id, _failed)


def _avatar_id(given: object) -> bytes:
    name = given.encode("utf-8", "replace") if isinstance(given, str) else given
    if isinstance(name, bytes) and name:
        return name
    raise UnauthorizedLogin()  # ANONYMOUS, or nothing


def _failed(failure: Failure) -> Failure:
    if failure.check(LoginFailed, Unauthorized):
        return failure
    where = f" at {failure.frames[-1][1]}:{failure.frames[-1][2]}" if failure.frames else ""
    raise CheckerFailed(f"the checker of authentication_lib failed with {type(failure.value).__name__}{where}")


@implementer(IRealm)
class _Realm:
    """Gives a delivery and nothing else."""

    def __init__(self, delivery_for: Callable[[str], Avatar]) -> None:
        self._delivery_for = delivery_for

    def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]) -> Avatar:
        """The delivery of the client with that address."""
        if IMessageDelivery not in interfaces or not isinstance(avatarId, bytes):
            raise NotImplementedError(f"no avatar for {interfaces!r}")
        return self._delivery_for(avatarId.decode("utf-8", "replace"))
