"""The directory: who is behind a local address. A picture in memory of the users and aliases of the store.

It promises an answer at once, for any input: loops of aliases end, members that do not exist are passed over (and named
by `check`), and an alias that needs more than 10,000 look-ups or 50 levels is refused whole, never delivered in part.
It never reads the store: whoever watches it calls `replace`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from mailbridge.address import Address, parse_mailbox
from mailbridge.errors import AddressError
from mailbridge.routing.names import fold_domain, fold_name
from mailbridge.store.changes import Alias, People, User

MAX_LOOKUPS = 10_000
MAX_DEPTH = 50
CATCH_ALL = "catch-all"
_POSTMASTER = "postmaster"
_LONGEST_LOGIN = 512

Key = tuple[str, str]  # folded local part and folded domain; the domain is empty for a name without one


@frozen
class Match:
    """What an address led to: the users, one entry each, and by which step ("alias", "user", "tag", ...)."""

    users: tuple[User, ...]
    step: str


class _TooWide(Exception):
    """An alias needs more look-ups than MAX_LOOKUPS, or is nested deeper than MAX_DEPTH."""


class Directory:
    """Users and aliases of the local domains. `generation` grows with every change, for those who remember answers."""

    def __init__(self, domains: Iterable[str], tag_separator: str = "+", postmaster: str | None = None) -> None:
        self.generation = 0
        self._users: dict[str, User] = {}
        self._ids: dict[int, User] = {}
        self._aliases: dict[Key, Alias] = {}
        self._oldest: User | None = None
        self._secrets = False
        self.reconfigure(domains, tag_separator, postmaster)

    def reconfigure(self, domains: Iterable[str], tag_separator: str = "+", postmaster: str | None = None) -> None:
        """Take the `[users]` of a new configuration; people stay as they are."""
        self.domains = tuple(domains)
        self._local = frozenset(fold_domain(domain) for domain in self.domains)
        self._separator = tag_separator
        self._postmaster = postmaster
        self.generation += 1

    def replace(self, people: People) -> None:
        """Take all users and aliases anew. Of two that fold to the same name the older one stays."""
        by_age = sorted(people.users, key=lambda user: (user.created, user.id))
        self._users = {fold_name(user.name): user for user in reversed(by_age)}
        self._ids = {user.id: user for user in by_age}
        self._oldest = by_age[0] if by_age else None
        self._secrets = any(user.credentials.secret is not None for user in by_age)
        self._aliases = {}
        for alias in people.aliases:
            key = _key(alias.name)
            if key is not None:
                self._aliases.setdefault(key, alias)
        self.generation += 1

    def user(self, name: str) -> User | None:
        """The user of that name, in any case."""
        return self._users.get(fold_name(name))

    def by_id(self, number: int) -> User | None:
        """The user with that id."""
        return self._ids.get(number)

    def login(self, name: str) -> User | None:
        """The user who logs in as `name`, which is `bonnie` or `bonnie@` and a local domain."""
        if len(name) > _LONGEST_LOGIN:
            return None
        user = self.user(name)
        if user is None:
            local, at, domain = name.rpartition("@")
            if at and self.is_local(domain):
                user = self.user(local)
        return user

    def keeps_secrets(self) -> bool:
        """Whether any user's secret is kept, so that CRAM-MD5 and APOP are of use to somebody."""
        return self._secrets

    def is_local(self, domain: str) -> bool:
        """Whether `domain` is one of ours."""
        return fold_domain(domain) in self._local

    def resolve(self, address: Address) -> tuple[User, ...] | None:
        """The users behind an address of a local domain or without a domain; None when there are none."""
        match = self.find(address)
        return match.users if match else None

    def find(self, address: Address) -> Match | None:
        """As `resolve`, with the step that found them.

        In this order: alias with domain, for postmaster the configured one, alias without domain, user, the same for
        the name before a tag, for postmaster the oldest user, alias of all else in the domain.
        """
        if address.double_at or address.is_null or (address.domain and not self.is_local(address.domain)):
            return None
        key = (fold_name(address.local), fold_domain(address.domain))
        try:
            for step, found in self._steps(key):
                users = self._expand(found)
                if users:
                    return Match(users, step)
                if step != _POSTMASTER:
                    break  # the name is taken by an alias that leads to nobody
        except _TooWide:
            return None
        if key[0] == _POSTMASTER and self._oldest is not None:
            return Match((self._oldest,), _POSTMASTER)
        return None

    def owns(self, user: User, address: Address) -> bool:
        """Whether `user` may send as `address`.

        He may as `<>`, as his own name in any local domain, with or without a tag, unless that address was given to
        others; as any local address that leads to him and nobody else; and as his `send_as` patterns.
        """
        if address.is_null or _matches(user.send_as, address):
            return True
        if address.double_at or (address.domain and not self.is_local(address.domain)):
            return False
        if self.resolve(address) == (user,):
            return True
        name = fold_name(address.local)
        domain = fold_domain(address.domain)
        given = self._aliases.get((name, domain)) if domain else None
        if given is not None:
            return user in self._expand_or_nobody(given)
        if self._users.get(name) is None and (name, "") not in self._aliases:
            name = self._untagged(name) or name
        return self._users.get(name) == user

    def check(self) -> list[str]:
        """Findings for the operator: members that do not exist, aliases that lead to nobody, names that collide."""
        findings = [
            f'user "{user.name}": the name is the same as that of user "{self._users[fold_name(user.name)].name}", '
            f"who gets the mail"
            for user in self._ids.values() if self._users[fold_name(user.name)] is not user
        ]
        for key, alias in self._aliases.items():
            if key[1] and key[1] not in self._local:
                findings.append(f'alias "{alias.name}": {key[1]} is not a local domain, so it gets no mail')
                continue
            for target in alias.targets:
                if self._member(target) is None:
                    findings.append(f'alias "{alias.name}": there is no user or alias "{target}"')
            try:
                if not self._expand(alias):
                    findings.append(f'alias "{alias.name}": leads to nobody (a loop, or no member that exists)')
            except _TooWide:
                findings.append(f'alias "{alias.name}": is too wide or too deep; its mail is refused')
        if self._postmaster is not None and self._member(self._postmaster) is None:
            findings.append(f'users.postmaster: there is no user or alias "{self._postmaster}"')
        return findings

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _steps(self, key: Key) -> Iterator[tuple[str, User | Alias]]:
        """What may answer for a name, best first."""
        local, domain = key
        if domain and key in self._aliases:
            yield "alias", self._aliases[key]
        if local == _POSTMASTER:
            for found in self._configured_postmaster():
                yield _POSTMASTER, found
        if (local, "") in self._aliases:
            yield "alias", self._aliases[local, ""]
        if local in self._users:
            yield "user", self._users[local]
        base = self._untagged(local)
        if base is not None:
            for other in (self._aliases.get((base, domain)), self._aliases.get((base, "")), self._users.get(base)):
                if other is not None:
                    yield "tag", other
        if local == _POSTMASTER and self._oldest is not None:
            yield _POSTMASTER, self._oldest
        if ("", domain) in self._aliases:
            yield CATCH_ALL, self._aliases["", domain]

    def _configured_postmaster(self) -> Iterator[User | Alias]:
        key = _key(self._postmaster) if self._postmaster is not None else None
        if key is not None and key[0] != _POSTMASTER and (not key[1] or key[1] in self._local):
            for _, found in self._steps(key):
                yield found

    def _untagged(self, local: str) -> str | None:
        if not self._separator:
            return None
        base, separator, _ = local.partition(self._separator)
        return base if separator and base else None

    # --- aliases ------------------------------------------------------------------------------------------------------

    def _expand(self, found: User | Alias) -> tuple[User, ...]:
        """Every user behind `found`, each once, in the order of the members. Raises _TooWide."""
        if isinstance(found, User):
            return (found,)
        users: dict[int, User] = {}
        opened = {found.name}
        waiting: list[tuple[str, tuple[str, ...]]] = [(target, (found.name,)) for target in reversed(found.targets)]
        for _ in range(MAX_LOOKUPS):
            if not waiting:
                return tuple(users.values())
            target, path = waiting.pop()
            answer = self._member(target)
            if isinstance(answer, User):
                users.setdefault(answer.id, answer)
            elif answer is not None and answer.name in path:
                # A loop ends here. In `harold: harold, bonnie` the inner harold is the user of that name.
                namesake = self._users.get((_key(target) or ("", ""))[0])
                if namesake is not None:
                    users.setdefault(namesake.id, namesake)
            elif answer is not None and answer.name not in opened:
                if len(path) == MAX_DEPTH or len(waiting) + len(answer.targets) > MAX_LOOKUPS:
                    break
                opened.add(answer.name)
                waiting.extend((inner, (*path, answer.name)) for inner in reversed(answer.targets))
        raise _TooWide

    def _member(self, target: str) -> User | Alias | None:
        """What one member of an alias names."""
        key = _key(target)
        if key is None or not key[0] or (key[1] and key[1] not in self._local):
            return None
        return next((found for _, found in self._steps(key)), None)

    def _expand_or_nobody(self, alias: Alias) -> tuple[User, ...]:
        try:
            return self._expand(alias)
        except _TooWide:
            return ()


def _key(name: str) -> Key | None:
    """The folded form of an alias name or member: `@domain` has an empty local part; None for what is no address."""
    if name.startswith("@"):
        return "", fold_domain(name[1:])
    try:
        address = parse_mailbox(name.encode("utf-8"))
    except (AddressError, UnicodeError):
        return None
    return None if address.double_at else (fold_name(address.local), fold_domain(address.domain))


def _matches(patterns: Iterable[str], address: Address) -> bool:
    """Whether one of the `send_as` patterns, an address or `*@domain`, names `address`."""
    own = (fold_name(address.local), fold_domain(address.domain))
    for pattern in patterns:
        if pattern.startswith("*@"):
            if address.domain and not address.double_at and fold_domain(pattern[2:]) == own[1]:
                return True
        elif address.double_at:
            if fold_name(pattern) == fold_name(address.text):
                return True
        elif _key(pattern) == own:
            return True
    return False
