"""What to do with each message that a server lists: fetch, delete, leave. Pure, and the same for every way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from attrs import frozen

from mailbridge.fetch.account import Account
from mailbridge.fetch.ledger import Entry, uid_key


class Action(Enum):
    """What a message is due for."""

    FETCH = "fetch"
    DELETE = "delete"
    """It was delivered before, and the server has it still."""
    LEAVE = "leave"
    """It was delivered and is kept."""
    TOO_LARGE = "too large"
    POISON = "poison"
    """Fetching it failed too often of late."""


@frozen
class Item:
    """One message of a listing: its number in this session, the size the server told, its key in the ledger or None."""

    number: int
    size: int
    key: str | None

    @property
    def name(self) -> str:
        """What it is called across sessions, as well as that can be said before it was fetched."""
        return self.key or f"{self.number} {self.size}"


def plan(
    sizes: Mapping[int, int], uids: Mapping[int, str] | None, known: Callable[[str], Entry | None], account: Account,
    now: float, poisoned: Callable[[str], bool],
) -> Iterator[tuple[Item, Action]]:
    """Every message of a listing in order. One that stands in only one of the lists is there as well."""
    uids = uids or {}
    numbers = sorted({*sizes, *uids})
    for number in numbers:
        uid = uids.get(number)
        item = Item(number, sizes.get(number, 0), uid_key(uid) if uid is not None else None)
        entry = known(item.key) if item.key is not None else None
        if entry is not None and entry.size == item.size:
            yield item, _delivered(entry, account, now)
        elif account.size_limit is not None and item.size > account.size_limit:
            yield item, Action.TOO_LARGE
        elif poisoned(item.name):
            yield item, Action.POISON
        else:
            yield item, Action.FETCH


def _delivered(entry: Entry, account: Account, now: float) -> Action:
    if not account.keep:
        return Action.DELETE
    if account.delete_after is not None and now - entry.time >= account.delete_after:
        return Action.DELETE
    return Action.LEAVE
