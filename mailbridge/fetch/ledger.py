"""What was delivered of one account: the memory that makes a cut session or a kill cost nothing twice.

An entry is written in the commit that stores the message, before its DELE, and stays until a listing no longer has
the message: a server that forgets DELE, or never heard QUIT, is told again and nothing is delivered anew. A message is
known by its UID; on a server without UIDs, or for one whose UID is unusable, by a digest of its octets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from attrs import frozen

from mailbridge.interfaces import IStore
from mailbridge.store.changes import Remember

PAGE = 1000
LONGEST_UID = 70
DAY = 86400.0


@frozen
class Entry:
    """One message that was delivered: the octets the server listed, when it was, whether it is kept, its digest.

    The size tells a message from another that got its UID; the digest tells it from one whose size is told otherwise.
    """

    size: int
    time: float
    kept: bool
    digest: str

    @property
    def text(self) -> str:
        """As it is stored."""
        return f"{self.size} {self.time:.0f} {'k' if self.kept else 'd'} {self.digest}"

    @classmethod
    def parse(cls, text: str) -> Entry | None:
        """None for what cannot be read: its message counts as new, which costs a second copy and never a loss."""
        parts = text.split(" ")
        try:
            size, time, kept, digest = parts
            return cls(int(size), float(time), kept == "k", digest)
        except ValueError:
            return None


def uid_key(uid: str) -> str:
    """The key of a UID, bounded."""
    if len(uid) <= LONGEST_UID:
        return "u" + uid
    return "h" + hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def content_key(digest: str) -> str:
    """The key of a message without a UID."""
    return "c" + digest


class Ledger:
    """The entries of one account. `load` before each session; what is changed is committed by the caller."""

    def __init__(self, store: IStore, account_key: str) -> None:
        self._store = store
        self._prefix = f"fetch:{account_key}:"
        self._known: dict[str, str] = {}
        self._absent: dict[str, tuple[float, int]] = {}

    async def load(self) -> None:
        """Read all entries, a page at a time. Raises StoreError."""
        known: dict[str, str] = {}
        after = ""
        while True:
            page = await self._store.remembered(self._prefix, after, PAGE)
            cut = len(self._prefix)
            known.update((key[cut:], value) for key, value in page.items())
            if len(page) < PAGE:
                break
            after = next(reversed(page))
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Entry | None:
        """The entry of a message, None if it was not delivered."""
        text = self._known.get(key)
        return Entry.parse(text) if text is not None else None

    def change(self, key: str, entry: Entry) -> Remember:
        """The change that makes a message known."""
        return Remember(self._prefix + key, entry.text)

    def add(self, key: str, entry: Entry) -> None:
        """The change was committed."""
        self._known[key] = entry.text

    def prune(self, listed: Iterable[str], now: float, only: str = "uh") -> list[Remember]:
        """The changes that forget what the server no longer has; `only` names the kinds of keys that were listed.

        An entry goes when it is absent for the second time; one that is kept must be absent for a day as well, for
        servers have been seen to show an empty mailbox for an hour.
        """
        here = set(listed)
        gone = []
        for key, text in self._known.items():
            if key[:1] not in only:
                continue
            if key in here:
                self._absent.pop(key, None)
                continue
            first, times = self._absent.get(key, (now, 0))
            self._absent[key] = first, times + 1
            entry = Entry.parse(text)
            if times and (entry is None or not entry.kept or now - first >= DAY):
                gone.append(key)
        return [Remember(self._prefix + key, None) for key in gone]

    async def forget(self, changes: list[Remember]) -> None:
        """Commit what `prune` gave, some hundred at a time. Raises StoreError."""
        for start in range(0, len(changes), PAGE):
            part = changes[start:start + PAGE]
            await self._store.commit(*part)
            for change in part:
                key = change.key.removeprefix(self._prefix)
                self._known.pop(key, None)
                self._absent.pop(key, None)


