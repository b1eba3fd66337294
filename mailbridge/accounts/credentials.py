"""SASL's plain values as twisted.cred credentials, so that any checker can judge them.

Beside what cred asks for they say where the client is: `peer`, its address as text, "" when nobody knows.
"""

from __future__ import annotations

import hmac

from attrs import field, frozen
from twisted.cred.credentials import ICredentials, IUsernameHashedPassword, IUsernamePassword
from zope.interface import Attribute, implementer

from mailbridge.sasl.values import Credentials, Digest, Password


class IProof(ICredentials):
    """A login that was proven, or not, without showing the password (SCRAM). Foreign checkers do not know it."""

    username = Attribute("The name as the client's octets.")
    proven = Attribute("Whether the proof was right.")


@implementer(IUsernamePassword)
@frozen
class PasswordCredentials:
    """A name and a password in clear."""

    username: bytes
    password: bytes = field(repr=False)
    peer: str = ""

    def checkPassword(self, password: bytes) -> bool:
        """Whether it is this password."""
        return hmac.compare_digest(self.password, password)


@implementer(IProof)
@frozen
class ProofCredentials:
    """What a SCRAM exchange ended with."""

    username: bytes
    proven: bool
    peer: str = ""


@implementer(IUsernameHashedPassword)
@frozen
class DigestCredentials:
    """A CRAM-MD5 or APOP digest."""

    username: bytes
    digest: Digest = field(repr=False)
    peer: str = ""

    def checkPassword(self, password: bytes) -> bool:
        """Whether the digest was made with `password`."""
        return self.digest.proves(password)


def for_portal(credentials: Credentials, peer: str = "") -> ICredentials:
    """The credentials of the client at `peer` as a cred Portal takes them."""
    if isinstance(credentials, Password):
        return PasswordCredentials(credentials.username, credentials.password, peer)
    if isinstance(credentials, Digest):
        return DigestCredentials(credentials.username, credentials, peer)
    return ProofCredentials(credentials.username, credentials.proven, peer)
