"""SASL's plain values as twisted.cred credentials, so that any checker can judge them."""

from __future__ import annotations

from attrs import field, frozen
from twisted.cred.credentials import ICredentials, IUsernameHashedPassword, UsernamePassword
from zope.interface import Attribute, implementer

from mailbridge.sasl.values import Credentials, Digest, Password


class IProof(ICredentials):
    """A login that was proven, or not, without showing the password (SCRAM). Foreign checkers do not know it."""

    username = Attribute("The name as the client's octets.")
    proven = Attribute("Whether the proof was right.")


@implementer(IProof)
@frozen
class ProofCredentials:
    """What a SCRAM exchange ended with."""

    username: bytes
    proven: bool


@implementer(IUsernameHashedPassword)
@frozen
class DigestCredentials:
    """A CRAM-MD5 or APOP digest."""

    username: bytes
    digest: Digest = field(repr=False)

    def checkPassword(self, password: bytes) -> bool:
        """Whether the digest was made with `password`."""
        return self.digest.proves(password)


def for_portal(credentials: Credentials) -> ICredentials:
    """The credentials as a cred Portal takes them."""
    if isinstance(credentials, Password):
        return UsernamePassword(credentials.username, credentials.password)
    if isinstance(credentials, Digest):
        return DigestCredentials(credentials.username, credentials)
    return ProofCredentials(credentials.username, credentials.proven)
