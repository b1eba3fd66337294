"""The router: where mail for a recipient goes, answered at RCPT time (DESIGN 7).

In this order: the rules of the operator, then the applications, then users, aliases and postmaster of the local
domains, then the default relay, else a refusal.
What an application's patterns match but the application refuses never leaves the bridge. Another application may still
take it, and a user or alias of that very name keeps his mail (a catch-all does not get it); else the application's
reply is the answer. So a broad pattern makes nobody unreachable, and mail of a prohibited sender does not go round by a
relay.
Invariant 5 is kept here: a target other than a maildrop is answered only to trusted origins, or by a rule that names
literal domains for anyone; an application says itself who is entitled to it; a target that is not known is never
answered. Postmaster is always deliverable (RFC 5321 4.5.1): a rule can lead its mail elsewhere, but refuse it only to
the clients it lists; no application claims it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from attrs import evolve
from zope.interface import implementer

from mailbridge.address import Address
from mailbridge.application.claim import Claim, Refused
from mailbridge.envelope import Origin
from mailbridge.interfaces import IRouter
from mailbridge.reply import BAD_ADDRESS, NO_RELAYING, NO_ROUTE, NO_SUCH_USER, NOT_NOW, Reply
from mailbridge.routing.applications import Applications, verdict
from mailbridge.routing.clients import Hosts
from mailbridge.routing.directory import CATCH_ALL, Directory, Match
from mailbridge.routing.explain import Explanation, Step, show
from mailbridge.routing.names import fold_domain, fold_name
from mailbridge.routing.route import MAILDROP, Lanes, Resolution, Route, WayOut
from mailbridge.routing.rules import Rule

_REMEMBERED = 4096
_POSTMASTER = "postmaster"


@implementer(IRouter)
class Table:
    """Rules, a directory, the names of the targets that exist besides maildrops, the relays among them, and the claims
    of the applications in their order.

    Answers are remembered until the directory, the rules or the addresses of hosts change; at most 4,096 of them.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        directory: Directory,
        targets: Collection[str] = (),
        ways: Iterable[WayOut] = (),
        claims: Iterable[Claim] = (),
    ) -> None:
        self._directory = directory
        self._answers: dict[object, Resolution] = {}
        self._applications = Applications()
        self.reconfigure(rules, targets, ways, claims)

    def reconfigure(
        self,
        rules: Iterable[Rule],
        targets: Collection[str] = (),
        ways: Iterable[WayOut] = (),
        claims: Iterable[Claim] = (),
    ) -> None:
        """Take the `[[route]]`, `[relay]` and `[application]` of a new configuration.

        Raises ValueError for a rule whose target does not exist, and for two default relays.
        """
        taken, relays = tuple(rules), {way.target: way for way in ways}
        applications = Applications(claims, self._applications.hosts)
        known = frozenset(targets) | relays.keys() | applications.targets
        for rule in taken:
            if rule.refusal is None and rule.to != MAILDROP and rule.to not in known:
                raise ValueError(f"{rule.place}.to: there is no target {rule.to}")
        defaults = [way for way in relays.values() if way.default]
        if len(defaults) > 1:
            raise ValueError(f"only one relay is the default, not both {defaults[0].target} and {defaults[1].target}")
        self._rules = taken
        self._ways = relays
        self._applications = applications
        self._default = defaults[0] if defaults else None
        by_sender = self._default is not None and self._default.lanes is Lanes.SENDER
        self._remember_key: Callable[[Address, Address, Origin], object] = (
            _full_key if taken or by_sender or applications else _short_key
        )
        self._generation = self._directory.generation
        self._answers.clear()

    def follow_hosts(self, hosts: Hosts) -> None:
        """Take what the host names on client lists mean by now."""
        self._applications.hosts = hosts
        self._answers.clear()

    def route(self, recipient: Address, sender: Address, origin: Origin) -> Resolution:
        """The routes of a recipient, or the Reply that refuses it."""
        if self._generation != self._directory.generation or len(self._answers) >= _REMEMBERED:
            self._generation = self._directory.generation
            self._answers.clear()
        key = self._remember_key(recipient, sender, origin)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self.explain(recipient, sender, origin).answer
        return answer

    def explain(self, recipient: Address, sender: Address, origin: Origin) -> Explanation:
        """The answer with every step that led to it."""
        return Explanation(recipient, sender, tuple(self.decide(recipient, sender, origin)))

    def check(self) -> list[str]:
        """Findings for the operator: rules that lead to a user who does not exist."""
        return [
            f'{rule.place}.to: there is no user "{rule.owner}"; mail for this rule has to wait'
            for rule in self._rules if rule.owner is not None and self._directory.user(rule.owner) is None
        ]

    def decide(self, recipient: Address, sender: Address, origin: Origin) -> Iterator[Step]:
        """The steps of the decision; exactly the last one has an answer."""
        written, recipient = recipient, self._completed(recipient, origin)
        if recipient != written:
            yield Step("address", written.text, f"taken as {recipient.text}")
        local = not recipient.domain or self._directory.is_local(recipient.domain)
        postmaster = local and fold_name(recipient.local) == _POSTMASTER
        user = None if origin.user is None else self._directory.login(origin.user)
        login = fold_name(user.name) if user is not None else None
        compared = f"{sender.text or '<>'} to {recipient.text}"
        for rule in self._rules:
            mismatch = rule.mismatch(recipient, sender, origin, login)
            if mismatch is not None:
                yield Step(rule.place, compared, f"does not apply: {mismatch}")
                continue
            step = self._by_rule(rule, compared, recipient, sender, origin)
            if postmaster and isinstance(step.answer, Reply) and rule.clients is None:
                yield Step(rule.place, compared, "passed over: postmaster is refused to listed clients only")
                continue
            yield step
            return
        refusals = []
        for step, decision in () if postmaster else self._applications.ask(recipient, sender, origin, compared):
            yield step
            if step.answer is not None:
                return
            if isinstance(decision, Refused):
                refusals.append(decision)
        refused = verdict(refusals)
        if recipient.double_at and refused is None:
            takers = "rule or application" if self._applications else "rule"
            yield Step("end", recipient.text, f"two @, and no {takers} takes it", BAD_ADDRESS)
        elif not recipient.domain and not (postmaster or origin.trusted):
            yield Step("end", recipient.text, "a name without a domain, from a stranger", BAD_ADDRESS)
        elif refused is not None:
            yield self._refused(recipient, refused.reply)
        elif local:
            yield self._locally(recipient, postmaster)
        else:
            domains = ", ".join(self._directory.domains) or "none"
            yield Step("local", recipient.domain, f"not a local domain (these are: {domains})")
            yield self._by_default(recipient, sender, origin)

    def _refused(self, recipient: Address, refusal: Reply) -> Step:
        """The last step for what an application refused: the maildrop of somebody of that name, or nothing."""
        match = self._directory.find(recipient)
        if match is not None and match.step != CATCH_ALL:
            return _maildrops(recipient, match)
        why = f"what an application refuses goes nowhere else: {refusal}"
        return Step("end", recipient.text, why, refusal)

    def _by_default(self, recipient: Address, sender: Address, origin: Origin) -> Step:
        """The last step: the default relay, for those who may send anywhere."""
        if self._default is None:
            answer = NO_ROUTE if origin.trusted else NO_RELAYING
            return Step("end", recipient.text, f"nothing takes it: {answer}", answer)
        name = self._default.target
        if not origin.trusted:
            why = f"the default relay, {name}, needs a login or a listed client: {NO_RELAYING}"
            return Step("default", recipient.text, why, NO_RELAYING)
        routes = (self._way_out(name, recipient, sender),)
        return Step("default", recipient.text, f"goes to the default relay, {show(routes)}", routes)

    def _way_out(self, target: str, recipient: Address, sender: Address) -> Route:
        """The route of a target that is no maildrop: its lane is named by what its relay goes by.

        A bounce has no sender's domain; it goes by the recipient's.
        """
        way = self._ways.get(target)
        if way is None or way.lanes is Lanes.ONE:
            return Route(target)
        domain = recipient.domain if way.lanes is Lanes.RECIPIENT else sender.domain or recipient.domain
        return Route(target, destination=fold_domain(domain))

    def _completed(self, recipient: Address, origin: Origin) -> Address:
        """The recipient with the first local domain, where it has none or an address literal and may have ours.

        Strangers may so name postmaster only (RFC 5321 4.1.1.3); a literal stands for us for postmaster only.
        """
        domains = self._directory.domains
        if not domains or recipient.is_null or recipient.double_at:
            return recipient
        is_postmaster = fold_name(recipient.local) == _POSTMASTER
        if not recipient.domain and (is_postmaster or origin.trusted):
            return evolve(recipient, domain=domains[0])
        if is_postmaster and recipient.domain.startswith("["):
            return evolve(recipient, domain=domains[0])
        return recipient

    def _by_rule(self, rule: Rule, compared: str, recipient: Address, sender: Address, origin: Origin) -> Step:
        """The step of a rule that applies, with its answer."""
        place = rule.place
        if rule.refusal is not None:
            return Step(place, compared, f"refused: {rule.refusal}", rule.refusal)
        if rule.to in self._applications:
            anyone = rule.opens_to_anyone(recipient)
            return self._applications.by_rule(rule.to, place, recipient, sender, origin, compared, anyone)
        if rule.to != MAILDROP:
            if not (origin.trusted or rule.opens_to_anyone(recipient)):
                why = f"{rule.to} needs a login or a listed client: {NO_RELAYING}"
                return Step(place, compared, why, NO_RELAYING)
            out = (self._way_out(rule.to, recipient, sender),)
            return Step(place, compared, f"goes to {show(out)}", out)
        if rule.owner is None:
            # The rule makes a foreign domain one of ours: there the name alone decides.
            if not self._directory.is_local(recipient.domain):
                recipient = evolve(recipient, domain="", double_at=False)
            step = self._locally(recipient, False)
            return evolve(step, name=place, compared=compared)
        owner = self._directory.user(rule.owner)
        if owner is None:
            # A fault of ours, not of the sender (invariant 7): the mail waits at the client.
            return Step(place, compared, f"there is no user {rule.owner}: {NOT_NOW}", NOT_NOW)
        routes = (Route(MAILDROP, owner.id),)
        return Step(place, compared, f"goes to {show(routes)} ({owner.name})", routes)

    def _locally(self, recipient: Address, postmaster: bool) -> Step:
        match = self._directory.find(recipient)
        if match is not None:
            return _maildrops(recipient, match)
        answer = NOT_NOW if postmaster else NO_SUCH_USER
        why = "there are no users yet" if postmaster else "no user or alias of that name"
        return Step("local", recipient.text, f"{why}: {answer}", answer)


def _maildrops(recipient: Address, match: Match) -> Step:
    routes = tuple(Route(MAILDROP, user.id) for user in match.users)
    names = ", ".join(user.name for user in match.users)
    return Step("local", recipient.text, f"{match.step}: maildrop of {names}", routes)


def _short_key(recipient: Address, sender: Address, origin: Origin) -> object:
    """All that an answer depends on when there are no rules and no applications."""
    return recipient.text, origin.trusted


def _full_key(recipient: Address, sender: Address, origin: Origin) -> object:
    """All that an answer depends on when rules or applications look at the session too."""
    return recipient.text, sender.text, origin.trusted, origin.user, origin.peer, origin.listener
