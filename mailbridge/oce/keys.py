"""Keys: the one that makes a repeated message recognisable, and the proof that one OCE of ours gives another."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

WINDOW = 300
"""Seconds by which the clocks of two OCEs may differ."""

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def msg_key(secret: bytes, queue_id: str, recipient: str, turn: int = 0) -> str:
    """64 hexadecimal digits: the same for each attempt of a delivery, and not to be guessed by anyone else.

    `queue_id` is random but seen by the peers of a message, so a secret of the store goes in. A new `turn` makes a new
    key.
    """
    return _mac(secret, f"msgkey\0{queue_id}\0{recipient}\0{turn}".encode()).upper()


def sign(secret: bytes, now: float, body: bytes) -> str:
    """The proof for `body` at the time `now`: `t=1732186800,v1=HEX`."""
    time = str(int(now))
    return f"t={time},v1={_mac(secret, time.encode() + b'.' + body)}"


def verify(secret: bytes, signature: str, now: float, body: bytes) -> str | None:
    """What is wrong with a proof, None when it is right."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return "no signature"
    if not hmac.compare_digest(match[2], _mac(secret, match[1].encode() + b"." + body)):
        return "a signature of another secret"
    if abs(now - int(match[1])) > WINDOW:
        return "a signature of another time: compare the clocks of both hosts"
    return None


def _mac(secret: bytes, text: bytes) -> str:
    return hmac.new(secret, text, sha256).hexdigest()
