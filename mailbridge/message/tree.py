"""Where the parts of a message begin and end, in octets that are all there (RFC 2046 5.1).

The same reading of boundaries as `parts.walk`, which takes chunks and hands on every octet; this one copies nothing,
takes LF as a line end too, and takes a part that begins with no field for a text without a header. Linear, bounded.
"""

from __future__ import annotations

import re

from attrs import Factory, define, frozen

from mailbridge.message.head import Head, read_head
from mailbridge.message.header import begins_as_header
from mailbridge.message.parts import LONGEST_HEADER, MOST_DEPTH, MOST_PARTS, Kind, TooIntricate

_LINE = re.compile(rb"\n--([^\r\n]{0,300}+)(?:\r?\n|\r?\Z)")


@define
class Node:
    """One part: `start` and `end` are those of its body; `children` are numbers of nodes, all above its own."""

    head: Head
    start: int
    end: int
    depth: int
    children: list[int] = Factory(list)


@frozen
class _Seam:
    """A boundary line with the line end before it, and which multipart's it is."""

    start: int
    end: int
    level: int
    closing: bool


class Tree:
    """Reads the octets of one message; `nodes` has the parts in order, the message first."""

    def __init__(self, octets: bytes) -> None:
        """Raises TooIntricate."""
        self.nodes: list[Node] = []
        self._octets = octets
        self._open: list[int] = []  # from the message down to the part that is being read
        self._borders: list[int] = []  # those of them that are multiparts whose closing line was not seen
        self._lines: dict[bytes, tuple[int, bool]] = {}
        self._read()

    def _read(self) -> None:
        at = self._part(0)
        while self._borders:
            seam = self._seam(at - 1, len(self._octets))
            if seam is None:
                return
            owner = self._borders[seam.level]
            while self._open[-1] != owner:
                node = self.nodes[self._open.pop()]
                node.end = max(node.start, seam.start)
            del self._borders[seam.level + (not seam.closing):]
            self._know_lines()
            at = seam.end if seam.closing else self._part(seam.end)

    def _part(self, at: int) -> int:
        """Read the header that begins at `at`, and those of the messages in it; where the body begins."""
        while True:
            above = self.nodes[self._open[-1]] if self._open else None
            number, depth = len(self.nodes), above.depth + 1 if above else 0
            if number >= MOST_PARTS or depth > MOST_DEPTH:
                raise TooIntricate("the message has too many parts, or parts in parts")
            header, at = self._head(at)
            head = read_head(header, above is not None and above.head.type == "multipart/digest")
            self.nodes.append(Node(head, at, len(self._octets), depth))
            if above:
                above.children.append(number)
            self._open.append(number)
            if head.kind is Kind.MULTIPART:
                self._borders.append(number)
                self._know_lines()
            if head.kind is not Kind.MESSAGE:
                return at

    def _head(self, at: int) -> tuple[bytes, int]:
        """(the header section, where the body begins). A boundary line ends a header too."""
        octets = self._octets
        for empty in (b"\r\n", b"\n"):
            if octets.startswith(empty, at):
                return b"", at + len(empty)
        limit = at + LONGEST_HEADER
        ends = [(found + 1, found + len(mark)) for mark in (b"\n\r\n", b"\n\n")
                if (found := octets.find(mark, at, limit)) >= 0]
        end, body = min(ends, default=(min(len(octets), limit),) * 2)
        seam = self._seam(at - 1, end) if self._borders else None
        if seam is not None:
            end = body = max(at, seam.start)
        header = octets[at:end]
        if not begins_as_header(header):
            return b"", at
        if not ends and seam is None and len(octets) > limit:
            raise TooIntricate("a part of the message has a very long header")
        return header, body

    def _seam(self, at: int, end: int) -> _Seam | None:
        """The first boundary line of an open multipart that begins at `at` or later, and before `end`."""
        octets, lines = self._octets, self._lines
        at = octets.find(b"\n--", max(at, 0), end)
        while at >= 0:
            match = _LINE.match(octets, at)
            found = match and lines.get(match.group(1).rstrip(b" \t"))
            if match and found:
                start = at - 1 if octets[at - 1:at] == b"\r" else at
                return _Seam(start, match.end(), *found)
            at = octets.find(b"\n--", at + 1, end)
        return None

    def _know_lines(self) -> None:
        """What the lines of all open multiparts look like; the innermost counts, an opening more than a closing."""
        self._lines = lines = {}
        for closing in (b"--", b""):
            for level, number in enumerate(self._borders):
                lines[self.nodes[number].head.boundary + closing] = (level, bool(closing))
