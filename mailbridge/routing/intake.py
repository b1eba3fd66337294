"""The intake: from an edge's mail transaction to one commit in the store.

The one place where an Envelope is made. Each recipient is routed when it is named, the content is written while it
arrives, and the positive reply is given only after `IStore.commit` has succeeded (invariant 1). Any failure of our own
is a transient reply; nothing half done stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge import reply
from mailbridge.address import Address
from mailbridge.clock import rfc5322_date
from mailbridge.content import Content
from mailbridge.envelope import Envelope, MailParameters, Origin
from mailbridge.errors import StoreFull
from mailbridge.interfaces import IBounce, IContentWriter, IIntake, IRouter, IStore, ITransaction
from mailbridge.limits import Limits
from mailbridge.message import header
from mailbridge.received import maildrop_size, received_header
from mailbridge.reply import Reply
from mailbridge.routing.directory import Directory
from mailbridge.routing.route import MAILDROP
from mailbridge.store.changes import NO_WISHES, Accept, Queued, Wishes

_QUEUE_ID_OCTETS = 10

Owns = Callable[[str, Address], bool]
"""Whether a login may send as an address."""


@frozen
class SubmissionRules:
    """What a listener does for trusted and logged-in clients: add missing header fields, rewrite the sender."""

    add_headers: bool = False
    sender: Address | None = None


NO_RULES = SubmissionRules()


@implementer(IIntake)
class Intake:
    """Begins transactions. `rules` are by listener name and hold for trusted and logged-in clients.
    `random(n)` gives n octets for queue ids, which nobody can guess and nobody has twice. `bounce` tells senders who
    asked for it that their mail is in the maildrop.
    """

    log = Logger()

    def __init__(
        self,
        store: IStore,
        router: IRouter,
        directory: Directory,
        hostname: str,
        limits: Limits,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        rules: Mapping[str, SubmissionRules] | None = None,
        bounce: IBounce | None = None,
    ) -> None:
        self.store = store
        self.router = router
        self.directory = directory
        self.hostname = hostname
        self.limits = limits
        self.clock = clock
        self.rules = rules or {}
        self.bounce = bounce
        self._random = random

    def begin(
        self, sender: Address, origin: Origin, declared: MailParameters, owns: Owns | None = None
    ) -> Transaction | Reply:
        """Start a transaction; refuses a sender that the logged-in user may not use, and what there is no room for.

        `owns(user, sender)` says whether that login may; without it the directory does.
        """
        rules = self.rules.get(origin.listener, NO_RULES) if origin.trusted else NO_RULES
        if rules.sender is not None and not sender.is_null:
            sender = rules.sender
        elif origin.user is not None and not (owns or self._owns)(origin.user, sender):
            return reply.NOT_YOUR_ADDRESS
        if declared.size is not None and declared.size > self.store.free_octets():
            return reply.STORE_FULL
        return Transaction(self, sender, origin, declared, self.queue_id(), rules)

    def _owns(self, login: str, sender: Address) -> bool:
        user = self.directory.login(login)
        return user is not None and self.directory.owns(user, sender)

    def queue_id(self) -> str:
        """A new queue id: 20 hexadecimal digits."""
        return self._random(_QUEUE_ID_OCTETS).hex()


@implementer(ITransaction)
class Transaction:
    """One message on its way in."""

    __slots__ = (
        "_curious", "_declared", "_fault", "_header", "_header_done", "_intake", "_origin", "_queue_id", "_queued",
        "_recipients", "_rules", "_searched", "_sender", "_users", "_writer",
    )

    def __init__(
        self,
        intake: Intake,
        sender: Address,
        origin: Origin,
        declared: MailParameters,
        queue_id: str,
        rules: SubmissionRules,
    ) -> None:
        self._intake = intake
        self._sender = sender
        self._origin = origin
        self._declared = declared
        self._queue_id = queue_id
        self._rules = rules
        self._recipients: dict[Address, None] = {}
        self._users: dict[int, None] = {}
        self._queued: dict[tuple[str, str, str, str], tuple[str, Wishes]] = {}
        self._curious: list[tuple[Address, Wishes, int]] = []
        self._writer: IContentWriter | None = None
        self._header = b""
        self._header_done = False
        self._searched = 0
        self._fault: Reply | None = None

    def recipient(self, address: Address, wishes: Wishes = NO_WISHES) -> Reply:
        """Route one recipient. One listed twice, or reached by two aliases, gets one copy; the first one's wishes
        hold."""
        if address in self._recipients:
            return reply.RECIPIENT_OK
        routes = self._intake.router.route(address, self._sender, self._origin)
        if isinstance(routes, Reply):
            return routes
        maildrops = 0
        for route in routes:
            if route.target == MAILDROP and route.user is not None:
                self._users[route.user] = None
                maildrops += 1
            else:
                key = address.local, address.domain.casefold(), route.target, route.destination
                self._queued.setdefault(key, (address.text, wishes))
        if maildrops and "SUCCESS" in wishes.notify:
            self._curious.append((address, wishes, maildrops))
        self._recipients[address] = None
        return reply.RECIPIENT_OK

    def data(self) -> Reply | None:
        """Content is coming."""
        try:
            self._writer = self._intake.store.content()
        except Exception:
            return self._failed(Failure())
        return None

    def write(self, octets: bytes) -> Deferred[None] | None:
        """Keep content. The header is looked at as soon as it is whole; its limits are checked before that."""
        if self._fault is not None:
            return None
        if self._header_done:
            return self._store(octets)
        octets = self._header + octets if self._header else octets
        end = header.end_of_header(octets, self._searched)
        if end < 0:
            self._header = octets
            self._searched = len(octets)
            if len(octets) > self._intake.limits.header_size:
                self._refuse(reply.HEADER_TOO_LARGE)
            return None
        return self._begin_content(octets[:end], octets[end:])

    def _begin_content(self, head: bytes, body: bytes) -> Deferred[None] | None:
        """Check the header and write the trace line, the header and what came of the body."""
        self._header_done = True
        self._header = b""
        intake, limits = self._intake, self._intake.limits
        if len(head) > limits.header_size or header.count_fields(head) > limits.header_fields:
            self._refuse(reply.HEADER_TOO_LARGE)
            return None
        if header.count_hops(head) >= limits.hops:
            self._refuse(reply.TOO_MANY_HOPS)
            return None
        if self._rules.add_headers or self._rules.sender is not None:
            if head and not header.begins_as_header(head):  # bare text: it is no header, nor the folded rest of ours
                head, body = b"", b"\r\n" + head + body
            head = header.complete(
                head,
                date=rfc5322_date(self._origin.time),
                message_id=f"<{self._queue_id}@{intake.hostname}>",
                sender=self._sender.text or f"MAILER-DAEMON@{intake.hostname}",
                rewrite=self._rules.sender is not None,
            )
        only = next(iter(self._recipients)) if len(self._recipients) == 1 else None
        trace = received_header(self._origin, intake.hostname, self._queue_id, only)
        return self._store(trace + head + body)

    def _store(self, octets: bytes) -> Deferred[None] | None:
        assert self._writer is not None
        try:
            return self._writer.write(octets)
        except Exception:
            self._failed(Failure())
            return None

    def _refuse(self, fault: Reply) -> None:
        """Take no more content; `finish` will say why."""
        self._fault = fault
        self.abort()

    def _failed(self, failure: Failure) -> Reply:
        """Our own fault, told as a transient reply (invariant 7)."""
        if failure.check(StoreFull) is None:
            self._intake.log.failure("message {queue_id} was not stored", failure, queue_id=self._queue_id)
        self._refuse(reply.STORE_FULL if failure.check(StoreFull) else reply.NOT_NOW)
        assert self._fault is not None
        return self._fault

    def finish(self) -> Reply | Deferred[Reply]:
        """All content is there: commit, then answer."""
        if self._fault is None and not self._header_done:  # a message that is all header, or empty
            self._begin_content(self._header, b"")
        if self._fault is not None:
            return self._fault
        assert self._writer is not None
        try:
            content = self._writer.finish()
            stored = self._commit(content) if isinstance(content, Content) else content.addCallback(self._commit)
        except Exception:
            return self._failed(Failure())
        return stored.addCallbacks(self._committed, self._failed)

    def _commit(self, content: Content) -> Deferred[tuple[object, ...]]:
        envelope = Envelope(
            self._queue_id, self._sender, tuple(self._recipients), self._origin, content,
            self._declared.body_8bit, self._declared.utf8, self._declared.ret, self._declared.envid,
        )
        intake = self._intake
        now = intake.clock.seconds()
        queued = tuple(
            Queued(text, target, lane, now, wishes) for (_, _, target, lane), (text, wishes) in self._queued.items()
        )
        accept = Accept(envelope, tuple(self._users), queued, maildrop_size=maildrop_size(self._sender, content))
        if not self._curious or intake.bounce is None:
            return intake.store.commit(accept)
        notice: Deferred[Accept | None] = intake.bounce.arrived(envelope, self._curious)
        return notice.addCallback(lambda told: intake.store.commit(accept, *((told,) if told is not None else ())))

    def _committed(self, _receipts: tuple[object, ...]) -> Reply:
        self._writer = None
        return Reply(250, "2.0.0", f"Stored as {self._queue_id}")

    def abort(self) -> None:
        """Forget the content."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()


