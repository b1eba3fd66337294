"""The OCE as a target: a mail becomes one USDS message for each recipient, which is pushed into the OCE.

A delivery has the same MsgKey at each attempt, so the OCE recognises what it has already; that means "delivered" only
when we sent it before (DESIGN invariant 2). One target serves all tribes: the lane's destination is empty for members
of our own OCE, else the name of the tribe. Large mails are converted in another process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailbridge.address import Address
from mailbridge.content import Content
from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore, ITarget
from mailbridge.limits import MIB
from mailbridge.oce import codes, keys
from mailbridge.oce.client import CONNECTIONS, OCEClient, Stopped
from mailbridge.oce.exchange import ExchangeError, NotTrusted, Unreachable
from mailbridge.oce.mail import CannotConvert, Cargo, load
from mailbridge.oce.senders import Senders
from mailbridge.oce.tasks import LARGE, Examine, Letter, Write, examine, text
from mailbridge.oce.tribes import Tribes, is_oce
from mailbridge.oce.underway import UnderWay
from mailbridge.oce.usds import MEMBER, Dest
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.origin import address_of, origin_of
from mailbridge.queue.verdict import Trouble, Way, judge
from mailbridge.reply import Reply
from mailbridge.store.changes import Delivery, Lane, Message, Remember
from mailbridge.target.octets import OctetsAtOnce, whole

NAME = "oce"
GRACE = 5.0
"""At the end an attempt under way may take so many seconds more."""
OCTETS_AT_ONCE = 32 * MIB
"""Of mails that are in work; from 1 MiB on the recipients of a mail are served one after the other."""
_UNREGISTERED = RouteFailure("this bridge is not registered with its OCE; do it with `mailbridge register NAME`")
_UNKNOWN_TRIBE = PermanentFailure(Reply(550, "5.1.2", "There is no tribe of that name here"))
_NO_ADDRESS = PermanentFailure(Reply(553, "5.1.3", "That is no address of a member"))
_LONG_NAME = Reply(553, "5.1.3", f"The name of a member has at most {MEMBER} characters")
_UNREACHED = Reply(451, "4.4.1", "The OCE cannot be reached; trying again")
_NO_ANSWER = Reply(451, "4.4.2", "The OCE gave no usable answer; trying again")
_STRANGE = Reply(451, "4.3.0", "The OCE takes a new message for an old one; trying again under another key")

_NEXT_ATTEMPT = ((1, 2), (0, 1))
"""How attempts and fence have grown at the attempt after one: by its end and a claim, or by a claim after a crash."""
_STOPPED = judge(Trouble.STOPPED, "", Way.SMART_HOST)


def _holds_for_all(outcome: Outcome | None) -> bool:
    """Whether the next recipient would fare the same."""
    unreachable = isinstance(outcome, TransientFailure) and outcome.unreachable
    return unreachable or isinstance(outcome, RouteFailure) or outcome is _STOPPED


@implementer(ITarget)
class OCETarget:
    """The way out to the OCE of `client`. `secret` makes the message keys unguessable: see `client.store_secret`."""

    _log = Logger()

    def __init__(self, client: OCEClient, store: IStore, tribes: Callable[[], Tribes], senders: Senders,
                 secret: bytes, clock: IReactorTime) -> None:
        self.name = NAME
        self._client = client
        self._store = store
        self._tribes = tribes
        self._senders = senders
        self._secret = secret
        self._clock = clock
        self._octets = OctetsAtOnce(OCTETS_AT_ONCE)
        self._attempts = UnderWay()

    def concurrency(self, lane: Lane) -> int:
        """See ITarget."""
        return 1 if self._client.identity.interval else CONNECTIONS

    def attempt(self, message: Message, deliveries: Sequence[Delivery], lane: Lane) -> Deferred[dict[int, Outcome]]:
        """See ITarget. Cancelling ends what runs; what has an outcome by then keeps it."""
        return self._attempts.add(Deferred.fromCoroutine(self._attempt(message, deliveries)))

    def close(self) -> Deferred[None]:
        """Let attempts end, cancel those that take too long; fires when all have ended."""
        return self._attempts.ended(self._clock, GRACE)

    def check(self, recipient: Address, content: Content) -> Reply | None | Deferred[Reply | None]:
        """At the intake: why a mail for this only recipient cannot be converted (H12). Raises StoreError."""
        if len(recipient.local) > MEMBER:
            return _LONG_NAME
        if content.octets is not None and content.size <= LARGE:
            return examine(content.octets)
        return Deferred.fromCoroutine(self._examine(content))

    async def _examine(self, content: Content) -> Reply | None:
        async with self._in_memory(content) as octets:
            found = await self._client.aside(Examine(octets))
        return found if isinstance(found, Reply) else None

    # --- one message --------------------------------------------------------------------------------------------------

    async def _attempt(self, message: Message, deliveries: Sequence[Delivery]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        rest: Outcome = judge(Trouble.OWN_FAULT, "", Way.SMART_HOST)
        try:
            if not self._client.app_key:
                rest = _UNREGISTERED
            elif self._client.killed:
                rest = RouteFailure(self._client.killed)
            else:
                rest = await self._all(message, deliveries, outcomes) or rest
        except CannotConvert as error:
            rest = PermanentFailure(error.reply)
        except CancelledError:
            rest = _STOPPED
        except StoreError as error:
            rest = judge(Trouble.STORE, str(error), Way.SMART_HOST)
        except Exception:
            self._log.failure("a fault with {id} on its way to the OCE", id=message.queue_id)
        for delivery in deliveries:
            outcomes.setdefault(delivery.id, rest)
        return outcomes

    async def _all(self, message: Message, deliveries: Sequence[Delivery],
                   outcomes: dict[int, Outcome]) -> Outcome | None:
        """All recipients, some at once; the outcome of those who have none then. Raises CannotConvert, StoreError."""
        size = message.content.size
        async with self._in_memory(message.content) as content:
            mail = load(content) if size <= LARGE else content
            together = CONNECTIONS if size < MIB else 1
            for at in range(0, len(deliveries), together):
                some = deliveries[at:at + together]
                running = [Deferred.fromCoroutine(self._deliver(message, each, mail, outcomes)) for each in some]
                await DeferredList(running, consumeErrors=True)
                end = next((outcomes[each.id] for each in some if _holds_for_all(outcomes.get(each.id))), None)
                if end is not None:
                    return end
        return None

    @asynccontextmanager
    async def _in_memory(self, content: Content) -> AsyncIterator[bytes]:
        """All of the content, while there is room for it. Raises StoreError."""
        waiting = self._octets.enter(content.size)
        if waiting is not None:
            await waiting
        try:
            yield b"".join(await whole(self._store, content, self._clock))
        finally:
            self._octets.leave(content.size)

    async def _deliver(self, message: Message, delivery: Delivery, mail: Cargo | bytes,
                       outcomes: dict[int, Outcome]) -> None:
        """One recipient of a mail that is converted already, or will be elsewhere."""
        try:
            written = await self._written(message, delivery, mail)
            outcomes[delivery.id] = await self._push(message, delivery, written) if isinstance(written, bytes) \
                else written
        except CannotConvert as error:
            outcomes[delivery.id] = PermanentFailure(error.reply)
        except Exception as error:
            outcomes[delivery.id] = self._failed(message, error)

    async def _written(self, message: Message, delivery: Delivery, mail: Cargo | bytes) -> bytes | Outcome:
        letter = self._letter(message, delivery)
        if not isinstance(letter, Letter):
            return letter
        if isinstance(mail, Cargo):
            return text(mail, letter, self._tribes())
        written = await self._client.aside(Write(mail, letter, self._tribes()))
        if isinstance(written, Reply):
            raise CannotConvert(written)
        assert isinstance(written, bytes)
        return written

    # --- one recipient ------------------------------------------------------------------------------------------------

    def _letter(self, message: Message, delivery: Delivery) -> Letter | Outcome:
        recipient, sender = address_of(delivery.recipient), address_of(message.sender)
        if recipient is None or sender is None or recipient.is_null:
            return _NO_ADDRESS
        dest = self._dest(recipient)
        if dest is None:
            return _UNKNOWN_TRIBE
        member = self._senders.member(origin_of(message).user, sender)
        turn, _ = self._turn(delivery)
        key = keys.msg_key(self._secret, message.queue_id, delivery.recipient, turn)
        return Letter(self._client.source(member), dest, key)

    def _dest(self, recipient: Address) -> Dest | None:
        """A member here or of a tribe; an address of another domain, which a rule led here, is one of our own OCE."""
        if not recipient.domain or not is_oce(recipient.domain):
            return Dest(member=recipient.text)
        key = self._tribes().dest(recipient.domain)
        return None if key is None else Dest(oce=key, member=recipient.local)

    async def _push(self, message: Message, delivery: Delivery, written: bytes) -> Outcome:
        answer = await self._client.push(written)
        turn, resend = self._turn(delivery)
        if codes.is_strange(answer.num, resend):
            return await self._strange(message, delivery, turn, str(answer))
        outcome = codes.outcome(answer.num, answer.id, answer.words, NAME, resend)
        if isinstance(outcome, Delivered) and turn:
            return Delivered(outcome.detail, outcome.server, changes=(Remember(_turn_key(delivery), None),))
        return outcome

    def _failed(self, message: Message, error: Exception) -> Outcome:
        match error:
            case NotTrusted() | Stopped():
                return RouteFailure(str(error))
            case ExchangeError():
                unreachable = isinstance(error, Unreachable)
                return TransientFailure(_UNREACHED if unreachable else _NO_ANSWER, str(error), unreachable)
            case StoreError():
                return judge(Trouble.STORE, str(error), Way.SMART_HOST)
            case CancelledError():
                return _STOPPED
        self._log.failure("a fault with {id} on its way to the OCE", id=message.queue_id)
        return judge(Trouble.OWN_FAULT, "", Way.SMART_HOST)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _turn(self, delivery: Delivery) -> tuple[int, bool]:
        """Which key of a delivery is the one to use, and whether it may have been sent before."""
        said = self._store.recall(_turn_key(delivery)) if delivery.fence > 1 or delivery.attempts else None
        if said is None:
            return 0, delivery.attempts > 0 or delivery.fence > 1
        turn, attempts, fence = map(int, said.split(":"))
        since = delivery.attempts - attempts, delivery.fence - fence
        return turn, since not in _NEXT_ATTEMPT

    async def _strange(self, message: Message, delivery: Delivery, turn: int, answer: str) -> Outcome:
        """The OCE says it has what was never sent: nobody can know our keys, so something is wrong there."""
        self._log.error("the OCE refuses {id} for {recipient} as known, and it was never sent: {answer}",
                        id=message.queue_id, recipient=delivery.recipient, answer=answer)
        await self._store.commit(Remember(_turn_key(delivery), f"{turn + 1}:{delivery.attempts}:{delivery.fence}"))
        return TransientFailure(_STRANGE, answer, server=NAME)


def _turn_key(delivery: Delivery) -> str:
    return f"oce:turn:{delivery.id}"
