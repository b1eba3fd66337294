"""One message to at most a hundred recipients of one destination: who has an outcome, and what the others wait with.

Knows no connection: the relay carries it from server to server. An outcome that was given is never given anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import idna
from attrs import evolve

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.interfaces import IStore
from mailbridge.outcome import Delivered, Outcome, RouteFailure, TransientFailure
from mailbridge.queue.verdict import Trouble, Way, judge, judge_answer
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.client import Refused
from mailbridge.smtp.outgoing import Outgoing, Recipient, Sent
from mailbridge.smtp.steps import Phase
from mailbridge.store.changes import Delivery, Message
from mailbridge.target import verdicts
from mailbridge.target.stored import Recoded, Stored, recode


class Batch:
    """`outcomes` are filled in, by the id of each delivery. `maybe_sent`: a server may have the message by now."""

    def __init__(
        self, way: Way, message: Message, deliveries: Sequence[Delivery], store: IStore, outcomes: dict[int, Outcome]
    ) -> None:
        self.source = Stored(store, message.content)
        self.maybe_sent = False
        self._way = way
        self._message = message
        self._outcomes = outcomes
        self._recoded: Recoded | None = None
        self._pending: dict[Address, list[Delivery]] = {}
        self._reasons: dict[Address, Outcome] = {}
        self._written: dict[Address, Address] = {}
        for delivery in deliveries:
            self._pending.setdefault(parse_mailbox(delivery.recipient.encode("utf-8")), []).append(delivery)

    @property
    def done(self) -> bool:
        """Whether every recipient has an outcome."""
        return not self._pending

    def prepare(self, capabilities: Capabilities, server: str) -> Outgoing | None:
        """The envelope for those without outcome, as this server can take it; None when nobody is left.

        Without SMTPUTF8 a domain is written in ASCII; a local part cannot be (RFC 6531 3.5).
        """
        message, content = self._message, self._message.content
        sender: Address | None = parse_mailbox(message.sender.encode("utf-8")) if message.sender else NULL
        recipients = []
        plain = "SMTPUTF8" not in capabilities
        if plain and sender is not None and not sender.is_ascii:
            sender = in_ascii(sender)
        self._written = {}
        for address, deliveries in list(self._pending.items()):
            written = address if not plain or address.is_ascii else in_ascii(address)
            if written is None or sender is None:
                self._settle(address, judge(Trouble.UTF8, "", self._way, server))
                continue
            self._written[written] = address
            wishes = deliveries[0].wishes
            recipients.append(Recipient(written, wishes.notify, wishes.original))
        if sender is None or not recipients:
            return None
        declared = message.declared
        return Outgoing(
            sender, tuple(recipients), content.size, content.eight_bit, content.ends_in_newline, declared.ret,
            declared.envid, declared.utf8,
        )

    async def recoded(self, reactor: Any) -> Recoded:
        """The content without 8-bit octets, worked out once. Raises CannotRecode, StoreError."""
        if self._recoded is None:
            self._recoded = await recode(reactor, self.source)
        return self._recoded

    # --- what came of it ----------------------------------------------------------------------------------------------

    def take(self, sent: Sent, server: str, took_wishes: bool) -> None:
        """What a server said of each. Who was refused for now may be taken by another server."""
        for written, answer in sent.refused.items():
            outcome = judge_answer(Phase.RCPT, answer, self._way, server)
            if isinstance(outcome, TransientFailure):
                self._reason(self._written[written], outcome)
            else:
                self._settle(self._written[written], outcome)
        for written, answer in sent.final.items():
            if answer.positive:
                said: Outcome = Delivered(str(answer), server, took_wishes=took_wishes)
            else:
                said = judge_answer(Phase.END, answer, self._way, server)
            self._settle(self._written[written], said)

    def note(self, error: Exception, server: str) -> None:
        """A server failed for all who have no outcome; it is theirs, unless another server may do better."""
        outcome = verdicts.outcome(error, self._way, server)
        refused_for_now = isinstance(error, Refused) and isinstance(outcome, TransientFailure)
        if self.maybe_sent or not (verdicts.try_next(error) or refused_for_now):
            self.fail(outcome)
            return
        for address in self._pending:
            self._reason(address, outcome)

    def fail(self, outcome: Outcome) -> None:
        """The outcome of all who have none."""
        for address in list(self._pending):
            self._settle(address, outcome)

    def give_up(self) -> None:
        """No server is left: each gets the reason that was found for it."""
        for address in list(self._pending):
            self._settle(address, self._reasons.get(address) or judge(Trouble.UNREACHABLE, "", self._way))

    def _settle(self, address: Address, outcome: Outcome) -> None:
        for delivery in self._pending.pop(address):
            self._outcomes[delivery.id] = outcome

    def _reason(self, address: Address, outcome: Outcome) -> None:
        known = self._reasons.get(address)
        if known is None or _weight(outcome) >= _weight(known):
            self._reasons[address] = outcome


def _weight(outcome: Outcome) -> int:
    """Of several servers' failures, which one counts: that of a server that spoke of this recipient before all."""
    if isinstance(outcome, TransientFailure):
        return 1 if outcome.unreachable else 3
    return 2 if isinstance(outcome, RouteFailure) else 0


def in_ascii(address: Address) -> Address | None:
    """The address with its domain in ASCII (RFC 5891); None when that does not help."""
    if not address.local.isascii():
        return None
    try:
        return evolve(address, domain=idna.encode(address.domain, uts46=True).decode("ascii"))
    except (UnicodeError, ValueError):
        return None
