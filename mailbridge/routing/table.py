"""The router: where mail for a recipient goes, answered at RCPT time (DESIGN 7).

In this order: the rules of the operator, then users, aliases and postmaster of the local domains, then the default
relay, else a refusal.
Invariant 5 is kept here: a target other than a maildrop is answered only to trusted origins, or by a rule that names
literal domains for anyone; a target that is not known is never answered. Postmaster is always deliverable (RFC 5321
4.5.1): a rule can lead its mail elsewhere, but refuse it only to the clients it lists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from attrs import evolve
from zope.interface import implementer

from mailbridge.address import Address
from mailbridge.envelope import Origin
from mailbridge.interfaces import IRouter
from mailbridge.reply import BAD_ADDRESS, NO_RELAYING, NO_ROUTE, NO_SUCH_USER, NOT_NOW, Reply
from mailbridge.routing.directory import Directory
from mailbridge.routing.explain import Explanation, Step, show
from mailbridge.routing.names import fold_domain, fold_name
from mailbridge.routing.route import MAILDROP, Lanes, Resolution, Route, WayOut
from mailbridge.routing.rules import Rule

_REMEMBERED = 4096
_POSTMASTER = "postmaster"


@implementer(IRouter)
class Table:
    """Rules, a directory, the names of the targets that exist besides maildrops, and the relays among them.

    Answers are remembered until the directory or the rules change; at most 4,096 of them.
    """

    def __init__(
        self, rules: Iterable[Rule], directory: Directory, targets: Collection[str] = (), ways: Iterable[WayOut] = ()
    ) -> None:
        self._directory = directory
        self._answers: dict[object, Resolution] = {}
        self.reconfigure(rules, targets, ways)

    def reconfigure(self, rules: Iterable[Rule], targets: Collection[str] = (), ways: Iterable[WayOut] = ()) -> None:
        """Take the `[[route]]` and `[relay]` of a new configuration.

        Raises ValueError for a rule whose target does not exist, and for two default relays.
        """
        taken, relays = tuple(rules), {way.target: way for way in ways}
        known = frozenset(targets) | relays.keys()
        for rule in taken:
            if rule.refusal is None and rule.to != MAILDROP and rule.to not in known:
                raise ValueError(f"{rule.place}.to: there is no target {rule.to}")
        defaults = [way for way in relays.values() if way.default]
        if len(defaults) > 1:
            raise ValueError(f"only one relay is the default, not both {defaults[0].target} and {defaults[1].target}")
        self._rules = taken
        self._ways = relays
        self._default = defaults[0] if defaults else None
        by_sender = self._default is not None and self._default.lanes is Lanes.SENDER
        self._remember_key: Callable[[Address, Address, Origin], object] = (
            _full_key if taken or by_sender else _short_key
        )
        self._generation = self._directory.generation
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
        for rule in self._rules:
            compared = f"{sender.text or '<>'} to {recipient.text}"
            mismatch = rule.mismatch(recipient, sender, origin, login)
            if mismatch is not None:
                yield Step(rule.place, compared, f"does not apply: {mismatch}")
                continue
            answer, why = self._by_rule(rule, recipient, sender, origin)
            if postmaster and isinstance(answer, Reply) and rule.clients is None:
                yield Step(rule.place, compared, "passed over: postmaster is refused to listed clients only")
                continue
            yield Step(rule.place, compared, why, answer)
            return
        if recipient.double_at:
            yield Step("end", recipient.text, "two @, and no rule takes it", BAD_ADDRESS)
        elif not recipient.domain and not (postmaster or origin.trusted):
            yield Step("end", recipient.text, "a name without a domain, from a stranger", BAD_ADDRESS)
        elif local:
            yield self._locally(recipient, postmaster)
        else:
            domains = ", ".join(self._directory.domains) or "none"
            yield Step("local", recipient.domain, f"not a local domain (these are: {domains})")
            yield self._by_default(recipient, sender, origin)

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

    def _by_rule(
        self, rule: Rule, recipient: Address, sender: Address, origin: Origin
    ) -> tuple[Resolution, str]:
        if rule.refusal is not None:
            return rule.refusal, f"refused: {rule.refusal}"
        if rule.to != MAILDROP:
            if not rule.lets_out(recipient, origin):
                return NO_RELAYING, f"{rule.to} needs a login or a listed client: {NO_RELAYING}"
            out = (self._way_out(rule.to, recipient, sender),)
            return out, f"goes to {show(out)}"
        if rule.owner is None:
            # The rule makes a foreign domain one of ours: there the name alone decides.
            if not self._directory.is_local(recipient.domain):
                recipient = evolve(recipient, domain="", double_at=False)
            step = self._locally(recipient, False)
            return step.answer or NO_SUCH_USER, step.result
        owner = self._directory.user(rule.owner)
        if owner is None:
            # A fault of ours, not of the sender (invariant 7): the mail waits at the client.
            return NOT_NOW, f"there is no user {rule.owner}: {NOT_NOW}"
        routes = (Route(MAILDROP, owner.id),)
        return routes, f"goes to {show(routes)} ({owner.name})"

    def _locally(self, recipient: Address, postmaster: bool) -> Step:
        match = self._directory.find(recipient)
        if match is not None:
            routes = tuple(Route(MAILDROP, user.id) for user in match.users)
            names = ", ".join(user.name for user in match.users)
            return Step("local", recipient.text, f"{match.step}: maildrop of {names}", routes)
        answer = NOT_NOW if postmaster else NO_SUCH_USER
        why = "there are no users yet" if postmaster else "no user or alias of that name"
        return Step("local", recipient.text, f"{why}: {answer}", answer)


def _short_key(recipient: Address, sender: Address, origin: Origin) -> object:
    """All that an answer depends on when there are no rules."""
    return recipient.text, origin.trusted


def _full_key(recipient: Address, sender: Address, origin: Origin) -> object:
    """All that an answer depends on when rules look at the session too."""
    return recipient.text, sender.text, origin.trusted, origin.user, origin.peer, origin.listener
