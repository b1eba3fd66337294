"""Who is next: pieces of work that wait, taken in turn by client, and among those of one client in turn by name.

A client with a hundred pieces gets no more than one with a single piece. When there is no place left, whoever holds the
most loses the piece that came last, so a newcomer finds a place while anybody holds more than one. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

LONGEST = 256
OF_ONE_CLIENT = 128
"""More than the connections that one client has by default, so that who waits is not refused for his neighbours."""

OPERATOR = "operator"
"""The client that always finds a place: the one who runs the bridge. No client has that for an address."""

T = TypeVar("T")


class Turns(Generic[T]):
    """At most `longest` pieces wait in all, at most `of_one` of one client."""

    def __init__(self, longest: int = LONGEST, of_one: int = OF_ONE_CLIENT) -> None:
        self._longest = longest
        self._of_one = of_one
        self._clients: OrderedDict[str, _Pieces[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, piece: T, client: str, name: bytes) -> T | None:
        """Let it wait. The piece that lost its place for it, if there was none free; that may be `piece` itself."""
        mine = self._clients.get(client) or _Pieces()
        lost: T | None = None
        if mine.size >= self._of_one:
            lost = mine.give_way(name)
            if lost is None:
                return piece
            self._size -= 1
        elif self._size >= self._longest and client != OPERATOR:
            largest = self._largest()
            if largest is None or largest.size < mine.size + 2:
                return piece
            lost = largest.last()
            self._size -= 1
        self._clients.setdefault(client, mine).add(piece, name)
        self._size += 1
        return lost

    def take(self) -> T | None:
        """The piece whose turn it is; None when nothing waits."""
        if not self._clients:
            return None
        client, pieces = self._clients.popitem(last=False)
        piece = pieces.first()
        self._size -= 1
        if pieces.size:
            self._clients[client] = pieces
        return piece

    def _largest(self) -> _Pieces[T] | None:
        others = (pieces for client, pieces in self._clients.items() if client != OPERATOR)
        return max(others, key=lambda pieces: pieces.size, default=None)


class _Pieces(Generic[T]):
    """What one client has waiting, by name; the name whose turn it is comes first."""

    def __init__(self) -> None:
        self.size = 0
        self._names: OrderedDict[bytes, deque[T]] = OrderedDict()

    def add(self, piece: T, name: bytes) -> None:
        self._names.setdefault(name, deque()).append(piece)
        self.size += 1

    def first(self) -> T:
        """Take the oldest piece of the name whose turn it is."""
        name, pieces = self._names.popitem(last=False)
        piece = pieces.popleft()
        if pieces:
            self._names[name] = pieces
        self.size -= 1
        return piece

    def last(self) -> T:
        """Take the newest piece of the name that has the most, of the name that came last when several have."""
        name = max(reversed(self._names), key=lambda name: len(self._names[name]))
        piece = self._names[name].pop()
        if not self._names[name]:
            del self._names[name]
        self.size -= 1
        return piece

    def give_way(self, name: bytes) -> T | None:
        """Take a piece to make place for one of `name`; None when no name has so many that this would be fairer."""
        most = max(len(pieces) for pieces in self._names.values())
        return self.last() if most >= len(self._names.get(name, ())) + 2 else None
