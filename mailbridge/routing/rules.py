"""The operator's rules, compiled: what one `[[route]]` matches and what it answers.

Making a rule raises ValueError with the key that is wrong, so that the loader of the configuration and the router read
them with the same eyes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from attrs import frozen

from mailbridge.address import Address
from mailbridge.envelope import Origin
from mailbridge.reply import REFUSED, Reply
from mailbridge.routing.access import AccessList
from mailbridge.routing.names import fold_domain, fold_name
from mailbridge.routing.pattern import Pattern
from mailbridge.routing.route import MAILDROP, REFUSE

_REFUSAL = re.compile(r"([45][0-9][0-9]) ([45]\.[0-9]{1,3}\.[0-9]{1,3}) ([ -~]+)")
_LONGEST_REFUSAL = 500
_OWNED = MAILDROP + ":"


def parse_refusal(text: str) -> Reply:
    """The reply that `550 5.7.1 text` spells. Raises ValueError with what is wrong."""
    match = _REFUSAL.fullmatch(text)
    if not match or len(text) > _LONGEST_REFUSAL:
        raise ValueError('must look like "550 5.7.1 text", in ASCII, on one line of at most 500 characters')
    code, enhanced, words = match.groups()
    if code[0] != enhanced[0]:
        raise ValueError(f"{code} and {enhanced} disagree: both begin with 4 (try again) or both with 5 (never)")
    if code == "421":
        raise ValueError("421 would end the session; 450 4.7.1 asks the client to try again")
    return Reply(int(code), enhanced, words)


def check_target(to: str, targets: Collection[str]) -> None:
    """Raise ValueError when `to` is no target: `maildrop`, `maildrop:USER`, `refuse` or one of `targets`."""
    if to in (MAILDROP, REFUSE) or to in targets or (to.startswith(_OWNED) and len(to) > len(_OWNED)):
        return
    known = ", ".join([MAILDROP, f"{_OWNED}USER", *sorted(targets)])
    raise ValueError(f'"{to}" is no target; known are {known} and {REFUSE}')


@frozen
class Rule:
    """One rule. Every condition that is not None must match; `place` is its name in messages, `route[0]`.

    `to` is a target, `maildrop` or `refuse`; `refusal` is set for the last, `owner` for `maildrop:USER`. `anyone` are
    the domains for which a stranger's mail may leave by this rule (invariant 5).
    """

    place: str
    to: str
    owner: str | None = None
    refusal: Reply | None = None
    recipient: Pattern | None = None
    sender: Pattern | None = None
    user: str | None = None
    clients: AccessList | None = None
    listener: str | None = None
    anyone: frozenset[str] = frozenset()

    @classmethod
    def make(
        cls,
        place: str,
        to: str,
        recipient: str | None = None,
        sender: str | None = None,
        user: str | None = None,
        clients: Iterable[str] = (),
        listener: str | None = None,
        reply: str | None = None,
        anyone: bool = False,
    ) -> Rule:
        """The rule of one `[[route]]`. Raises ValueError."""
        entries = tuple(clients)
        pattern = None if recipient is None else Pattern(recipient)
        refusal = None
        if to == REFUSE:
            refusal = REFUSED if reply is None else parse_refusal(reply)
        owner = to[len(_OWNED):] if to.startswith(_OWNED) else None
        return cls(
            place=place,
            to=MAILDROP if owner else to,
            owner=owner,
            refusal=refusal,
            recipient=pattern,
            sender=None if sender is None else Pattern(sender),
            user=None if user is None else fold_name(user),
            clients=AccessList.parse(entries) if entries else None,
            listener=listener,
            anyone=anyone_domains(pattern) if anyone else frozenset(),
        )

    def mismatch(self, recipient: Address, sender: Address, origin: Origin, login: str | None) -> str | None:
        """Why the rule does not apply, or None when it does. `login` is the folded name of the authenticated user."""
        if self.recipient is None:
            if recipient.double_at:
                return "an address with two @ needs a rule with a recipient pattern"
        elif not self.recipient.matches(recipient.text):
            return f"recipient is not {self.recipient.text}"
        if self.sender is not None and not self.sender.matches(sender.text):
            return f"sender is not {self.sender.text}"
        if self.user is not None and self.user != login:
            return f"user is not {self.user}"
        if self.clients is not None and not self.clients.allows(origin.peer):
            return "client is not listed"
        if self.listener is not None and self.listener != origin.listener:
            return f"listener is not {self.listener}"
        return None

    def opens_to_anyone(self, recipient: Address) -> bool:
        """Whether this rule may lead a stranger's mail out of the bridge (invariant 5)."""
        return fold_domain(recipient.domain) in self.anyone


def anyone_domains(pattern: Pattern | None) -> frozenset[str]:
    """The folded literal domains that `anyone = true` opens. Raises ValueError when the pattern names none."""
    domains = pattern.literal_domains() if pattern is not None else frozenset()
    if not domains:
        raise ValueError(r"needs a recipient that ends in literal domains, such as '.*@example\.org' or "
                         r"'.*@(a\.org|b\.org)'; else this would be an open relay")
    return frozenset(fold_domain(domain) for domain in domains)
