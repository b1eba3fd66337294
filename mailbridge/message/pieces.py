"""Long octets cut where lines end: one call of a codec keeps all other threads waiting, so none gets too much."""

from __future__ import annotations

from collections.abc import Iterator

PIECE = 256 * 1024


def pieces(octets: bytes, start: int = 0) -> Iterator[bytes]:
    """`octets` from `start` on in pieces of whole lines, at most PIECE each; a longer line is cut, not in `=41`."""
    while len(octets) - start > PIECE:
        limit = start + PIECE
        end = octets.rfind(b"\n", start, limit) + 1
        if not end:
            sign = octets.rfind(b"=", limit - 2, limit)
            end = limit if sign < 0 else sign
        yield octets[start:end]
        start = end
    yield octets[start:]
