"""A session with an account's server, as the collection uses it: `edge.upstreamsession.UpstreamSession` is one."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList

from mailbridge.fetch.account import Account


class Session(Protocol):
    """Logged in. Everything fails with UpstreamError; after any kind but REFUSED the session is over."""

    @property
    def capabilities(self) -> Container[str]:
        """What the server says it can do."""

    def list(self) -> Deferred[Any]:
        """Sizes by number."""

    def uidl(self) -> Deferred[Any]:
        """UIDs by number, or None."""

    def retrieve(self, number: int, write: Callable[[bytes], Deferred[Any] | None], limit: int | None) -> Deferred[int]:
        """A message into `write`."""

    def delete(self, number: int) -> Deferred[None]:
        """Mark it."""

    def quit(self) -> Deferred[None]:
        """Delete what is marked."""

    def abort(self) -> None:
        """Close at once."""


Opener = Callable[[Account], Deferred[Any]]
"""Connects and logs in; fires with a Session. The password is the opener's business."""


async def both(one: Deferred[Any], other: Deferred[Any]) -> tuple[Any, Any]:
    """The results of two questions that were asked together; the first failure."""
    answers = await DeferredList([one, other], consumeErrors=True)
    for success, result in answers:
        if not success:
            raise result.value
    return answers[0][1], answers[1][1]
