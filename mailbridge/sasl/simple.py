"""The mechanisms of one or two messages: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), CRAM-MD5 (RFC 2195)."""

from __future__ import annotations

import re

from mailbridge.sasl.exchange import MAX_NAME, Exchange
from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import Challenge, CramMD5, Password, Proven, SASLError

_CRAM_RESPONSE = re.compile(rb"(.+) ([0-9a-f]{32})", re.DOTALL)


def checked_name(octets: bytes) -> bytes:
    """A user name that is UTF-8, not empty, not endless and without control characters. Raises SASLError."""
    if not octets or len(octets) > MAX_NAME:
        raise SASLError("the user name is empty or too long")
    prepare(octets)
    return octets


class Plain(Exchange):
    """`[authzid] NUL authcid NUL password` in one message."""

    def advance(self, message: bytes | None) -> Challenge | Proven:
        """Split the message."""
        if message is None:
            return Challenge.EMPTY
        parts = message.split(b"\0")
        if len(parts) != 3:
            raise SASLError("a PLAIN message has three parts")
        authzid, username, password = parts
        if authzid:
            checked_name(authzid)
        return Proven(Password(checked_name(username), password, authzid))


class Login(Exchange):
    """Name and password, each asked for; many devices know nothing else. An initial response is the name."""

    def __init__(self) -> None:
        super().__init__()
        self._username: bytes | None = None

    def advance(self, message: bytes | None) -> Challenge | Proven:
        """Ask for what is missing."""
        if message is None:
            return Challenge(b"Username:")
        if self._username is None:
            self._username = checked_name(message)
            return Challenge(b"Password:")
        return Proven(Password(self._username, message))


class Cram(Exchange):
    """CRAM-MD5; `challenge` must never be used twice."""

    def __init__(self, challenge: bytes) -> None:
        super().__init__()
        self._challenge = challenge
        self._sent = False

    def advance(self, message: bytes | None) -> Challenge | Proven:
        """Send the challenge, then take the name and the digest apart."""
        if not self._sent:
            if message is not None:
                raise SASLError("CRAM-MD5 has no initial response")
            self._sent = True
            return Challenge(self._challenge)
        match = _CRAM_RESPONSE.fullmatch(message or b"")
        if match is None:
            raise SASLError("a CRAM-MD5 response is a name, a space and 32 hex digits")
        return Proven(CramMD5(checked_name(match[1]), self._challenge, match[2]))
