"""Line ends and dots: the byte rules of SMTP DATA and of POP3 multi-line answers, with state kept across chunks.

Everything works in bulk and is exact at every split point; a test cuts its input at each octet (the stock client stuffs
per 16 KiB chunk and so lets a message end early). `find` and `replace` on octets, never `splitlines`: Python would also
split at 0b, 0c, 1c, 85 and U+2028.
"""

from __future__ import annotations

import re

_NOT_NEWLINE = bytes(c for c in range(256) if c not in b"\r\n")
_ANY_NEWLINE = re.compile(rb"\r\n|\r|\n")


def has_bare_newline(octets: bytes) -> bool:
    """Whether a CR or LF in `octets` is not part of CR LF. A CR at the very end counts as bare."""
    # Pairs cannot overlap: where there are more CR and LF than pairs have, one is bare. No pattern is as fast.
    return len(octets.translate(None, _NOT_NEWLINE)) != 2 * octets.count(b"\r\n")


class Normaliser:
    """Turns bare CR and bare LF into CR LF (`bare_newlines = "normalise"`).

    Feed chunks; `finish` gives what was kept back.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """The normalised form of `chunk`, but for a CR at its end, which waits for its LF."""
        chunk = self._held + chunk
        self._held = b""
        if chunk.endswith(b"\r"):
            self._held = b"\r"
            chunk = chunk[:-1]
        return _ANY_NEWLINE.sub(b"\r\n", chunk) if has_bare_newline(chunk) else chunk

    def finish(self) -> bytes:
        """CR LF for a CR that was the last octet of all, else nothing."""
        held, self._held = self._held, b""
        return b"\r\n" if held else b""


class DotStuffer:
    """Doubles each dot at the start of a line (RFC 5321 4.5.2, RFC 1939 3). Input has CR LF line ends only."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets sent: a message begins at the start of a line

    def feed(self, chunk: bytes) -> bytes:
        """The stuffed form of `chunk`."""
        if not chunk:
            return b""
        tail = self._tail
        self._tail = (tail + chunk)[-2:]
        if b"\n." in chunk:
            chunk = chunk.replace(b"\r\n.", b"\r\n..")
            if tail[-1:] == b"\r" and chunk.startswith(b"\n."):
                chunk = b"\n." + chunk[1:]
        if tail == b"\r\n" and chunk.startswith(b"."):
            chunk = b"." + chunk
        return chunk

    def finish(self) -> bytes:
        """The end mark, with the CR LF that an unfinished last line needs."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


class DotUnstuffer:
    """Takes the wire form of a dotted text to its octets and finds its end (RFC 5321 4.5.2).

    Only CR LF dot CR LF ends a text: LF dot LF and its relatives are data (SMTP smuggling, CVE-2023-51764 and kin).
    """

    cut = False

    def __init__(self) -> None:
        self._held = b"\r\n"  # octets not given out yet that may belong to an end mark; at first a virtual line start
        self._first = True

    def feed(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """(octets of the text, None while the end was not seen, else what follows the end mark)."""
        data = self._held + chunk
        dot = data.find(b"\r\n.")  # one search for what ends a text and for what was stuffed
        end = data.find(b"\r\n.\r\n", dot) if dot >= 0 else -1
        if end >= 0:
            return self._give(data[:end + 2], dot < end), data[end + 5:]
        keep = self._possible_end(data)
        self._held = data[len(data) - keep:]
        return self._give(data[:len(data) - keep], dot >= 0), None

    def _give(self, data: bytes, dotted: bool) -> bytes:
        # `data` is a whole number of decisions: no CR LF dot straddles its end.
        if dotted:
            data = data.replace(b"\r\n.", b"\r\n")
        if self._first and len(data) >= 2:
            self._first = False
            data = data[2:]
        return data

    def _possible_end(self, data: bytes) -> int:
        for size in (4, 3, 2, 1):
            if data.endswith(b"\r\n.\r"[:size]):
                return size
        return 0


class EitherEndUnstuffer(DotUnstuffer):
    """As its base, for a client that may end its text with another line than a dot: the first of the two that comes
    ends it. `other` is that line without its CR LF, not empty and not beginning with a dot.

    `cut` is true once the text has ended with the other line.
    """

    def __init__(self, other: bytes) -> None:
        super().__init__()
        self._mark = b"\r\n%b\r\n" % other
        self._starts = tuple(self._mark[:size] for size in range(len(self._mark) - 1, 0, -1))

    def feed(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """As in the base."""
        data = self._held + chunk
        other = data.find(self._mark)
        if other < 0 or 0 <= data.find(b"\r\n.\r\n", 0, other + 4) < other:
            return super().feed(chunk)
        self.cut = True
        return self._give(data[:other + 2], True), data[other + len(self._mark):]

    def _possible_end(self, data: bytes) -> int:
        longest = next((len(start) for start in self._starts if data.endswith(start)), 0)
        return max(longest, super()._possible_end(data))
