"""The relay: mail out by SMTP or LMTP, to smart hosts or to the mail servers that DNS names.

Promises: one transaction for all recipients of a message that go to one destination (at most `MOST_RECIPIENTS` each);
an outcome for each recipient, by the table of verdicts; another server is tried only while no server can have the
message, never after the dot. A kept connection that the server gave up meanwhile is no fault of the message. Content is
read in chunks while it is sent. Never decides when to try again: that is the queue's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.names.error import DNSQueryTimeoutError, DomainError, ResolverError
from zope.interface import implementer

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.connection import Interrupted
from mailbridge.edge.sending import Conversation, Manner, Server, open_session
from mailbridge.interfaces import IStore, ITarget
from mailbridge.message.recode import CannotRecode
from mailbridge.outcome import Outcome
from mailbridge.queue.verdict import Trouble, Way, judge
from mailbridge.routing.route import RELAY
from mailbridge.smtp.client import Refused
from mailbridge.smtp.steps import Phase
from mailbridge.store.changes import Delivery, Lane, Message
from mailbridge.target import verdicts
from mailbridge.target.batch import Batch
from mailbridge.target.mx import MailExchangers, NoHosts
from mailbridge.target.pool import Pool, PoolLimits
from mailbridge.target.stored import Recoded, Stored

MOST_RECIPIENTS = 100
"""RFC 5321 4.5.3.1.8: every server takes as many."""

Opener = Callable[[Any, Server, Manner], "Deferred[Conversation]"]


@frozen
class RelayPlan:
    """How one relay works. `servers` are tried in order; without any, DNS names them for the destination of the lane,
    and `stranger` says how to talk to those. `timeout` is for one attempt, in seconds.
    """

    name: str
    manner: Manner
    servers: tuple[Server, ...] = ()
    stranger: Server = Server("", trust=Trust(verify=False))
    limits: PoolLimits = field(factory=PoolLimits)
    timeout: float = 1800.0


@implementer(ITarget)
class Relay:
    """One `[relay.NAME]`. `exchangers` names the servers of a plan without any."""

    _log = Logger()

    def __init__(
        self,
        plan: RelayPlan,
        reactor: Any,
        store: IStore,
        exchangers: MailExchangers,
        opener: Opener = open_session,
    ) -> None:
        self.name = RELAY + plan.name
        self.plan = plan
        self.way = Way.SMART_HOST if plan.servers else Way.MX
        self._reactor = reactor
        self._store = store
        self._exchangers = exchangers
        self._opener = opener
        self._pool = Pool(reactor, plan.limits, self._sweep)
        self._attempts: dict[Deferred[dict[int, Outcome]], float] = {}

    def concurrency(self, lane: Lane) -> int:
        """See ITarget."""
        return self.plan.limits.connections

    def attempt(
        self, message: Message, deliveries: Sequence[Delivery], lane: Lane
    ) -> Deferred[dict[int, Outcome]]:
        """See ITarget. Cancelling closes the connection; what is not settled by then is a transient failure."""
        attempt = Deferred.fromCoroutine(self._attempt(message, deliveries, lane.destination))
        if not attempt.called:
            self._attempts[attempt] = self._reactor.seconds() + self.plan.timeout
            attempt.addBoth(self._ended, attempt)
        return attempt

    def retire(self) -> Deferred[Any]:
        """Another takes its place: attempts go on to their end, within their time, as one that is cut after the dot
        would be delivered twice. Fires when the connections that are kept have gone; those in use go after use.
        """
        return self._pool.close()

    def close(self) -> Deferred[Any]:
        """End all attempts and let all connections go; fires when they have gone."""
        for attempt in list(self._attempts):
            attempt.cancel()
        return self._pool.close()

    def _ended(self, result: Any, attempt: Deferred[dict[int, Outcome]]) -> Any:
        self._attempts.pop(attempt, None)
        return result

    def _sweep(self) -> None:
        now = self._reactor.seconds()
        for attempt, deadline in list(self._attempts.items()):
            if deadline <= now:
                attempt.cancel()

    async def _attempt(
        self, message: Message, deliveries: Sequence[Delivery], destination: str
    ) -> dict[int, Outcome]:
        pin = self._store.pin(message.content) if message.content.octets is None else None
        deadline = self._reactor.seconds() + self.plan.timeout
        entered = False
        outcomes: dict[int, Outcome] = {}
        rest: Outcome = judge(Trouble.OWN_FAULT, "", self.way)
        try:
            waiting = self._pool.enter(destination)
            if waiting is not None:
                await waiting
            entered = True
            for start in range(0, len(deliveries), MOST_RECIPIENTS):
                batch = Batch(self.way, message, deliveries[start:start + MOST_RECIPIENTS], self._store, outcomes)
                await self._batch(batch, destination)
        except CancelledError:
            late = self._reactor.seconds() >= deadline
            rest = judge(Trouble.TIME if late else Trouble.STOPPED, "", self.way)
        except Exception as error:
            self._log.failure("{name}: a fault with {id}", name=self.name, id=message.queue_id)
            rest = verdicts.outcome(error, self.way)
        finally:
            if entered:
                self._pool.leave(destination)
            if pin is not None:
                pin.release()  # type: ignore[attr-defined]
        for delivery in deliveries:
            outcomes.setdefault(delivery.id, rest)
        return outcomes

    async def _batch(self, batch: Batch, destination: str) -> None:
        """One transaction, with one server after the other."""
        kept = self._pool.take(destination)
        tried: Server | None = None
        if kept is not None and not await self._is_stale(kept, batch, destination):
            if batch.done:
                return
            tried = kept.server
        try:
            servers = await self._servers(destination)
        except NoHosts as error:
            batch.fail(judge(error.trouble, str(error), self.way))
            return
        except (DomainError, DNSQueryTimeoutError, ResolverError) as error:
            batch.fail(verdicts.outcome(error, self.way, destination))
            return
        if tried in servers:
            servers = servers[servers.index(tried) + 1:]
        for server in servers:
            await self._try(server, batch, destination)
            if batch.done:
                return
        batch.give_up()

    async def _servers(self, destination: str) -> Sequence[Server]:
        if self.plan.servers:
            return self.plan.servers
        return [evolve(self.plan.stranger, host=host) for host in await self._exchangers.hosts(destination)]

    async def _is_stale(self, session: Conversation, batch: Batch, destination: str) -> bool:
        """Use a kept session; whether it turned out that the server had given it up before this message."""
        try:
            await self._transact(session, batch, destination)
        except CancelledError:
            raise
        except Exception as error:
            if isinstance(error, Interrupted | Refused) and error.phase in (Phase.MAIL, Phase.RESET):
                closing = isinstance(error, Interrupted) or error.answer.code == 421
                if closing:
                    return True
            batch.note(error, str(session.server))
        return False

    async def _try(self, server: Server, batch: Batch, destination: str) -> None:
        """Use a new session."""
        try:
            session = await self._opener(self._reactor, server, self.plan.manner)
            await self._transact(session, batch, destination)
        except CancelledError:
            raise
        except Exception as error:
            batch.note(error, str(server))

    async def _transact(self, session: Conversation, batch: Batch, destination: str) -> None:
        """Send to all who have no outcome yet. Raises what `Conversation.send` raises."""
        sending = False
        try:
            prepared = batch.prepare(session.capabilities, str(session.server))
            if prepared is None:
                return
            source: Stored | Recoded = batch.source
            if prepared.eight_bit and "8BITMIME" not in session.capabilities:
                try:
                    source = await batch.recoded(self._reactor)
                except CannotRecode as error:
                    batch.fail(judge(Trouble.EIGHT_BIT, str(error), self.way, str(session.server)))
                    return
                prepared = evolve(
                    prepared, size=source.size, eight_bit=False, ends_in_newline=source.ends_in_newline,
                    utf8_header=False,
                )
            sending = True
            sent = await session.send(prepared, source)
        except CancelledError:
            if sending and session.after_content:
                batch.fail(judge(Trouble.AFTER_CONTENT, "", self.way, str(session.server)))
            raise
        except Exception:
            batch.maybe_sent = sending and session.after_content
            raise
        finally:
            self._pool.keep(destination, session)
        batch.take(sent, str(session.server), "DSN" in session.capabilities)
