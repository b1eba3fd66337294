"""SASL, the client's side: SCRAM-SHA-256, DIGEST-MD5, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL, PLAIN, LOGIN.

A mechanism is octets in and out without base64. `satisfied` is false as long as a mechanism that lets the server prove
itself (SCRAM) has not seen that proof. No repr shows a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable

from mailbridge.errors import MailbridgeError
from mailbridge.sasl.prep import prepare

FEWEST_ITERATIONS, MOST_ITERATIONS = 4096, 150_000
"""Of SCRAM: fewer help a false server to guess the password (RFC 7677 4), more would hold up the reactor."""
_TOKEN = re.compile(r"[!-~]+")


class MechanismFailed(MailbridgeError):
    """The server's challenge makes no sense, or it could not prove itself; the login is given up with `*`."""


class ClientMechanism:
    """One login with one mechanism. `start` gives the initial response (None: there is none), `step` an answer.

    `secrets` are octets that no text may show once they have been sent.
    """

    name = ""
    satisfied = True
    secrets: tuple[bytes, ...] = ()

    def start(self) -> bytes | None:
        """The initial response."""
        return None

    def step(self, challenge: bytes) -> bytes:
        """The answer to a challenge. Raises MechanismFailed."""
        raise MechanismFailed("no challenge was expected")


class Plain(ClientMechanism):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, user: str, password: str) -> None:
        secret = prepare(password).encode("utf-8")
        self._response = b"\0%s\0%s" % (prepare(user).encode("utf-8"), secret)
        self.secrets = (secret,)

    def start(self) -> bytes | None:
        """User and password."""
        return self._response


class Login(ClientMechanism):
    """LOGIN: the name, then the password, whatever the server calls its prompts."""

    name = "LOGIN"

    def __init__(self, user: str, password: str) -> None:
        self._answers = [user.encode("utf-8"), password.encode("utf-8")]
        self.secrets = (self._answers[1],)

    def step(self, challenge: bytes) -> bytes:
        """The next of the two."""
        if not self._answers:
            raise MechanismFailed("LOGIN asks for two things only")
        return self._answers.pop(0)


class CramMD5(ClientMechanism):
    """CRAM-MD5 (RFC 2195)."""

    name = "CRAM-MD5"

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user.encode("utf-8"), password.encode("utf-8")

    def step(self, challenge: bytes) -> bytes:
        """The keyed digest of the challenge."""
        return self._user + b" " + hmac.digest(self._password, challenge, "md5").hex().encode("ascii")


class Scram(ClientMechanism):
    """SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. `nonce` is random and printable."""

    name = "SCRAM-SHA-256"
    satisfied = False
    _FIRST = re.compile(rb"r=([!-+\--~]{1,1024}),s=([A-Za-z0-9+/=]{1,1024}),i=([0-9]{1,9})(?:,.*)?")

    def __init__(self, user: str, password: str, nonce: bytes) -> None:
        name = prepare(user).replace("=", "=3D").replace(",", "=2C")
        self._password = prepare(password).encode("utf-8")
        self._nonce = nonce
        self._bare = b"n=%s,r=%s" % (name.encode("utf-8"), nonce)
        self._signature: bytes | None = None

    def start(self) -> bytes | None:
        """client-first."""
        return b"n,," + self._bare

    def step(self, challenge: bytes) -> bytes:
        """client-final to server-first; nothing to server-final, once it is right."""
        if self._signature is not None:
            if not hmac.compare_digest(challenge, b"v=" + b64encode(self._signature)):
                raise MechanismFailed("the server does not know the password itself")
            self.satisfied = True
            return b""
        match = self._FIRST.fullmatch(challenge)
        if match is None or not match[1].startswith(self._nonce):
            raise MechanismFailed("this is no SCRAM server-first message")
        if not FEWEST_ITERATIONS <= int(match[3]) <= MOST_ITERATIONS:
            raise MechanismFailed("the server's number of SCRAM iterations is out of bounds")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, b64decode(match[2]), int(match[3]))
        final = b"c=biws,r=" + match[1]
        message = self._bare + b"," + challenge + b"," + final
        key = hmac.digest(salted, b"Client Key", "sha256")
        proof = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return final + b",p=" + b64encode(bytes(a ^ b for a, b in zip(key, proof, strict=True)))


class DigestMD5(ClientMechanism):
    """DIGEST-MD5 (RFC 2831), `auth` only; for servers that have nothing better. `nonce` is random and printable."""

    name = "DIGEST-MD5"
    _PAIR = re.compile(rb'\s*([a-zA-Z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)')

    def __init__(self, user: str, password: str, host: str, nonce: bytes, service: str = "smtp") -> None:
        self._user, self._password = user, password
        self._uri = f"{service}/{host}".encode("ascii", "replace")
        self._nonce = nonce
        self._proof_of_server: bytes | None = None

    def step(self, challenge: bytes) -> bytes:
        """The response to the challenge; nothing to the server's `rspauth`, once it is right."""
        given: dict[bytes, bytes] = {}
        for match in self._PAIR.finditer(challenge):
            given.setdefault(match[1].lower(), match[2] if match[2] is not None else match[3])
        if self._proof_of_server is not None:
            if not hmac.compare_digest(given.get(b"rspauth", b""), self._proof_of_server):
                raise MechanismFailed("the server does not know the password itself")
            return b""
        nonce, realm = given.get(b"nonce", b""), given.get(b"realm", b"")
        offered = _words(given.get(b"qop", b"auth"))
        if not nonce or any(c in nonce + realm for c in b'"\\\r\n') or b"auth" not in offered:
            raise MechanismFailed("this is no DIGEST-MD5 challenge")
        secret = hashlib.md5(
            b":".join((_hashed(self._user), realm, _hashed(self._password))), usedforsecurity=False
        ).digest()
        first = _md5(secret + b":" + nonce + b":" + self._nonce)
        proof, self._proof_of_server = (
            _md5(b":".join((first, nonce, b"00000001", self._nonce, b"auth", _md5(verb + b":" + self._uri))))
            for verb in (b"AUTHENTICATE", b"")
        )
        user = self._user.encode("utf-8").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return (
            b'charset=utf-8,username="%s",realm="%s",nonce="%s",nc=00000001,cnonce="%s",digest-uri="%s",response=%s,'
            b"qop=auth" % (user, realm, nonce, self._nonce, self._uri, proof)
        )


def _words(octets: bytes) -> list[bytes]:
    return [word.strip().lower() for word in octets.split(b",")]


def _hashed(text: str) -> bytes:
    """The form that is hashed: ISO 8859-1 where the text fits into that, else UTF-8 (RFC 2831 2.1.2.1)."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def _bearer(token: str) -> bytes:
    if not _TOKEN.fullmatch(token):
        raise MechanismFailed("the token has a character in it that no token has")
    return token.encode("ascii")


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).hexdigest().encode("ascii")


class XOAuth2(ClientMechanism):
    """XOAUTH2, as Google and Microsoft have it. `two_step` waits for a challenge before the token is sent."""

    name = "XOAUTH2"

    def __init__(self, user: str, token: str, two_step: bool = False) -> None:
        secret = _bearer(token)
        self._response = b"user=%s\x01auth=Bearer %s\x01\x01" % (prepare(user).encode("utf-8"), secret)
        self.secrets = (secret,)
        self._two_step = two_step
        self._sent = False

    def start(self) -> bytes | None:
        """The token, unless it waits."""
        if self._two_step:
            return None
        self._sent = True
        return self._response

    def step(self, challenge: bytes) -> bytes:
        """The token; nothing to the challenge that carries the error, so that the refusal comes."""
        if self._sent:
            return b""
        self._sent = True
        return self._response


class OAuthBearer(ClientMechanism):
    """OAUTHBEARER (RFC 7628)."""

    name = "OAUTHBEARER"

    def __init__(self, user: str, token: str, host: str, port: int) -> None:
        name = prepare(user).replace("=", "=3D").replace(",", "=2C").encode("utf-8")
        secret = _bearer(token)
        self._response = b"n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01" % (
            name, host.encode("ascii", "replace"), port, secret
        )
        self.secrets = (secret,)

    def start(self) -> bytes | None:
        """The token."""
        return self._response

    def step(self, challenge: bytes) -> bytes:
        """What RFC 7628 3.2.3 wants after an error."""
        return b"\x01"


class External(ClientMechanism):
    """EXTERNAL (RFC 4422 appendix A): the client certificate says who we are."""

    name = "EXTERNAL"

    def __init__(self, user: str = "") -> None:
        self._user = user.encode("utf-8")

    def start(self) -> bytes | None:
        """The name to act as, or nothing."""
        return self._user


def for_password(
    user: str, password: str, host: str, nonce: Callable[[], bytes], in_clear: bool
) -> list[ClientMechanism]:
    """The mechanisms for a name and a password, strongest first; with `in_clear` those that show the password too."""
    mechanisms: list[ClientMechanism] = [
        Scram(user, password, nonce()), DigestMD5(user, password, host, nonce()), CramMD5(user, password)
    ]
    return mechanisms + ([Plain(user, password), Login(user, password)] if in_clear else [])
