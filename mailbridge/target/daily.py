"""How many jobs each sender has made on a day (UTC), so that there can be a limit; kept in the store.

A job counts in the commit that stages it. Days that are over are forgotten when a new one is first seen.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailbridge.interfaces import IStore
from mailbridge.store.changes import Remember

_PAGE = 500


class DailyCount:
    """The counts of one application."""

    _log = Logger()

    def __init__(self, application: str, store: IStore) -> None:
        self._prefix = f"daily:{application}:"
        self._store = store
        self._day = ""
        self._counted: dict[str, int] = {}
        self._reserved: dict[str, int] = {}

    def reserve(self, sender: str, limit: int, now: float) -> bool:
        """Take one of `limit` for `sender`, an address in one case; False when none is left. Raises StoreError.

        Every True is followed by `count` or `give_back`.
        """
        self._look(now)
        counted = self._counted.get(sender)
        if counted is None:
            counted = self._counted[sender] = int(self._store.recall(self._key(sender)) or 0)
        reserved = self._reserved.get(sender, 0)
        if counted + reserved >= limit:
            return False
        self._reserved[sender] = reserved + 1
        return True

    def count(self, sender: str) -> Remember:
        """What was reserved is used: the change to commit."""
        self.give_back(sender)
        counted = self._counted[sender] = self._counted.get(sender, 0) + 1
        return Remember(self._key(sender), str(counted))

    def give_back(self, sender: str) -> None:
        """What was reserved is not used."""
        left = self._reserved.get(sender, 0) - 1
        if left > 0:
            self._reserved[sender] = left
        else:
            self._reserved.pop(sender, None)

    def _key(self, sender: str) -> str:
        return f"{self._prefix}{self._day}:{sender}"

    def _look(self, now: float) -> None:
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        if day != self._day:
            self._day = day
            self._counted.clear()
            Deferred.fromCoroutine(self._forget(f"{self._prefix}{day}")).addErrback(
                lambda failure: self._log.failure("counts of past days could not be removed", failure))

    async def _forget(self, today: str) -> None:
        after = ""
        while page := await self._store.remembered(self._prefix, after, _PAGE):
            after = max(page)
            past = [key for key in page if key < today]
            if past:
                await self._store.commit(*(Remember(key, None) for key in past))
            if len(past) < len(page):
                return
