"""The seams of mailbridge. A reader who knows these docstrings knows the system.

An **edge** receives mail and builds an Envelope. The **router** answers for each recipient at once. The **store** makes
what was accepted durable: the success of `IStore.commit` is the only ground for a 250, a DELE or an acknowledgement.
The **queue** decides when a delivery is tried, a **target** tries it and returns an outcome for each recipient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailbridge.address import Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, MailParameters, Origin
from mailbridge.outcome import Delivered, Outcome
from mailbridge.reply import Reply
from mailbridge.routing.route import Resolution
from mailbridge.store.changes import (
    NO_WISHES,
    Accept,
    Delivery,
    Lane,
    Message,
    People,
    QueueEntry,
    Selection,
    Snapshot,
    Wishes,
)


class IStore(Interface):
    """Everything durable, in one transactional place (DESIGN 4).

    There is one write, `commit`; changes are the plain values of `store.changes`. Reads are bounded and safe in the
    reactor thread unless they return a Deferred. Errors: StoreFull, StoreConflict, or StoreError for all else.
    """

    epoch = Attribute("Random text made with the store: part of every POP3 UID, so that a new store never repeats one.")

    def commit(*changes: object) -> Deferred[tuple[object, ...]]:
        """Apply all changes or none; fires with a receipt for each, after they are on stable storage."""

    def content() -> IContentWriter:
        """A writer for the content of one message."""

    def read(content: Content, offset: int, length: int) -> bytes:
        """At most `length` octets from `offset`; callers ask for 64 KiB or less at a time."""

    def pin(content: Content) -> object:
        """Keep the segments of `content` readable until the returned object's `release()` is called."""

    def messages(ids: Sequence[int]) -> dict[int, Message]:
        """Those messages of at most 64 ids that exist."""

    def snapshot(user: int) -> Deferred[Snapshot]:
        """A user's maildrop, in the order of arrival."""

    def people() -> Deferred[People]:
        """All users and aliases, for the directory in memory."""

    def recall(key: str) -> str | None:
        """The value kept by `store.changes.Remember`, None if there is none."""

    def counter(name: str) -> int | None:
        """The number that the next `store.changes.Allocate` of a counter would give, None if there was none yet."""

    def remembered(prefix: str, after: str, limit: int) -> Deferred[dict[str, str]]:
        """A page of the remembered values whose keys begin with `prefix` and come after the key `after`, by key.

        `limit` is 1,000 at the most.
        """

    def lease(name: str, owner: str, ttl: float) -> Deferred[bool]:
        """Take or renew the lease `name` for `ttl` seconds; False while another owner holds it."""

    def release(name: str, owner: str) -> Deferred[None]:
        """Give a lease back; no error if it was not held."""

    def claim(owner: str, lane: int, limit: int, ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """At most `limit` due deliveries of a lane; a Settle must name the fence of each."""

    def renew(owner: str, deliveries: Sequence[Delivery], ttl: float) -> Deferred[tuple[Delivery, ...]]:
        """Extend claims; fires with those still held."""

    def queue(selection: Selection, after: int, limit: int) -> Deferred[tuple[QueueEntry, ...]]:
        """At most `limit` (1,000) deliveries with an id above `after` that match, by id: a page for the operator."""

    def lanes() -> Deferred[tuple[Lane, ...]]:
        """Every lane with its next due time and how many wait."""

    def ready(limit: int) -> Deferred[tuple[tuple[Lane, ...], float | None]]:
        """At most `limit` lanes, open or paused, that have due deliveries and whose `not_before` has passed, longest
        ready first; and when the next lane will be ready, None if none will."""

    def watch(topic: str, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback()` in the reactor after changes to `topic` ("people", "lanes", "maildrop:7").

        Returns a function that ends it. Events may be lost: whoever watches also polls.
        """

    def free_octets() -> int:
        """Room left on the store's file system, in octets."""

    def close() -> Deferred[None]:
        """Finish what was begun, then give the files and the lock back."""


class IContentWriter(Interface):
    """Takes the octets of one message. CR and LF come in pairs only: the caller has seen to that."""

    size = Attribute("Octets written so far.")

    def write(octets: bytes) -> Deferred[None] | None:
        """Add octets; a Deferred asks the caller to wait for it before the next write. Raises StoreError."""

    def finish() -> Content | Deferred[Content]:
        """The content, safe to name in a commit."""

    def abort() -> None:
        """Forget the octets; allowed at any time before or after `finish`, and more than once."""


class IRouter(Interface):
    """Answers, for each recipient and at once, where mail goes: the answer is given at RCPT time."""

    def route(recipient: Address, sender: Address, origin: Origin) -> Resolution:
        """One or more routes (an alias has many), or the Reply that refuses the recipient."""


class ITarget(Interface):
    """A way out of the bridge: maildrop, relay, application, OCE."""

    name = Attribute("The first part of a route: `maildrop`, `relay:office`.")

    def attempt(message: Message, deliveries: Sequence[Delivery], lane: Lane) -> Deferred[dict[int, Outcome]]:
        """Try to deliver one message to recipients of one lane; an outcome for each delivery id.

        A failed Deferred, and an outcome that is missing, is a transient failure.
        """

    def concurrency(lane: Lane) -> int:
        """How many attempts may run at once in a lane; the queue keeps to it."""


class IIntake(Interface):
    """The one way into the bridge for mail, whatever edge it came by."""

    def begin(
        sender: Address, origin: Origin, declared: MailParameters
    ) -> ITransaction | Reply | Deferred[ITransaction | Reply]:
        """Start a mail transaction; a Reply refuses the sender."""


class ITransaction(Interface):
    """One mail transaction (RFC 5321 3.3): recipients, then content, then an end.

    Each answer is a Reply or a Deferred of one.
    """

    def recipient(address: Address, wishes: Wishes = NO_WISHES) -> Reply | Deferred[Reply]:
        """Route one recipient, of whom the sender wants to hear `wishes`: a positive reply takes it."""

    def data() -> Reply | None:
        """Called before the first `write`; a Reply refuses the content."""

    def write(octets: bytes) -> Deferred[None] | None:
        """Content with dots and chunk sizes taken off, CR LF line ends only; a Deferred asks for a pause. Never raises:
        what fails is told by `finish`."""

    def finish() -> Reply | Deferred[Reply]:
        """The end of the content. A positive reply is given only after the commit."""

    def abort() -> None:
        """The transaction ends without mail (RSET, lost connection); allowed at any time, and more than once."""


class IBounce(Interface):
    """Who hears what became of a message (RFC 3461, RFC 3464). Each method makes at most one notice for the sender.

    It fires with the change to commit together with what it tells of, or None when nobody wants to hear it; it fails
    with StoreError when the notice could not be written, and then nothing has happened.
    """

    def failed(message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """These are given up: a PermanentFailure, or any other outcome after too long a time."""

    def delayed(message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """These are late and will be tried again."""

    def delivered(message: Message, results: Sequence[tuple[Delivery, Delivered]]) -> Deferred[Accept | None]:
        """These are done; see the flags of Delivered."""

    def unclaimed(message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """These were handed to a program that has not taken them in time; they are not tried again."""

    def arrived(envelope: Envelope, recipients: Sequence[tuple[Address, Wishes, int]]) -> Deferred[Accept | None]:
        """At the intake: each recipient went into that number of maildrops, in the commit that accepts the message."""


class IMaildrop(Interface):
    """One user's maildrop for one POP3 session; messages are counted from 0. Errors: StoreError unless named."""

    def open() -> Deferred[Sequence[int]]:
        """Take the lock and a snapshot (RFC 1939 5): the octets RETR sends of each message before dot-stuffing, 0 for
        none. Fails with MaildropInUse while another session has it."""

    def uid(index: int) -> bytes:
        """The unique id of a message: 1 to 70 printable octets, never used for another (RFC 1939 7)."""

    def retrieve(index: int) -> bytes | Iterator[bytes] | Deferred[bytes | Iterator[bytes]]:
        """A message with CR LF line ends, whole or in chunks of about 64 KiB; LookupError when it is gone. An iterator
        is closed by whoever does not want its rest."""

    def delete(indices: Iterator[int]) -> Deferred[None]:
        """Remove messages (RFC 1939 6); fires after the commit. If it fails, some may be gone and the rest is kept."""

    def close() -> Deferred[None]:
        """Give the lock back; allowed at any time, and more than once. Never fails."""
