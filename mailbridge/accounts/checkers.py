"""The cred checker for the users of the store.

Takes IUsernamePassword, IUsernameHashedPassword (CRAM-MD5 and APOP, for users whose secret is kept) and IProof (SCRAM).
The avatar id is the user's id in decimal ASCII: `b"7"`. An unknown name costs the time of a known one.
"""

from __future__ import annotations

from typing import Protocol

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge.accounts import passwords
from mailbridge.accounts.credentials import IProof
from mailbridge.accounts.pool import Pool
from mailbridge.accounts.throttle import source_of
from mailbridge.accounts.verified import VerifiedLogins
from mailbridge.routing.names import fold_name
from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import SASLError
from mailbridge.sasl.verifier import ScramVerifier, false_verifier
from mailbridge.store.changes import Credentials, User

_Attempt = tuple[str, bytes, bytes]
"""Whence, the name as given, and the token of the password."""

NOBODY = -1  # the id that stands for users who do not exist; the store gives none below 1


class Directory(Protocol):
    """What this room needs of `routing.directory`."""

    def login(self, name: str) -> User | None:
        """The user who logs in as `name` (`bonnie`, `bonnie@` and a local domain)."""

    def by_id(self, number: int) -> User | None:
        """The user with that id."""

    def is_local(self, domain: str) -> bool:
        """Whether `domain` is one of ours."""


class NothingToCompare(UnauthorizedLogin):
    """A digest came for a name without a kept secret: it cannot be right, so it was no guess either."""


class WrongSecret(UnauthorizedLogin):
    """There is this user, by the name in the store, but the proof was wrong. For the log, never for the client."""

    def __init__(self, user: str) -> None:
        self.user = user
        super().__init__()


@implementer(ICredentialsChecker)
class Checker:
    """Judges credentials by the directory. Hashing is done by `pool`; what was verified is in `verified`.

    Passwords that are being verified are not verified twice: twenty sessions of one client at once cost one hash.
    Credentials without a `peer`, made by others, all count as one client.
    """

    credentialInterfaces = (IUsernamePassword, IUsernameHashedPassword, IProof)

    def __init__(self, directory: Directory, pool: Pool, verified: VerifiedLogins) -> None:
        self._directory = directory
        self._pool = pool
        self._verified = verified
        self._nobody = User(NOBODY, "", passwords.nobody())
        self._under_way: dict[_Attempt, list[Deferred[bool]]] = {}

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[bytes | tuple[()]]:
        """Fires with the user's id. Fails with UnauthorizedLogin, or with PoolFull or ValueError (a damaged hash)."""
        user = find(self._directory, credentials.username)  # type: ignore[attr-defined]
        if IProof.providedBy(credentials):
            if user is None or not credentials.proven:
                raise _wrong(user)
            return succeed(_avatar_id(user))
        if IUsernamePassword.providedBy(credentials):
            return self._check_password(user or self._nobody, credentials)
        secret = user.credentials.secret if user is not None else None
        if user is None or secret is None:
            raise NothingToCompare()
        if not credentials.checkPassword(secret.encode("utf-8")):  # type: ignore[attr-defined]
            raise _wrong(user)
        return succeed(_avatar_id(user))

    def _check_password(self, user: User, credentials: IUsernamePassword) -> Deferred[bytes | tuple[()]]:
        name, password = credentials.username, credentials.password
        client = source_of(getattr(credentials, "peer", "")).key
        token = self._verified.token(user, password)
        if self._verified.knows(token):
            return succeed(_avatar_id(user))
        return self._verify((client, name, token), password, user.credentials).addCallback(self._judge, user)

    def _verify(self, attempt: _Attempt, password: bytes, stored: Credentials) -> Deferred[bool]:
        waiter: Deferred[bool] = Deferred()
        if attempt in self._under_way:
            self._under_way[attempt].append(waiter)
            return waiter
        self._under_way[attempt] = [waiter]  # first: whoever loses a place for this may try again at once
        work = self._pool.run(lambda: passwords.verify(password, stored), *attempt[:2])
        work.addBoth(self._verdict, attempt)
        return waiter

    def _verdict(self, right: bool | Failure, attempt: _Attempt) -> None:
        if right is True:
            self._verified.remember(attempt[2])
        for waiter in self._under_way.pop(attempt):
            if not waiter.called:  # one whose client has gone was cancelled
                waiter.callback(right)

    def _judge(self, right: bool, user: User) -> bytes:
        now = self._directory.by_id(user.id)
        if not right or now is None or now.credentials != user.credentials:
            raise _wrong(user)  # also when the password was changed, or the user removed, in the meantime
        return _avatar_id(user)


class ScramVerifiers:
    """Finds the SCRAM verifier of a name.

    `secret` (32 random octets) makes the false verifiers of names that do not exist; kept over restarts it makes them
    as stable as the true ones. Spellings of one name share one false verifier, as they share a true one.
    """

    _log = Logger()

    def __init__(self, directory: Directory, secret: bytes) -> None:
        self._directory = directory
        self._secret = secret

    def scram(self, username: str) -> ScramVerifier:
        """The verifier, or a false one: also for a user whose stored one is damaged, who can log in otherwise."""
        user = find(self._directory, username)
        if user is not None:
            try:
                return ScramVerifier.parse(user.credentials.scram)
            except ValueError:
                self._log.error("the SCRAM verifier of user {name!r} is damaged; set the password anew", name=user.name)
        local, at, domain = username.rpartition("@")
        name = local if at and self._directory.is_local(domain) else username
        return false_verifier(fold_name(prepare(name)), self._secret)


def find(directory: Directory, name: bytes | str) -> User | None:
    """The user of a name as a client wrote it; None also for what can be no name."""
    try:
        return directory.login(prepare(name))
    except SASLError:
        return None


def _wrong(user: User | None) -> UnauthorizedLogin:
    return UnauthorizedLogin() if user is None or user.id == NOBODY else WrongSecret(user.name)


def _avatar_id(user: User) -> bytes:
    return b"%d" % user.id
