"""SCRAM-SHA-256 verifiers (RFC 5802 section 3, RFC 7677): what a server keeps instead of a password.

The text form is PostgreSQL's, so that an operator finds documentation for it:
`SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, the last three in base64. It does not give the password away, but
whoever has it can guess off-line: treat it as a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Protocol

from attrs import field, frozen

from mailbridge.sasl.prep import prepare

ITERATIONS = 4096
MAX_ITERATIONS = 1_000_000
SALT_SIZE = 16
_TEXT = re.compile(r"SCRAM-SHA-256\$([0-9]{1,7}):([A-Za-z0-9+/=]{1,512})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)")


@frozen
class ScramVerifier:
    """The salt and keys of one password (RFC 5802: StoredKey, ServerKey)."""

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, password: str, salt: bytes, iterations: int = ITERATIONS) -> ScramVerifier:
        """The verifier of a password; about 2 ms for 4096 iterations. Raises SASLError as `prepare` does."""
        salted = hashlib.pbkdf2_hmac("sha256", prepare(password).encode("utf-8"), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return cls(salt, iterations, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))

    @classmethod
    def parse(cls, text: str) -> ScramVerifier:
        """The verifier of its text form. Raises ValueError, which does not show the text."""
        match = _TEXT.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= MAX_ITERATIONS:
            raise ValueError("this is no SCRAM-SHA-256 verifier")
        try:
            salt, stored_key, server_key = (base64.b64decode(part, validate=True) for part in match.groups()[1:])
        except binascii.Error:
            raise ValueError("this is no SCRAM-SHA-256 verifier") from None
        return cls(salt, int(match[1]), stored_key, server_key)

    @property
    def text(self) -> str:
        """The form that is stored."""
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"

    def accepts(self, proof: bytes, auth_message: bytes) -> bool:
        """Whether `proof` is the ClientProof of the password over `auth_message`; constant time."""
        signature = hmac.digest(self.stored_key, auth_message, "sha256")
        if len(proof) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key)

    def signature(self, auth_message: bytes) -> bytes:
        """The ServerSignature: shows the client that this server knows the password too."""
        return hmac.digest(self.server_key, auth_message, "sha256")


class Verifiers(Protocol):
    """Finds the verifier of a name as the client wrote it."""

    def scram(self, username: str) -> ScramVerifier:
        """Always a verifier; for an unknown name a stable false one (`false_verifier`), so a guesser learns nothing."""


def false_verifier(name: str, secret: bytes) -> ScramVerifier:
    """A verifier that no password fits, always the same for one name. `secret` is at least 32 random octets."""
    salt, stored, server = (
        hmac.digest(secret, part + name.encode("utf-8", "surrogatepass"), "sha256")
        for part in (b"salt\0", b"stored\0", b"server\0")
    )
    return ScramVerifier(salt[:SALT_SIZE], ITERATIONS, stored, server)
