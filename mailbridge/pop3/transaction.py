"""The verbs after login: STAT LIST UIDL RETR TOP DELE NOOP RSET CAPA QUIT (RFC 1939 sections 5 to 7).

A verb takes the core and its argument, and returns the reply, or nothing when it comes from outside or in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from mailbridge.errors import StoreError
from mailbridge.pop3 import dialogue, message
from mailbridge.pop3.listing import PIECE, Listing, number

if TYPE_CHECKING:
    from mailbridge.pop3.server import Server, Verb


def capa(server: Server, argument: bytes) -> bytes:
    """What can be said now: nothing that belongs to logging in."""
    return server.trifle(dialogue.capabilities(False, False, ())) if not argument else server.wrong(dialogue.SYNTAX)


def stat(server: Server, argument: bytes) -> bytes:
    """How many messages and octets there are."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    return b"+OK %d %d\r\n" % (server.listing.count, server.listing.octets)


def list_sizes(server: Server, argument: bytes) -> bytes:
    """The size of one message, or of all."""
    listing = server.listing
    if argument:
        index = _find(server, argument)
        return b"+OK " + listing.size_line(index) if index >= 0 else _missing(server, argument)
    head = b"+OK %d messages (%d octets)\r\n" % (listing.count, listing.octets)
    return _listing(server, head, listing, listing.size_line)


def uidl(server: Server, argument: bytes) -> bytes:
    """The unique id of one message, or of all."""
    listing, uid = server.listing, server.outside.uid

    def line(index: int) -> bytes:
        try:
            return b"%d %b\r\n" % (index + 1, uid(index))
        except LookupError:
            return b""

    if argument:
        index = _find(server, argument)
        if index < 0:
            return _missing(server, argument)
        found = line(index)
        return b"+OK " + found if found else dialogue.DAMAGED
    return _listing(server, dialogue.UIDS, listing, line)


def retr(server: Server, argument: bytes) -> bytes:
    """A whole message."""
    index = _find(server, argument)
    if index < 0:
        return _missing(server, argument)
    server.junk = 0
    return _retrieve(server, index, partial(_whole, server, index))


def top(server: Server, argument: bytes) -> bytes:
    """The header of a message and a number of lines."""
    which, _, count = argument.strip(b" ").partition(b" ")
    lines = number(count.strip(b" "))
    if lines is None:
        return server.wrong(dialogue.SYNTAX)
    index = _find(server, which)
    if index < 0:
        return _missing(server, which)
    server.junk = 0
    return _retrieve(server, index, partial(_beginning, server, lines))


def dele(server: Server, argument: bytes) -> bytes:
    """Mark a message; QUIT removes it."""
    index = _find(server, argument)
    if index < 0:
        return _missing(server, argument)
    server.listing.delete(index)
    server.junk = 0
    return dialogue.DELETED


def noop(server: Server, argument: bytes) -> bytes:
    """Nothing."""
    return server.trifle(dialogue.OK) if not argument else server.wrong(dialogue.SYNTAX)


def rset(server: Server, argument: bytes) -> bytes:
    """Take all marks off."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    server.listing.restore()
    return server.trifle(dialogue.OK)


def leave(server: Server, argument: bytes) -> bytes:
    """Remove what is marked, and only then say so (RFC 1939 section 6)."""
    if argument:
        return server.wrong(dialogue.SYNTAX)
    marked = server.listing.deleted()
    server.updating = True
    server.wait(partial(server.outside.delete, marked))
    return b""


def _find(server: Server, argument: bytes) -> int:
    value = number(argument.strip(b" "))
    return -1 if value is None else server.listing.index(value)


def _missing(server: Server, argument: bytes) -> bytes:
    if number(argument.strip(b" ")) is None:
        return server.wrong(dialogue.NOT_A_NUMBER)
    return server.trifle(dialogue.NO_SUCH_MESSAGE)


def _listing(server: Server, head: bytes, listing: Listing, line: Callable[[int], bytes]) -> bytes:
    pieces = listing.pieces(line)
    if len(listing) <= PIECE:
        return head + b"".join(pieces) + dialogue.END
    server.stream(_joined(head, pieces))
    return b""


def _joined(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces
    yield dialogue.END


def _retrieve(server: Server, index: int, render: Callable[[bytes | Iterator[bytes]], bytes]) -> bytes:
    try:
        found = server.outside.retrieve(index)
    except StoreError:
        return dialogue.NOT_NOW
    except LookupError:
        return dialogue.DAMAGED
    if found is not None:
        return render(found)
    server.render = render
    server.wait(server.outside.fetch)
    return b""


def _whole(server: Server, index: int, found: bytes | Iterator[bytes]) -> bytes:
    size = server.listing.sizes[index]
    if isinstance(found, bytes):
        return b"+OK %d octets\r\n%b" % (size, message.dotted(found))
    return _stream(server, b"+OK %d octets\r\n" % size, found)


def _beginning(server: Server, lines: int, found: bytes | Iterator[bytes]) -> bytes:
    if isinstance(found, bytes):
        return dialogue.TOP_FOLLOWS + message.dotted(b"".join(message.top(iter((found,)), lines)))
    return _stream(server, dialogue.TOP_FOLLOWS, message.top(found, lines))


def _stream(server: Server, head: bytes, chunks: Iterator[bytes]) -> bytes:
    """Send a large message; its first chunk is read before +OK is said, so that a store in trouble still gives -ERR."""
    pieces = message.dotted_pieces(chunks)
    try:
        first = next(pieces)
    except StoreError:
        return dialogue.NOT_NOW
    except LookupError:
        return dialogue.DAMAGED
    server.stream(_begun(head + first, pieces))
    return b""


def _begun(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield first
        yield from rest
    finally:
        message.close(rest)


VERBS: dict[bytes, Verb] = {
    b"CAPA": capa,
    b"STAT": stat,
    b"LIST": list_sizes,
    b"UIDL": uidl,
    b"RETR": retr,
    b"TOP": top,
    b"DELE": dele,
    b"NOOP": noop,
    b"RSET": rset,
    b"QUIT": leave,
}
