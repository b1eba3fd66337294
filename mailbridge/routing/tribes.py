"""Who is reached through the OCE: `name@oce` in our own tribe, `name@friends.oce` in the tribe called friends here.

Members of our tribe are the users of this bridge when the OCE is our own (embedded); else only the OCE knows them. Like
every way out it is for trusted clients and logins only (invariant 5): fauSMTP asked for a known FROM or TO, and a FROM
is what anybody can write.
"""

from __future__ import annotations

from attrs import field, frozen

from mailbridge.address import Address
from mailbridge.envelope import Origin
from mailbridge.reply import NO_RELAYING, NO_SUCH_TRIBE, NO_SUCH_USER
from mailbridge.routing.directory import Directory
from mailbridge.routing.explain import Step
from mailbridge.routing.names import fold_domain
from mailbridge.routing.route import OCE, Route

_SUFFIX = ".oce"


@frozen
class OCEWay:
    """The OCE as the router knows it. `tribes` are remote ones by their folded names and keys here, with the lane of
    each; `own` are the folded names and the key of our tribe; `embedded` says that its members are our users.
    """

    tribes: dict[str, str] = field(factory=dict)
    own: frozenset[str] = frozenset()
    embedded: bool = False

    def takes(self, recipient: Address) -> bool:
        """Whether an address is one of the OCE's."""
        domain = fold_domain(recipient.domain)
        return not recipient.double_at and (domain == OCE or domain.endswith(_SUFFIX))

    def decide(self, recipient: Address, origin: Origin, directory: Directory) -> Step:
        """The last step for such an address."""
        name = "oce"
        if not origin.trusted:
            return Step(name, recipient.text, f"the OCE needs a login or a listed client: {NO_RELAYING}", NO_RELAYING)
        domain = fold_domain(recipient.domain)
        tribe = "" if domain == OCE else domain.removesuffix(_SUFFIX)
        if tribe and tribe not in self.own:
            lane = self.tribes.get(tribe)
            if lane is None:
                known = ", ".join(sorted(set(self.tribes.values()))) or "none"
                return Step(name, recipient.text, f"no tribe of that name (known: {known}): {NO_SUCH_TRIBE}",
                            NO_SUCH_TRIBE)
            return Step(name, recipient.text, f"to the tribe {lane} through the OCE", (Route(OCE, destination=lane),))
        if self.embedded and directory.login(recipient.local) is None:
            return Step(name, recipient.text, f"no member of that name: {NO_SUCH_USER}", NO_SUCH_USER)
        return Step(name, recipient.text, "to a member of our tribe through the OCE", (Route(OCE),))
