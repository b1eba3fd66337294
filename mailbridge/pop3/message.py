"""A message on the wire: dots doubled, an end mark, and for TOP only its beginning (RFC 1939 section 3, TOP)."""

from __future__ import annotations

from collections.abc import Iterator

from mailbridge.lines import DotStuffer


def dotted(octets: bytes) -> bytes:
    """A whole message with dots doubled and the end mark; the same as `dotted_pieces` in one go."""
    if b"\r\n." in octets:
        octets = octets.replace(b"\r\n.", b"\r\n..")
    if octets[:1] == b".":
        octets = b"." + octets
    if not octets or octets.endswith(b"\r\n"):
        return octets + b".\r\n"
    return octets + b"\r\n.\r\n"


def dotted_pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A message in chunks with dots doubled and the end mark. Closes `chunks` at its end, however that comes."""
    stuffer = DotStuffer()
    try:
        for chunk in chunks:
            yield stuffer.feed(chunk)
        yield stuffer.finish()
    finally:
        close(chunks)


def top(chunks: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """The header, the blank line and `lines` lines of the body. Closes `chunks` at its end."""
    tail = b"\r\n"  # so that a message that begins with a blank line has no header
    in_header = True
    try:
        for chunk in chunks:
            end = 0
            if in_header:
                blank = (tail + chunk).find(b"\r\n\r\n")
                if blank < 0:
                    tail = (tail + chunk)[-3:]
                    yield chunk
                    continue
                in_header = False
                end = blank + 4 - len(tail)
            while lines and end < len(chunk):
                newline = chunk.find(b"\n", end)
                if newline < 0:
                    end = len(chunk)
                else:
                    end = newline + 1
                    lines -= 1
            yield chunk[:end]
            if not lines:
                return
    finally:
        close(chunks)


def close(chunks: Iterator[bytes]) -> None:
    """End an iterator that is not wanted to its end; a generator gives back what it holds."""
    end = getattr(chunks, "close", None)
    if end is not None:
        end()
