"""Claims: which recipients an application takes, from whom, and what its patterns read out of the address.

A claim is asked at RCPT time (`decide`; `by_rule` when a `[[route]]` names the application) and again when the job is
made (`groups`), so that nothing but the address needs to be stored. It never takes mail from a client who is not
entitled to the application (invariant 5), and never gives a number that is none (`application.numbers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from mailbridge import reply
from mailbridge.address import Address
from mailbridge.application.names import is_application_name
from mailbridge.application.numbers import Numbers
from mailbridge.envelope import Origin
from mailbridge.reply import Reply
from mailbridge.routing.clients import NO_HOSTS, ClientList, Hosts
from mailbridge.routing.pattern import Pattern

NUMBER = "number"


@frozen
class Claimed:
    """The recipient is the application's. `groups` are what was read out of the address, `by` what did it."""

    application: str
    groups: Mapping[str, str]
    by: str


@frozen
class Refused:
    """The address is the application's, but not for this client, sender or number. `why` is for the operator."""

    reply: Reply
    why: str


@frozen
class Passed:
    """The address is none of the application's."""

    why: str


Decision = Claimed | Refused | Passed


@frozen
class Claim:
    """What one application takes. Made by `make`."""

    name: str
    addresses: tuple[Pattern, ...]
    clients: ClientList
    clients_key: str
    from_enabled: tuple[Pattern, ...] | None
    from_disabled: tuple[Pattern, ...]
    process_anonymous: bool
    needs_number: bool
    numbers: Numbers = field(factory=Numbers)

    @classmethod
    def make(
        cls,
        name: str,
        addresses: Iterable[str] = (),
        clients: Iterable[str] = (),
        receiver_clients: Iterable[str] = (),
        from_enabled: Iterable[str] | None = None,
        from_disabled: Iterable[str] = (),
        process_anonymous: bool = False,
        normalize: bool = False,
        state_prefix: str = "420",
        national_prefix: str = "0",
        allowed_numbers: str | None = None,
        needs_number: bool = True,
    ) -> Claim:
        """The claim of one `[application.NAME]`. Raises ValueError that begins with the key, `addresses[1]: `.

        `receiver_clients` are the `[receiver] clients`, which hold where `clients` is empty. A job without a number is
        refused when `needs_number`, as for SMS and fax.
        """
        if not is_application_name(name):
            raise ValueError(f'"{name}" is no name for an application; take ASCII letters, digits, _ and -')
        own, shared = _client_list("clients", clients), _client_list("receiver.clients", receiver_clients)
        patterns = _patterns("addresses", addresses)
        for index, pattern in enumerate(patterns):
            if needs_number and NUMBER not in pattern.names:
                raise ValueError(rf'addresses[{index}]: "{pattern.text}" reads no number; write (?P<number>\+?\d+) for '
                                 "the part that is the number")
        return cls(
            name=name,
            addresses=patterns,
            clients=own or shared,
            clients_key="clients" if own else "[receiver] clients",
            from_enabled=None if from_enabled is None else _patterns("from_enabled", from_enabled),
            from_disabled=_patterns("from_disabled", from_disabled),
            process_anonymous=process_anonymous,
            needs_number=needs_number,
            numbers=Numbers.make(normalize, state_prefix, national_prefix, allowed_numbers),
        )

    @property
    def host_names(self) -> frozenset[str]:
        """The host names that have to be looked up for this claim."""
        return frozenset(self.clients.names)

    def decide(self, recipient: Address, sender: Address, origin: Origin, hosts: Hosts = NO_HOSTS) -> Decision:
        """Whether the application takes `recipient`, and what it reads out of it."""
        matched = self._match(recipient)
        if matched is None:
            return Passed("the recipient is none of its addresses" if self.addresses else
                          "it has no addresses; only a [[route]] leads to it")
        return self._stranger(origin, hosts) or self._refused_sender(sender) or self._take(*matched)

    def by_rule(
        self, recipient: Address, sender: Address, origin: Origin, hosts: Hosts = NO_HOSTS, anyone: bool = False
    ) -> Claimed | Refused:
        """The same when a rule leads `recipient` here, whatever its address. `anyone` lets strangers in.

        The number is that of the application's own patterns, else the local part.
        """
        stranger = None if anyone else self._stranger(origin, hosts)
        return stranger or self._refused_sender(sender) or self._take(*self._match_or_local_part(recipient))

    def groups(self, recipient: Address) -> Mapping[str, str] | None:
        """What is read out of a recipient that was taken, by a pattern or by a rule; None when it can be no more."""
        taken = self._take(*self._match_or_local_part(recipient))
        return taken.groups if isinstance(taken, Claimed) else None

    # --- the conditions -----------------------------------------------------------------------------------------------

    def _match(self, recipient: Address) -> tuple[str, dict[str, str]] | None:
        text = _plain(recipient)
        for index, pattern in enumerate(self.addresses):
            groups = pattern.groups(text)
            if groups is not None:
                return f"addresses[{index}]", groups
        return None

    def _match_or_local_part(self, recipient: Address) -> tuple[str, dict[str, str]]:
        matched = self._match(recipient)
        if matched is not None:
            return matched
        return "the local part", {NUMBER: recipient.local} if self.numbers.read(recipient.local) else {}

    def _stranger(self, origin: Origin, hosts: Hosts) -> Refused | None:
        """Why the client may not use the application: only logins, local work and listed clients may."""
        if origin.user is not None or (origin.trusted and not origin.peer):
            return None
        if not self.clients:
            return None if origin.trusted else Refused(
                reply.NOT_YOUR_APPLICATION, "the client is neither logged in nor listed"
            )
        if self.clients.allows(origin.peer, hosts):
            return None
        waiting = self.clients.waits(hosts)
        if waiting:
            return Refused(reply.CLIENT_NOT_YET, f"{waiting[0]} on {self.clients_key} has not been looked up yet")
        return Refused(reply.NOT_YOUR_APPLICATION, f"client {origin.peer or 'without address'} is not on "
                                                   f"{self.clients_key}")

    def _refused_sender(self, sender: Address) -> Refused | None:
        if sender.is_null:
            return None if self.process_anonymous else Refused(
                reply.NO_ANONYMOUS, "the sender is <> and process_anonymous is off"
            )
        text = _plain(sender)
        disabled = next((pattern for pattern in self.from_disabled if pattern.matches(text)), None)
        if disabled is not None:
            return Refused(reply.SENDER_REFUSED, f"sender is on from_disabled '{disabled.text}'")
        if self.from_enabled is None or any(pattern.matches(text) for pattern in self.from_enabled):
            return None
        why = "sender is not on from_enabled" if self.from_enabled else "from_enabled is empty: nobody may send"
        return Refused(reply.SENDER_REFUSED, why)

    def _take(self, by: str, groups: dict[str, str]) -> Claimed | Refused:
        said = groups.get(NUMBER)
        if said is None:
            return Refused(reply.NO_NUMBER, f"{by} gives no number") if self.needs_number else Claimed(
                self.name, groups, by
            )
        number = self.numbers.read(said)
        if number is None:
            return Refused(reply.NO_NUMBER, f"what {by} gives is no number (at most 20 digits after + or i)")
        if not self.numbers.allows(number):
            return Refused(reply.NUMBER_REFUSED, f"number {number} is not on allowed_numbers")
        return Claimed(self.name, {**groups, NUMBER: number}, by)


def _plain(address: Address) -> str:
    """The address without quotes: patterns see what was meant, as `Carl Orff@61388454@fax`."""
    return f"{address.local}@{address.domain}" if address.domain else address.local


def _patterns(key: str, texts: Iterable[str]) -> tuple[Pattern, ...]:
    """The compiled patterns. Blanks around them, and where a line was broken, are not part of them."""
    made = []
    for index, text in enumerate(texts):
        try:
            made.append(Pattern("".join(line.strip() for line in text.splitlines())))
        except ValueError as error:
            raise ValueError(f"{key}[{index}]: {error}") from None
    return tuple(made)


def _client_list(key: str, entries: Iterable[str]) -> ClientList:
    try:
        return ClientList.parse(entries)
    except ValueError as error:
        raise ValueError(f"{key}{error}") from None
