"""Logins that were verified lately, so that a mail program that polls does not cost a scrypt hash each time.

Kept are HMACs under a key of this process, never passwords. The stored hash is part of what is hashed: after `passwd`
or `remove` an old entry fits nothing any more. An entry lives for an hour after its last use; the oldest go first.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable

from mailbridge.store.changes import User

LIFETIME = 3600.0
LARGEST = 10_000
KEY_SIZE = 32


class VerifiedLogins:
    """Bounded memory of right passwords. `key` is random and of this process; `seconds()` a clock."""

    def __init__(
        self, key: bytes, seconds: Callable[[], float], lifetime: float = LIFETIME, largest: int = LARGEST
    ) -> None:
        self._key = key
        self._seconds = seconds
        self._lifetime = lifetime
        self._largest = largest
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def token(self, user: User, password: bytes) -> bytes:
        """What stands for this password of this user, as long as the stored hash is the same."""
        stored = user.credentials.scrypt.encode("utf-8")
        return hmac.digest(self._key, b"%d %d %s %s" % (user.id, len(stored), stored, password), "sha256")

    def knows(self, token: bytes) -> bool:
        """Whether it was verified within the lifetime; a hit renews it."""
        until = self._until.get(token)
        if until is None:
            return False
        if until < self._seconds():
            del self._until[token]
            return False
        self.remember(token)
        return True

    def remember(self, token: bytes) -> None:
        """This one was verified just now."""
        self._until[token] = self._seconds() + self._lifetime
        self._until.move_to_end(token)
        if len(self._until) > self._largest:
            self._until.popitem(last=False)

    def __len__(self) -> int:
        return len(self._until)
