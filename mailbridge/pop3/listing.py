"""The maildrop as the client sees it: numbers, sizes and marks (RFC 1939 section 5).

The numbers of a session never change: a deleted message leaves a gap. Marks live here only; the maildrop hears of them
at QUIT. A listing of any length is made in pieces of about 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

MAX_DIGITS = 10
PIECE = 1024  # messages in one piece of a listing


def number(octets: bytes) -> int | None:
    """A number of the client's: 1 to 10 ASCII digits (`int` alone takes `1_0`, `+1` and the digits of Arabic)."""
    return int(octets) if octets.isdigit() and len(octets) <= MAX_DIGITS else None


class Listing:
    """`sizes` in octets by index; a message of size 0 does not exist. `count` and `octets` leave out the deleted."""

    __slots__ = ("_deleted", "count", "octets", "sizes")

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self._deleted = bytearray(len(sizes))
        self.count = len(sizes)
        self.octets = sum(sizes)
        if 0 in sizes:
            for index, size in enumerate(sizes):
                if not size:
                    self._deleted[index] = 2
                    self.count -= 1

    def __len__(self) -> int:
        """How many numbers there are, deleted messages included."""
        return len(self.sizes)

    def index(self, message: int) -> int:
        """The index of message number `message`, -1 if there is none or it is deleted."""
        index = message - 1
        return index if 0 <= index < len(self._deleted) and not self._deleted[index] else -1

    def delete(self, index: int) -> None:
        """Mark a message that `index` has found."""
        self._deleted[index] = 1
        self.count -= 1
        self.octets -= self.sizes[index]

    def restore(self) -> None:
        """Take all marks off (RSET). Costs by the marks, not by the messages: a client may say it often."""
        for index in self.deleted():
            self._deleted[index] = 0
            self.count += 1
            self.octets += self.sizes[index]

    def deleted(self) -> Iterator[int]:
        """The indices of all marked messages, in order."""
        at = self._deleted.find(1)
        while at >= 0:
            yield at
            at = self._deleted.find(1, at + 1)

    def size_line(self, index: int) -> bytes:
        """The line of LIST for a message."""
        return b"%d %d\r\n" % (index + 1, self.sizes[index])

    def pieces(self, line: Callable[[int], bytes]) -> Iterator[bytes]:
        """`line(index)` of every message that is not deleted, joined in pieces."""
        deleted = self._deleted
        for start in range(0, len(deleted), PIECE):
            piece = range(start, min(start + PIECE, len(deleted)))
            yield b"".join([line(index) for index in piece if not deleted[index]])
