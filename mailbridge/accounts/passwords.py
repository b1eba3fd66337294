"""Passwords as they are stored: a scrypt hash for PLAIN and LOGIN, a SCRAM-SHA-256 verifier, the secret on request.

The hash is text in the usual form, `$scrypt$ln=14,r=8,p=1$SALT$HASH` (base64 without padding), so the parameters can
grow without a migration. One hash takes 16 MiB and some 50 ms: never call this in the reactor thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable

from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import SASLError
from mailbridge.sasl.verifier import SALT_SIZE, ScramVerifier
from mailbridge.store.changes import Credentials

LOG_COST = 14
BLOCK_SIZE = 8
PARALLEL = 1
HASH_SIZE = 32
_MOST_MEMORY = 256 * 1024 * 1024  # a broken or hostile store must not make us take more for one hash
_LONGEST = 4096
_STORED = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{1,90})\$([A-Za-z0-9+/]{1,90})"
)


def make_credentials(
    password: str, keep_secret: bool = False, random: Callable[[int], bytes] = os.urandom
) -> Credentials:
    """What to store for a password; `keep_secret` keeps it in clear too, for CRAM-MD5 and APOP.

    Raises SASLError for a password with control characters. `random(n)` gives n octets for the salts.
    """
    password = prepare(password)
    return Credentials(
        _hashed(password, random(SALT_SIZE)),
        ScramVerifier.derive(password, random(SALT_SIZE)).text,
        password if keep_secret else None,
    )


def verify(password: bytes, credentials: Credentials) -> bool:
    """Whether `password` is the one. Raises ValueError, without showing it, when the stored hash is damaged."""
    match = _STORED.fullmatch(credentials.scrypt)
    if match is None:
        raise ValueError("a stored password hash cannot be read")
    log_cost, block_size, parallel = (int(match[part]) for part in (1, 2, 3))
    if not log_cost or not block_size or not parallel or 128 * block_size * 2**log_cost > _MOST_MEMORY:
        raise ValueError("a stored password hash has parameters that are out of bounds")
    salt, expected = _decode(match[4]), _decode(match[5])
    try:
        prepared = prepare(password)
    except SASLError:
        prepared, expected = "", b""  # takes its time all the same
    if len(prepared) > _LONGEST:
        prepared, expected = "", b""
    return hmac.compare_digest(_scrypt(prepared, salt, log_cost, block_size, parallel), expected)


def nobody() -> Credentials:
    """Credentials that no password fits, to spend the usual time on a name that does not exist."""
    salt, never = _encode(os.urandom(SALT_SIZE)), _encode(os.urandom(HASH_SIZE))
    return Credentials(f"$scrypt$ln={LOG_COST},r={BLOCK_SIZE},p={PARALLEL}${salt}${never}", "")


def _hashed(password: str, salt: bytes) -> str:
    digest = _scrypt(password, salt, LOG_COST, BLOCK_SIZE, PARALLEL)
    return f"$scrypt$ln={LOG_COST},r={BLOCK_SIZE},p={PARALLEL}${_encode(salt)}${_encode(digest)}"


def _scrypt(password: str, salt: bytes, log_cost: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8"), salt=salt, n=2**log_cost, r=block_size, p=parallel, maxmem=2 * _MOST_MEMORY,
        dklen=HASH_SIZE,
    )


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("a stored password hash cannot be read") from None
