"""A directory of two users for these tests, and a pool that does its work when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailbridge.accounts.passwords import make_credentials
from mailbridge.accounts.pool import PoolFull
from mailbridge.routing.directory import Directory
from mailbridge.store.changes import People, User

T = TypeVar("T")

BONNIE = User(7, "bonnie", make_credentials("right"))
CLYDE = User(8, "clyde", make_credentials("gun", keep_secret=True))


def directory(*users: User) -> Directory:
    """The real directory over these users, or over bonnie and clyde."""
    found = Directory(["example.org"])
    found.replace(People(users or (BONNIE, CLYDE), ()))
    return found


class ManualPool:
    """Keeps work until `work_off`; takes at most `room` pieces."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.waiting: list[tuple[Deferred[object], Callable[[], object]]] = []
        self.whose: list[tuple[str, bytes]] = []

    def run(self, work: Callable[[], T], client: str, name: bytes = b"") -> Deferred[T]:
        """Keep it."""
        if len(self.waiting) >= self.room:
            return fail(PoolFull("full"))
        self.whose.append((client, name))
        done: Deferred[T] = Deferred()
        self.waiting.append((done, work))  # type: ignore[arg-type]
        return done

    def work_off(self) -> int:
        """Do all that waits; how many pieces it was."""
        waiting, self.waiting = self.waiting, []
        for done, work in waiting:
            try:
                result = work()
            except Exception:
                done.errback(Failure())
            else:
                done.callback(result)
        return len(waiting)
