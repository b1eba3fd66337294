"""What a SASL exchange hands back: a challenge to send, or the credentials a client brought; and its errors.

Credentials are plain values here. Whether they are right is decided by a cred Portal (`accounts.login`), never in this
room. No repr shows a password or a digest.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar

from attrs import field, frozen

from mailbridge.errors import MailbridgeError


class SASLError(MailbridgeError):
    """The client broke the rules of the exchange (SMTP 501, POP3 -ERR). Nothing was tried: no password was wrong."""


class BadBase64(SASLError):
    """A response is not base64 (RFC 4648 section 4, no blanks, no stray padding bits)."""


class Cancelled(SASLError):
    """The client gave the login up with `*` (RFC 4954 section 4)."""


@frozen
class Password:
    """A name and a password in clear (PLAIN, LOGIN, POP3 USER/PASS), as the client's octets.

    `authzid` is the name the client wants to act as, empty for its own (RFC 4616); see `for_another`.
    """

    username: bytes
    password: bytes = field(repr=False)
    authzid: bytes = b""

    @property
    def for_another(self) -> bool:
        """Whether the client wants to act as somebody else, which nobody may."""
        return bool(self.authzid) and _fold(self.authzid) != _fold(self.username)


@frozen
class Digest:
    """A keyed digest of a challenge: proves a secret that is kept in clear on both sides."""

    username: bytes
    challenge: bytes
    digest: bytes = field(repr=False)

    def proves(self, secret: bytes) -> bool:
        """Whether the client's digest was made with `secret`; takes the same time for each answer."""
        return hmac.compare_digest(self.expected(secret), self.digest)

    def expected(self, secret: bytes) -> bytes:
        """The digest in lower-case hex that `secret` gives."""
        raise NotImplementedError


@frozen
class CramMD5(Digest):
    """CRAM-MD5 (RFC 2195): HMAC-MD5 of the challenge."""

    def expected(self, secret: bytes) -> bytes:
        """HMAC-MD5 in hex."""
        return hmac.digest(secret, self.challenge, "md5").hex().encode("ascii")


@frozen
class Apop(Digest):
    """APOP (RFC 1939 section 7): MD5 of the greeting's time stamp, brackets included, and the secret."""

    def expected(self, secret: bytes) -> bytes:
        """MD5 in hex."""
        return hashlib.md5(self.challenge + secret, usedforsecurity=False).hexdigest().encode("ascii")


@frozen
class Proof:
    """A name whose owner has proven, or failed to prove, that he knows the password, without showing it (SCRAM)."""

    username: bytes
    proven: bool


Credentials = Password | Digest | Proof


@frozen
class Challenge:
    """Send `data`, which is base64 already, after `334 ` or `+ `, and pass the next line to `step`."""

    data: bytes
    EMPTY: ClassVar[Challenge]


Challenge.EMPTY = Challenge(b"")


@frozen
class Proven:
    """The exchange is over: give `credentials` to the portal, which judges them."""

    credentials: Credentials


def _fold(name: bytes) -> str:
    return name.decode("utf-8", "replace").casefold()
