"""The lists of a server, LIST and UIDL, as mappings of message numbers (RFC 1939 5 and 7).

A line that makes no sense costs its own message an entry and nothing else: one bad line never hides other mail. What
is kept is close together, some 12 octets for a size, the octets of a UID and 12 more, and bounded: of a longer list the
first part is kept, so that at least those messages can be collected, and `beyond` counts the rest.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import pairwise

from mailbridge.limits import MIB
from mailbridge.pop3.commands import HIGHEST_NUMBER
from mailbridge.pop3.failure import Kind, UpstreamError

LONGEST_LINE = 1024
"""Octets of a line of a list; what is longer is malformed."""
LONGEST_UID = 200
"""RFC 1939 7 has 70; some servers have more, and what we keep of them is a key."""
MOST_OCTETS, MOST_OCTETS_A_LINE = 2 * MIB, 128
"""Of the longest list that is read: so many, and so many more for each entry that may be kept."""

# No line that matches is longer than LONGEST_LINE, so that it does not matter where the network cuts it.
_START = rb"^[ \t]{0,20}([0-9]{1,10})[ \t]{1,20}"
_SIZE = re.compile(_START + rb"([0-9]{1,18})(?:[ \t][^\n]{0,500})?\r?$", re.MULTILINE)
_UID = re.compile(_START + rb"([!-~]{1,%d})[ \t]{0,20}\r?$" % LONGEST_UID, re.MULTILINE)


class Sizes(Mapping[int, int]):
    """Octets by message number, as the server says; it may be wrong. `malformed` lines were left out."""

    def __init__(self, numbers: array[int], sizes: array[int], malformed: int, beyond: int) -> None:
        self._numbers = numbers
        self._sizes = sizes
        self.malformed = malformed
        self.beyond = beyond

    def __getitem__(self, number: int) -> int:
        return self._sizes[_place(self._numbers, number)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class Uids(Mapping[int, str]):
    """Unique ids by message number. Those that are malformed, contradictory or not unique are absent: `malformed`."""

    def __init__(
        self, numbers: array[int], places: array[int], starts: array[int], octets: bytearray, malformed: int,
        beyond: int,
    ) -> None:
        self._numbers = numbers
        self._places = places
        self._starts = starts
        self._octets = octets
        self.malformed = malformed
        self.beyond = beyond

    def __getitem__(self, number: int) -> str:
        place = self._places[_place(self._numbers, number)]
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
    """Takes a list in pieces, its lines with LF or CR LF, and keeps `most` entries."""

    _pattern = _SIZE

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._skipping = False
        self._octets = 0
        self._numbers = array("I")
        self._malformed = self._beyond = 0

    def feed(self, octets: bytes) -> None:
        """A piece. Raises UpstreamError when the list is too long to be one."""
        self._octets += len(octets)
        if self._octets > MOST_OCTETS + MOST_OCTETS_A_LINE * self._most:
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
        for number, value in self._pattern.findall(block):
            if 1 <= (n := int(number)) <= HIGHEST_NUMBER:
                lines -= 1
                if len(self._numbers) < self._most:
                    self._numbers.append(n)
                    self._keep(value)
                else:
                    self._beyond += 1
        self._malformed += lines

    def _keep(self, value: bytes) -> None:
        raise NotImplementedError

    def _order(self) -> array[int]:
        """The places of the entries in order of their numbers, of one number in order of arrival."""
        size = len(self._numbers)
        if all(one < other for one, other in pairwise(self._numbers)):
            return array("I", range(size))
        packed = sorted(number * size + place for place, number in enumerate(self._numbers))
        return array("I", (each % size for each in packed))


class SizeScan(_Scan):
    """LIST. Of a number that comes twice the first counts."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._sizes = array("q")

    def _keep(self, value: bytes) -> None:
        self._sizes.append(int(value))

    def finish(self) -> Sizes:
        """The mapping."""
        numbers, sizes = array("I"), array("q")
        for place in self._order():
            if numbers and self._numbers[place] == numbers[-1]:
                self._malformed += 1
                continue
            numbers.append(self._numbers[place])
            sizes.append(self._sizes[place])
        return Sizes(numbers, sizes, self._malformed, self._beyond)


class UidScan(_Scan):
    """UIDL. A UID of two messages is no UID, nor are two of one message: taken for known, the other would be lost."""

    _pattern = _UID

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._uids = bytearray()
        self._starts = array("I", [0])

    def _keep(self, value: bytes) -> None:
        self._uids += value
        self._starts.append(len(self._uids))

    def _hash(self, place: int) -> int:
        # For equal and not equal only, of keyed hashes of 64 bits: a set of the UIDs would be as large again as they.
        return hash(bytes(self._uids[self._starts[place]:self._starts[place + 1]]))

    def finish(self) -> Uids:
        """The mapping."""
        order = array("I")
        contradictory = array("I")  # sorted numbers
        hashes = array("q")
        for place in self._order():
            hashed = self._hash(place)
            if order and self._numbers[order[-1]] == self._numbers[place]:
                self._malformed += 1
                if hashes[-1] == hashed:
                    continue
                if not contradictory or contradictory[-1] != self._numbers[place]:
                    contradictory.append(self._numbers[place])
            order.append(place)
            hashes.append(hashed)
        doubled = array("q", (one for one, other in pairwise(sorted(hashes)) if one == other))
        numbers, places = array("I"), array("I")
        for place, hashed in zip(order, hashes, strict=True):
            number = self._numbers[place]
            if _holds(contradictory, number) or _holds(doubled, hashed):
                self._malformed += not _holds(contradictory, number)
            else:
                numbers.append(number)
                places.append(place)
        self._malformed += len(contradictory)
        return Uids(numbers, places, self._starts, self._uids, self._malformed, self._beyond)


def _holds(values: array[int], value: int) -> bool:
    place = bisect_left(values, value)
    return place < len(values) and values[place] == value
