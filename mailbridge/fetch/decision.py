"""What a fetched message becomes in the bridge, decided from its header: copies to store, a dud, or a wait.

Nobody can be told "no": what the router refuses goes to the caretaker, what the caretaker cannot have becomes a dud.
Mail that leaves by the queue gets a sender of ours, so that what fails there comes back to the caretaker, or to
postmaster, and no outsider ever gets a bounce.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from mailbridge.address import NULL, Address
from mailbridge.clock import rfc5322_date
from mailbridge.envelope import Origin
from mailbridge.fetch import notice, recipient
from mailbridge.fetch.account import Account
from mailbridge.fetch.notice import Failed, Frame, Signature
from mailbridge.fetch.recipient import Choice
from mailbridge.fetch.wayin import End, Fate
from mailbridge.message import header
from mailbridge.reply import Reply
from mailbridge.routing.intake import Intake
from mailbridge.routing.route import MAILDROP, Route

HEADER_TOO_LARGE = "header-too-large"
NO_MESSAGE = "the message is empty or has no header"
SHOWN = 10

Routes = dict[Address, tuple[Route, ...]]


@frozen
class Copy:
    """One message to store: its sender and recipients, and what stands around the body. `trusted` as in Origin."""

    sender: Address
    routes: Routes
    frame: Frame
    trusted: bool


@define
class Decision:
    """`fate` is what it will have been. Without copies it is a dud, or waits (LATER)."""

    fate: Fate
    copies: list[Copy] = field(factory=list)


@frozen
class _Routed:
    routes: Routes
    refused: tuple[Failed, ...]
    later: tuple[Failed, ...]


class Decider:
    """Decides for one account. `intake` lends router, directory, names and limits."""

    log = Logger()

    def __init__(self, intake: Intake, account: Account) -> None:
        self._intake = intake
        self._account = account

    def origin(self, trusted: bool) -> Origin:
        """Where the account's mail comes from. It has no peer: no list of clients holds for it."""
        upstream = self._account.upstream
        return Origin(f"popfetch:{self._account.name}", "", upstream.host, None, None, self._intake.clock.seconds(),
                      "POP3" if upstream.tls == "off" else "POP3S", trusted)

    def decide(self, held: bytes, end: int, whole: bool, name: str, final: bool) -> Decision:
        """`held` is the beginning of the message; its header ends at `end`, -1 while no end has come.

        `whole`: that is all of it. `name` is the message's, for the log; `final`: who cannot be served for now is
        refused.
        """
        how = self._account.addressing
        head = held if end < 0 else held[:end]
        frame = Frame(held if end < 0 else head + b"\r\n")
        if end < 0 and not whole:
            choice = self._nobody(HEADER_TOO_LARGE)
        elif not held or (how.fixed is None and not header.begins_as_header(held)):
            choice = Choice((), "", NO_MESSAGE)
        else:
            choice = recipient.choose(head, how)
        self._tell(choice, name)
        if not choice.recipients:
            return Decision(Fate(End.DUD, choice.reason))
        decision = Decision(Fate(End.LATER))
        if choice.source == "caretaker":
            told = Frame(notice.reason_line(choice.reason) + frame.before)
            return self._to_caretaker(decision, told, choice.reason, (), final)
        return self._to_recipients(decision, choice, head, b"" if end < 0 else held[end + 2:], frame, final)

    def _nobody(self, reason: str) -> Choice:
        caretaker = self._account.addressing.caretaker
        return Choice((caretaker,), "caretaker", reason) if caretaker is not None else Choice((), "", reason)

    def _tell(self, choice: Choice, name: str) -> None:
        account = self._account.name
        for note in choice.notes:
            self.log.info("{account}: {name}: {note}", account=account, name=name, note=note)
        if choice.foreign:
            self.log.info("{account}: {name}: not sent to {foreign}, who are elsewhere", account=account, name=name,
                          foreign=", ".join(choice.foreign[:SHOWN]))

    def _to_recipients(
        self, decision: Decision, choice: Choice, head: bytes, body: bytes, frame: Frame, final: bool
    ) -> Decision:
        sender, trusted = recipient.return_path(head), self._account.may_relay
        routed = self._route(choice.recipients, sender, trusted, final)
        if routed.later:
            return _later(routed.later)
        got = [address.text for address in routed.routes]
        if got:
            decision.fate = Fate(End.DELIVERED, ", ".join(got[:SHOWN]))
            decision.copies.append(Copy(self._sender(sender, routed.routes), routed.routes, frame, trusted))
        if not routed.refused:
            return decision
        told = notice.copy(head, body[:notice.PEEK], routed.refused, got, self._signature())
        return self._to_caretaker(decision, told, _words(routed.refused), got, final)

    def _to_caretaker(
        self, decision: Decision, frame: Frame, reason: str, got: Sequence[str], final: bool
    ) -> Decision:
        """Add the caretaker's copy; `got` are those who get the message itself."""
        caretaker = self._account.addressing.caretaker
        if caretaker is None:
            return _dud(decision, f"{reason}; there is no caretaker", got)
        # The operator has named the caretaker, so any way to him will do.
        routed = self._route((caretaker,), NULL, True, final)
        if routed.later:
            return _later(routed.later)
        if routed.refused:
            return _dud(decision, f"{reason}; the caretaker: {routed.refused[0].reply}", got)
        if got:
            decision.fate = Fate(End.DELIVERED, f"{', '.join(got[:SHOWN])}; caretaker: {reason}")
        else:
            decision.fate = Fate(End.CARETAKER, reason)
        decision.copies.append(Copy(self._sender(NULL, routed.routes), routed.routes, frame, True))
        return decision

    # --- routes and names ---------------------------------------------------------------------------------------------

    def _route(self, addresses: Sequence[Address], sender: Address, trusted: bool, final: bool) -> _Routed:
        routes: Routes = {}
        refused, later = [], []
        for address in map(self._completed, addresses):
            answer = self._intake.router.route(address, sender, self.origin(trusted))
            if not isinstance(answer, Reply):
                routes[address] = answer
            elif answer.is_permanent or final:
                refused.append(Failed(address.text, str(answer)))
            else:
                later.append(Failed(address.text, str(answer)))
        return _Routed(routes, tuple(refused), tuple(later))

    def _completed(self, address: Address) -> Address:
        """A bare name is of the first local domain."""
        return address if address.domain else evolve(address, domain=self._domain())

    def _domain(self) -> str:
        domains = self._intake.directory.domains
        return domains[0] if domains else self._intake.hostname

    def _sender(self, sender: Address, routes: Routes) -> Address:
        """The sender to store: one of ours when something leaves by the queue, which might come back."""
        if all(route.target == MAILDROP for found in routes.values() for route in found):
            return sender
        caretaker = self._account.addressing.caretaker
        own = self._completed(caretaker) if caretaker is not None else None
        return own if own is not None and own not in routes else Address("postmaster", self._domain())

    def _signature(self) -> Signature:
        intake = self._intake
        return Signature(intake.hostname, rfc5322_date(intake.clock.seconds()), intake.queue_id())


def _later(later: Sequence[Failed]) -> Decision:
    """Nobody gets it yet, so that nobody gets it twice."""
    return Decision(Fate(End.LATER, _words(later)))


def _dud(decision: Decision, reason: str, got: Sequence[str]) -> Decision:
    """A dud, which does not count towards pf_max_duds when somebody has the message."""
    decision.fate = Fate(End.DUD, reason, row=not got)
    return decision


def _words(failed: Sequence[Failed]) -> str:
    return "; ".join(f"{each.address}: {each.reply}" for each in failed[:SHOWN])
