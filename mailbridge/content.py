"""Content: the octets of one message, immutable and re-openable.

A handle of plain values that can cross a process: small content carries its octets, larger content names extents of
segment files, which `IStore.read` reads. Stored content never holds a CR or LF that is not part of CR LF.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Extent:
    """A run of octets in one segment file."""

    segment: int
    offset: int
    length: int


@frozen
class Content:
    """`size` octets, either in `octets` or in `extents`, never both.

    `ends_in_newline` is false only for a message sent by BDAT without a final CR LF; whoever sends it line by line
    adds one. `eight_bit` when there is an octet above 127.
    """

    size: int
    octets: bytes | None = None
    extents: tuple[Extent, ...] = ()
    ends_in_newline: bool = True
    eight_bit: bool = False

    @classmethod
    def of(cls, octets: bytes) -> Content:
        """Content held in memory."""
        return cls(len(octets), octets, (), octets.endswith(b"\r\n"), not octets.isascii())
