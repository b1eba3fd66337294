"""An upstream in memory: a mailbox, sessions with it, and the things that go wrong with both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from mailbridge.address import parse_mailbox
from mailbridge.edge.upstream import Upstream
from mailbridge.fetch.account import Account
from mailbridge.fetch.recipient import Addressing
from mailbridge.pop3.failure import Kind, UpstreamError

CARETAKER = parse_mailbox(b"clyde@example.org")
ADDRESSING = Addressing(local=frozenset({"example.org"}), main="example.org", caretaker=CARETAKER)


def message(number: int, to: bytes = b"bonnie@example.org", size: int = 0) -> bytes:
    """A message of that number."""
    return b"Return-Path: <a@out.example>\r\nTo: %b\r\nSubject: %d\r\n\r\nbody %d\r\n%b" % (
        to, number, number, b"x" * size + b"\r\n" if size else b"")


def account(mailbox: Mailbox | None = None, **changes: Any) -> Account:
    """An account whose host names its mailbox."""
    host = mailbox.name if mailbox is not None else "pop.example"
    return Account(**{"name": f"bob@{host}", "user": "bob", "upstream": Upstream(host), "addressing": ADDRESSING,
                      **changes})


@define
class Mailbox:
    """Messages by UID, in order. Switches say what goes wrong; lists say what was done."""

    name: str = "pop.example"
    messages: dict[str, bytes] = field(factory=dict)
    has_uidl: bool = True
    forgets_deletions: bool = False
    loses_quit: bool = False
    sizes: Callable[[bytes], int] = len
    error_at_open: UpstreamError | None = None
    refused: set[str] = field(factory=set)
    cut_in: set[str] = field(factory=set)
    hold_in: set[str] = field(factory=set)
    cut_after: int = -9
    without_uid: set[str] = field(factory=set)
    opened: int = 0
    quits: int = 0
    aborted: int = 0
    retrieved: list[str] = field(factory=list)
    deleted: list[str] = field(factory=list)
    held: list[Deferred[Any]] = field(factory=list)

    def fill(self, count: int, **more: Any) -> Mailbox:
        """Messages 1 to `count`."""
        self.messages.update((f"uid{n}", message(n, **more)) for n in range(1, count + 1))
        return self

    def open(self, account: Account) -> Deferred[Any]:
        """The opener of this mailbox."""
        self.opened += 1
        if self.error_at_open is not None:
            return fail(self.error_at_open)
        return succeed(FakeSession(self))


class FakeSession:
    """See `mailbridge.fetch.session.Session`."""

    capabilities = ("PIPELINING", "UIDL")

    def __init__(self, mailbox: Mailbox) -> None:
        self._box = mailbox
        self._listed = dict(enumerate(mailbox.messages, 1))
        self._marked: list[str] = []
        self._over: UpstreamError | None = None
        self._waiting: list[Deferred[Any]] = []

    def _lose(self, kind: Kind = Kind.LOST) -> UpstreamError:
        self._over = UpstreamError(kind, "RETR: the server closed the connection")
        return self._over

    def list(self) -> Deferred[Any]:
        return succeed({number: self._box.sizes(self._box.messages[uid]) for number, uid in self._listed.items()})

    def uidl(self) -> Deferred[Any]:
        uids = {number: uid for number, uid in self._listed.items() if uid not in self._box.without_uid}
        return succeed(uids if self._box.has_uidl else None)

    def retrieve(self, number: int, write: Callable[[bytes], Any], limit: int | None) -> Deferred[int]:
        box, uid = self._box, self._listed[number]
        if self._over is not None:
            return fail(self._over)
        box.cut_after -= 1
        if box.cut_after == -1:
            return fail(self._lose())
        box.retrieved.append(uid)
        if uid in box.refused:
            return fail(UpstreamError(Kind.REFUSED, f"RETR {number}: no"))
        if uid in box.hold_in:
            box.held.append(Deferred())
            self._waiting.append(box.held[-1])
            return box.held[-1]
        octets = box.messages[uid]
        if limit is not None and len(octets) > limit:
            return fail(self._lose(Kind.LARGE))
        half = len(octets) // 2
        try:
            for part in (octets[:half], octets[half:]):
                write(part)
                if uid in box.cut_in:
                    return fail(self._lose())
        except Exception as error:
            return fail(error)
        return succeed(len(octets))

    def delete(self, number: int) -> Deferred[None]:
        if self._over is not None:
            return fail(self._over)
        self._marked.append(self._listed[number])
        return succeed(None)

    def quit(self) -> Deferred[None]:
        if self._over is not None:
            return fail(self._over)
        self._box.quits += 1
        self._over = UpstreamError(Kind.CLOSED, "closed")
        if self._box.loses_quit:
            return fail(UpstreamError(Kind.LOST, "QUIT: lost"))
        self._box.deleted += self._marked
        if not self._box.forgets_deletions:
            for uid in self._marked:
                self._box.messages.pop(uid, None)
        return succeed(None)

    def abort(self) -> None:
        if self._over is None:
            self._box.aborted += 1
            self._over = UpstreamError(Kind.CLOSED, "closed by this side")
            for waiting in self._waiting:
                if not waiting.called:
                    waiting.errback(self._over)
