"""The lists of a server, LIST and UIDL, as mappings of message numbers (RFC 1939 5 and 7).

A line that makes no sense costs its own message an entry and nothing else: one bad line never hides other mail. What
is kept is bounded and close together, since a list may have a hundred thousand lines: some 12 octets for a size, the
octets of a UID and 8 more.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import pairwise

from mailbridge.pop3.commands import HIGHEST_NUMBER
from mailbridge.pop3.failure import Kind, UpstreamError

LONGEST_LINE = 1024
"""Octets of a line of a list; what is longer is malformed."""
LONGEST_UID = 200
"""RFC 1939 7 has 70; some servers have more, and what we keep of them is a key."""
MOST_OCTETS_A_LINE = 256
"""On average, of the longest list that is allowed."""

_SIZE = re.compile(rb"^[ \t]*([0-9]{1,10})[ \t]+([0-9]{1,18})(?:[ \t][^\n]*)?\r?$", re.MULTILINE)
_UID = re.compile(rb"^[ \t]*([0-9]{1,10})[ \t]+([!-~]{1,%d})[ \t]*\r?$" % LONGEST_UID, re.MULTILINE)


class Sizes(Mapping[int, int]):
    """Octets by message number, as the server says; it may be wrong. `malformed` lines were left out."""

    def __init__(self, numbers: array[int], sizes: array[int], malformed: int) -> None:
        self._numbers = numbers
        self._sizes = sizes
        self.malformed = malformed

    def __getitem__(self, number: int) -> int:
        return self._sizes[_place(self._numbers, number)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class Uids(Mapping[int, str]):
    """Unique ids by message number. Those that are malformed, contradictory or not unique are absent: `malformed`."""

    def __init__(self, numbers: array[int], starts: array[int], octets: bytearray, malformed: int) -> None:
        self._numbers = numbers
        self._starts = starts
        self._octets = octets
        self.malformed = malformed

    def __getitem__(self, number: int) -> str:
        place = _place(self._numbers, number)
        return self._octets[self._starts[place]:self._starts[place + 1]].decode("ascii")

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _place(numbers: array[int], number: int) -> int:
    place = bisect_left(numbers, number)
    if place == len(numbers) or numbers[place] != number:
        raise KeyError(number)
    return place


class _Scan:
    """Takes a list in pieces, its lines with LF or CR LF. `most` lines; more, or far too long ones, are an error."""

    _pattern = _SIZE

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._skipping = False
        self._lines = 0
        self._octets = 0
        self._numbers = array("I")
        self._malformed = 0

    def feed(self, octets: bytes) -> None:
        """A piece. Raises UpstreamError when the list is too long to be one."""
        self._octets += len(octets)
        if self._octets > LONGEST_LINE + MOST_OCTETS_A_LINE * self._most:
            raise UpstreamError(Kind.PROTOCOL, "the server's list has no end")
        if self._skipping:
            end = octets.find(b"\n")
            if end < 0:
                return
            self._skipping, octets = False, octets[end + 1:]
        data = self._rest + octets
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > LONGEST_LINE:
            self._rest, self._skipping = b"", True
            self._malformed += 1
        if end:
            self._take(data[:end - 1])

    def _take(self, block: bytes) -> None:
        lines = block.count(b"\n") + 1
        self._lines += lines
        if self._lines > self._most:
            raise UpstreamError(Kind.PROTOCOL, f"the server lists more than {self._most} messages")
        taken = 0
        for number, value in self._pattern.findall(block):
            if 1 <= (n := int(number)) <= HIGHEST_NUMBER:
                self._numbers.append(n)
                self._keep(value)
                taken += 1
        self._malformed += lines - taken

    def _keep(self, value: bytes) -> None:
        raise NotImplementedError

    def _order(self) -> list[int] | None:
        """The places in order of their numbers, None if they are in order already, each once."""
        numbers = self._numbers
        if all(one < other for one, other in pairwise(numbers)):
            return None
        return sorted(range(len(numbers)), key=numbers.__getitem__)


class SizeScan(_Scan):
    """LIST. Of a number that comes twice the first counts."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._sizes = array("q")

    def _keep(self, value: bytes) -> None:
        self._sizes.append(int(value))

    def finish(self) -> Sizes:
        """The mapping."""
        order = self._order()
        if order is None:
            return Sizes(self._numbers, self._sizes, self._malformed)
        numbers, sizes = array("I"), array("q")
        for place in order:
            if numbers and self._numbers[place] == numbers[-1]:
                self._malformed += 1
                continue
            numbers.append(self._numbers[place])
            sizes.append(self._sizes[place])
        return Sizes(numbers, sizes, self._malformed)


class UidScan(_Scan):
    """UIDL. A UID of two messages is no UID, nor are two of one message: taken for known, the other would be lost."""

    _pattern = _UID

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._uids = bytearray()
        self._starts = array("L", [0])

    def _keep(self, value: bytes) -> None:
        self._uids += value
        self._starts.append(len(self._uids))

    def _uid(self, place: int) -> bytes:
        return bytes(self._uids[self._starts[place]:self._starts[place + 1]])

    def finish(self) -> Uids:
        """The mapping."""
        order = self._order()
        doubled = self._doubled()
        if order is None and not doubled:
            return Uids(self._numbers, self._starts, self._uids, self._malformed)
        numbers, starts, octets = array("I"), array("L", [0]), bytearray()
        places = order if order is not None else list(range(len(self._numbers)))
        at = 0
        while at < len(places):
            number = self._numbers[places[at]]
            first = self._uid(places[at])
            end, same = at + 1, True
            while end < len(places) and self._numbers[places[end]] == number:
                same = same and self._uid(places[end]) == first
                end += 1
            if same and first not in doubled:
                numbers.append(number)
                octets += first
                starts.append(len(octets))
            else:
                self._malformed += 1
            self._malformed += end - at - 1
            at = end
        return Uids(numbers, starts, octets, self._malformed)

    def _doubled(self) -> set[bytes]:
        """The UIDs that stand with two numbers. Found by hashes, which take less room than the UIDs in a set."""
        hashes = array("q", (hash(self._uid(place)) for place in range(len(self._numbers))))
        twice = {one for one, other in pairwise(sorted(hashes)) if one == other}
        seen: dict[bytes, int] = {}
        doubled: set[bytes] = set()
        for place, value in enumerate(hashes):
            if value in twice:
                uid, number = self._uid(place), self._numbers[place]
                if seen.setdefault(uid, number) != number:
                    doubled.add(uid)
        return doubled
