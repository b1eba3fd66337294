"""Content of the store in memory: nothing to sync, nothing to pin."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailbridge.content import Content
from mailbridge.errors import StoreError
from mailbridge.interfaces import IContentWriter


class MemoryPin:
    """Content in memory needs no pin."""

    def release(self) -> None:
        """Nothing to give back."""


@implementer(IContentWriter)
class MemoryWriter:
    """Gathers octets; see IContentWriter."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._over = False

    def write(self, octets: bytes) -> None:
        """Add octets."""
        if self._over:
            raise StoreError("the content was finished or aborted already")
        self.size += len(octets)
        self._parts.append(octets)

    def finish(self) -> Content | Deferred[Content]:
        """All content is in memory."""
        if self._over:
            return fail(StoreError("the content was finished or aborted already"))
        self._over = True
        return Content.of(b"".join(self._parts))

    def abort(self) -> None:
        """Forget the octets."""
        self._over = True
        self._parts.clear()
