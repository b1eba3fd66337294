"""Notices to senders: who hears what of a message, where the notice goes, and how many leave (RFC 3461, RFC 3464).

A notice is a message from `<>` in the same store: it is committed together with what it tells of. A local sender finds
it in the maildrop at once; one elsewhere gets it through the queue. A message from `<>` causes none (RFC 5321 4.5.5),
so there are no loops. Where there is no way back the notice is postmaster's.

More than `per_minute` of a kind are held back: they are stored at once and become due later, so a flood reaches nobody
and nothing is lost. Failures, delays and successes are counted apart, so that whoever asks for many notices of success
does not hold up the notices of failure. What would be held back for more than half of its time goes to postmaster too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.content import Content
from mailbridge.envelope import Envelope, MailParameters, Origin
from mailbridge.errors import AddressError, StoreError
from mailbridge.interfaces import IBounce, IRouter, IStore
from mailbridge.outcome import Delivered, Outcome
from mailbridge.queue import fate
from mailbridge.queue.fate import Fate
from mailbridge.queue.notice import About, Heading, compose
from mailbridge.queue.pace import Pace
from mailbridge.received import maildrop_size
from mailbridge.reply import Reply
from mailbridge.routing.route import MAILDROP, Route
from mailbridge.store.changes import Accept, Delivery, Message, Queued, Wishes

_QUEUE_ID_OCTETS = 10
_BLOCK = 64 * 1024
_POSTMASTER = Address("postmaster")


@frozen
class BounceSettings:
    """`hostname` signs notices. `per_minute` of each kind leave; a message of up to `returned` octets goes back whole.

    `expire` is how long the queue tries a message, in seconds.
    """

    hostname: str
    per_minute: int = 60
    returned: int = 64 * 1024
    expire: float = 432000.0


@implementer(IBounce)
class Bounce:
    """Makes notices. `settings` may be replaced while it runs; `random(n)` gives n octets for queue ids."""

    _log = Logger()

    def __init__(
        self, store: IStore, router: IRouter, settings: BounceSettings, clock: IReactorTime,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._router = router
        self._clock = clock
        self._random = random
        self._paces: dict[str, Pace] = {word: Pace(settings.per_minute) for word in ("FAILURE", "DELAY", "SUCCESS")}
        self.settings = settings

    # --- IBounce ------------------------------------------------------------------------------------------------------

    def failed(self, message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """Given up."""
        now = self._clock.seconds()
        return self._of_message(message, "FAILURE", [
            fate.failed(delivery.recipient, delivery.wishes, outcome, now)
            for delivery, outcome in results if fate.wants(delivery.wishes, "FAILURE")
        ])

    def delayed(self, message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """Late."""
        now, until = self._clock.seconds(), message.received + self.settings.expire
        return self._of_message(message, "DELAY", [
            fate.delayed(delivery.recipient, delivery.wishes, outcome, now, until)
            for delivery, outcome in results if fate.wants(delivery.wishes, "DELAY")
        ])

    def unclaimed(self, message: Message, results: Sequence[tuple[Delivery, Outcome]]) -> Deferred[Accept | None]:
        """Handed over, and not taken by those it was for."""
        now = self._clock.seconds()
        return self._of_message(message, "DELAY", [
            fate.unclaimed(delivery.recipient, delivery.wishes, outcome, now)
            for delivery, outcome in results if fate.wants_unclaimed(delivery.wishes)
        ])

    def delivered(self, message: Message, results: Sequence[tuple[Delivery, Delivered]]) -> Deferred[Accept | None]:
        """Done, and not by a system that tells it itself."""
        now = self._clock.seconds()
        return self._of_message(message, "SUCCESS", [
            fate.delivered(delivery.recipient, delivery.wishes, outcome, now)
            for delivery, outcome in results if fate.wants(delivery.wishes, "SUCCESS") and not outcome.took_wishes
        ])

    def arrived(self, envelope: Envelope, recipients: Sequence[tuple[Address, Wishes, int]]) -> Deferred[Accept | None]:
        """In the maildrops."""
        now = self._clock.seconds()
        declared = MailParameters(None, envelope.body_8bit, envelope.utf8, envelope.ret, envelope.envid)
        fates = [
            fate.arrived(address.text, wishes, maildrops, now)
            for address, wishes, maildrops in recipients if fate.wants(wishes, "SUCCESS")
        ]
        return Deferred.fromCoroutine(self._tell(
            "SUCCESS", envelope.queue_id, envelope.sender.text, envelope.origin.time, declared, envelope.content, fates
        ))

    def _of_message(self, message: Message, word: str, fates: list[Fate]) -> Deferred[Accept | None]:
        if not fates or not message.sender:  # the usual case, once for each message that is relayed
            return succeed(None)
        return Deferred.fromCoroutine(self._tell(
            word, message.queue_id, message.sender, message.received, message.declared, message.content, fates
        ))

    # --- a notice -----------------------------------------------------------------------------------------------------

    async def _tell(self, word: str, queue_id: str, sender: str, received: float, declared: MailParameters,
                    content: Content, fates: list[Fate]) -> Accept | None:
        """The notice to commit; None without anybody who wants it or could get it."""
        if not fates or not sender:
            return None
        now = self._clock.seconds()
        receiver, routes, due = self._way_back(sender, word, now)
        if not routes:
            self._log.error(
                "no way to tell {sender} what became of message {queue_id}, and no postmaster: {fates}",
                sender=sender, queue_id=queue_id, fates=[(each.recipient, each.status) for each in fates],
            )
            return None
        octets = self._read(content, content.size if content.size <= self.settings.returned else _BLOCK)
        own_id = self._random(_QUEUE_ID_OCTETS).hex()
        notice = compose(
            Heading(self.settings.hostname, own_id, _in_header(receiver, self.settings.hostname), now,
                    self.settings.returned, sender if receiver is _POSTMASTER else ""),
            About(queue_id, sender, received, declared, octets, content.size), fates,
        )
        envelope = Envelope(
            own_id, NULL, (receiver,), self._origin(now), await self._write(notice.octets), notice.eight_bit,
            notice.utf8,
        )
        return Accept(
            envelope,
            tuple({route.user: None for route in routes if route.target == MAILDROP and route.user is not None}),
            tuple(Queued(receiver.text, route.target, route.destination, due)
                  for route in routes if route.target != MAILDROP),
            maildrop_size=maildrop_size(NULL, envelope.content),
        )

    def _origin(self, now: float) -> Origin:
        return Origin("queue", "", self.settings.hostname, None, None, now, "local", trusted=True)

    def _way_back(self, sender: str, word: str, now: float) -> tuple[Address, tuple[Route, ...], float]:
        """(who gets the notice, by which routes, when it may leave)."""
        address = _parsed(sender)
        routes = self._routes(address, now) if address is not None else ()
        due = now
        if any(route.target != MAILDROP for route in routes):
            pace = self._paces[word]
            pace.per_minute = max(1, self.settings.per_minute)
            due = pace.next(now)
            if due > now + self.settings.expire / 2:
                routes = ()
        if address is not None and routes:
            return address, routes, due
        return _POSTMASTER, self._routes(_POSTMASTER, now), now

    def _routes(self, address: Address, now: float) -> tuple[Route, ...]:
        answer = self._router.route(address, NULL, self._origin(now))
        return () if isinstance(answer, Reply) else answer

    # --- content ------------------------------------------------------------------------------------------------------

    def _read(self, content: Content, most: int) -> bytes:
        """The beginning of the message. One that cannot be read is told of without it: its sender must hear of it."""
        if content.octets is not None:
            return content.octets[:most]
        blocks = []
        try:
            pin = self._store.pin(content)
            try:
                for at in range(0, min(most, content.size), _BLOCK):
                    blocks.append(self._store.read(content, at, min(_BLOCK, most - at)))
            finally:
                pin.release()  # type: ignore[attr-defined]
        except StoreError:
            self._log.failure("a notice goes out without all of the message, which could not be read")
        return b"".join(blocks)

    async def _write(self, octets: bytes) -> Content:
        writer = self._store.content()
        try:
            for at in range(0, len(octets), _BLOCK):
                behind = writer.write(octets[at:at + _BLOCK])
                if behind is not None:
                    await behind
            finished = writer.finish()
            return await finished if isinstance(finished, Deferred) else finished
        except BaseException:
            writer.abort()
            raise


def _parsed(text: str) -> Address | None:
    """The sender as an address; None for what can no longer be one."""
    try:
        address = parse_mailbox(text.encode("utf-8"))
    except (AddressError, UnicodeError):
        return None
    return None if address.is_null else address


def _in_header(address: Address, hostname: str) -> str:
    """The address as a header writes it: with a domain, quoted where an envelope does without (RFC 5322 3.4.1)."""
    return evolve(address, domain=address.domain or hostname, double_at=False).text
