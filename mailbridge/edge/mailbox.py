"""Maildrops and twisted.mail's IMailbox, each in the other's clothes.

cred's Portal hands out IMailbox. Ours is a `MaildropMailbox`, from which our sessions take the maildrop itself; anybody
else's mailbox becomes a `ForeignMaildrop`. Never decides what is deleted when: the session does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.mail.pop3 import IMailbox
from zope.interface import Interface, implementer

from mailbridge.errors import StoreError
from mailbridge.interfaces import IMaildrop
from mailbridge.lines import Normaliser

CHUNK = 65_536
_UID = re.compile(rb"[!-~]{1,70}")  # RFC 1939 section 7


def as_maildrop(mailbox: object) -> IMaildrop:
    """The maildrop behind any IMailbox."""
    own: IMaildrop | None = IMaildrop(mailbox, None)
    return own if own is not None else ForeignMaildrop(mailbox)


@implementer(IMaildrop)
class ForeignMaildrop:
    """An IMailbox of somebody else's. Its `listMessages`, `getMessage`, `deleteMessage`, `undeleteMessages` and `sync`
    may return Deferreds; `getUidl` answers at once, as twisted.mail has it. Sizes are what it says they are.

    It hears of deletions at QUIT only. Line ends of any kind become CR LF.
    """

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def open(self) -> Deferred[Sequence[int]]:
        """The sizes; 0 for what the mailbox counts as deleted already."""
        return maybeDeferred(self._mailbox.listMessages).addCallback(list)

    def uid(self, index: int) -> bytes:
        """The mailbox's own id, or a digest of it when POP3 cannot carry it. LookupError when it has none."""
        try:
            uid = self._mailbox.getUidl(index)
            octets: bytes = uid if isinstance(uid, bytes) else str(uid).encode()
        except Exception as error:
            raise LookupError(f"the mailbox has no unique id for message {index + 1}") from error
        return octets if _UID.fullmatch(octets) else hashlib.sha256(octets).hexdigest().encode("ascii")

    def retrieve(self, index: int) -> Deferred[bytes | Iterator[bytes]]:
        """The file the mailbox gives, read in chunks and closed."""
        return maybeDeferred(self._mailbox.getMessage, index).addCallback(_chunks)

    def delete(self, indices: Iterator[int]) -> Deferred[None]:
        """Delete and `sync`; when one fails, all are undeleted."""
        return Deferred.fromCoroutine(self._delete(indices))

    async def _delete(self, indices: Iterator[int]) -> None:
        try:
            for index in indices:
                await maybeDeferred(self._mailbox.deleteMessage, index)
        except Exception:
            await maybeDeferred(self._mailbox.undeleteMessages)
            raise
        await maybeDeferred(self._mailbox.sync)

    def close(self) -> Deferred[None]:
        """Nothing: the portal's logout ends it."""
        return succeed(None)


def _chunks(file: Any) -> Iterator[bytes]:
    normaliser = Normaliser()
    try:
        while chunk := file.read(CHUNK):
            yield normaliser.feed(chunk)
        yield normaliser.finish()
    except (OSError, TypeError, ValueError) as error:
        raise StoreError("a mailbox gave a file that cannot be read") from error
    finally:
        close: Callable[[], object] = getattr(file, "close", lambda: None)
        close()


@implementer(IMailbox)
class MaildropMailbox:
    """Our maildrop as an IMailbox, for the Portal and for servers of others. `listMessages` comes first and opens it.

    A message is read into memory whole, with LF line ends, as twisted.mail.pop3 wants it.
    """

    def __init__(self, maildrop: IMaildrop) -> None:
        self._maildrop = maildrop
        self._sizes: Sequence[int] | None = None
        self._deleted: set[int] = set()

    def __conform__(self, interface: type[Interface]) -> IMaildrop | None:
        return self._maildrop if interface is IMaildrop else None

    def listMessages(  # type: ignore[override]  # IMailbox allows the Deferred in words only
        self, i: int | None = None
    ) -> Deferred[int | list[int]]:
        """A Deferred of the size of message `i`, or of all sizes; 0 for a deleted one. ValueError: there is none."""
        opened = self._maildrop.open() if self._sizes is None else succeed(self._sizes)
        return opened.addCallback(self._list, i)

    def _list(self, sizes: Sequence[int], i: int | None) -> int | list[int]:
        self._sizes = sizes
        if i is None:
            return [0 if index in self._deleted else size for index, size in enumerate(sizes)]
        return 0 if self._check(i) in self._deleted else sizes[i]

    def getMessage(self, i: int) -> Deferred[BytesIO]:
        """A Deferred of a file."""
        found: Deferred[Any] = maybeDeferred(self._maildrop.retrieve, self._check(i))
        return found.addCallback(_file)

    def getUidl(self, i: int) -> bytes:
        """The unique id."""
        return self._maildrop.uid(self._check(i))

    def deleteMessage(self, i: int) -> None:
        """Mark a message."""
        self._deleted.add(self._check(i))

    def undeleteMessages(self) -> None:
        """Take all marks off."""
        self._deleted.clear()

    def sync(self) -> Deferred[None]:
        """Remove what is marked; fires after the commit."""
        return self._maildrop.delete(iter(sorted(self._deleted)))

    def _check(self, i: int) -> int:
        if self._sizes is None or not 0 <= i < len(self._sizes):
            raise ValueError("there is no such message")
        return i


def _file(message: bytes | Iterator[bytes]) -> BytesIO:
    octets = message if isinstance(message, bytes) else b"".join(message)
    return BytesIO(octets.replace(b"\r\n", b"\n"))
