"""The applications among the router's steps: what each says of a recipient, in words and as an answer.

An application that refuses a recipient which its address patterns match bars every way out for it: `verdict` says with
which reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mailbridge.address import Address
from mailbridge.application.claim import Claim, Claimed, Decision, Passed, Refused
from mailbridge.envelope import Origin
from mailbridge.routing.clients import NO_HOSTS, Hosts
from mailbridge.routing.explain import Step
from mailbridge.routing.route import APPLICATION, Route


class Applications:
    """Claims in their order. `hosts` is what the host names on client lists mean by now."""

    def __init__(self, claims: Iterable[Claim] = (), hosts: Hosts = NO_HOSTS) -> None:
        self.hosts = hosts
        self._claims = {APPLICATION + claim.name: claim for claim in claims}

    @property
    def targets(self) -> frozenset[str]:
        """The names of the applications in routes, `application:sms`."""
        return frozenset(self._claims)

    def __bool__(self) -> bool:
        return bool(self._claims)

    def __contains__(self, target: str) -> bool:
        return target in self._claims

    def ask(
        self, recipient: Address, sender: Address, origin: Origin, compared: str
    ) -> Iterator[tuple[Step, Decision]]:
        """What one after the other says; a step with an answer ends it."""
        for target, claim in self._claims.items():
            decision = claim.decide(recipient, sender, origin, self.hosts)
            place = f"application.{claim.name}"
            if isinstance(decision, Claimed):
                told = f"claims it by {decision.by} ({show_groups(decision.groups)}): goes to {target}"
                yield Step(place, compared, told, (Route(target),), decision.groups), decision
                return
            does = "does not claim it" if isinstance(decision, Passed) else "refuses it"
            yield Step(place, compared, f"{does}: {decision.why}"), decision

    def by_rule(
        self, target: str, place: str, recipient: Address, sender: Address, origin: Origin, compared: str, anyone: bool
    ) -> Step:
        """The step of a rule at `place` that leads to an application; with `anyone` also for strangers."""
        decision = self._claims[target].by_rule(recipient, sender, origin, self.hosts, anyone)
        if isinstance(decision, Refused):
            return Step(place, compared, f"{target} refuses it: {decision.why}: {decision.reply}", decision.reply)
        told = f"goes to {target} by {decision.by} ({show_groups(decision.groups)})"
        return Step(place, compared, told, (Route(target),), decision.groups)


def verdict(refusals: Iterable[Refused]) -> Refused | None:
    """The refusal to answer with, None where nothing was refused: the first, but one that may change soon before it."""
    every = tuple(refusals)
    return next((refused for refused in every if refused.reply.is_transient), every[0] if every else None)


def show_groups(groups: Mapping[str, str]) -> str:
    """`name='user name', number='+420603280030'`."""
    return ", ".join(f"{name}={value!r}" for name, value in groups.items()) or "nothing read out of the address"
