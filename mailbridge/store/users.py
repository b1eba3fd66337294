"""Users, aliases, counters and remembered values: what is asked of the store and what it answers (see `store.changes`).
"""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Credentials:
    """What is kept of a password: a scrypt hash and a SCRAM-SHA-256 verifier as text; `secret` only on request."""

    scrypt: str = field(repr=False)
    scram: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)


@frozen
class User:
    """One account. `name` is lower case; `send_as` are addresses or `*@domain` the user may send as besides his own."""

    id: int
    name: str
    credentials: Credentials
    send_as: tuple[str, ...] = ()
    created: float = 0.0


@frozen
class Alias:
    """`name` (`sales@example.org`, `sales`, or `@example.org` for all else of a domain) stands for `targets`."""

    name: str
    targets: tuple[str, ...]


@frozen
class People:
    """All users and aliases."""

    users: tuple[User, ...]
    aliases: tuple[Alias, ...]


@frozen
class AddUser:
    """Make a user. Receipt: its id. StoreConflict when the name is taken."""

    name: str
    credentials: Credentials
    send_as: tuple[str, ...] = ()
    created: float = 0.0


@frozen
class ChangeUser:
    """Replace credentials or send_as (None: leave). Receipt: None. StoreConflict when there is no such user."""

    user: int
    credentials: Credentials | None = None
    send_as: tuple[str, ...] | None = None


@frozen
class RemoveUser:
    """Remove a user and unlink all of the maildrop. Receipt: how many messages were unlinked."""

    user: int


@frozen
class SetAlias:
    """Make or replace an alias; no targets removes it. Receipt: whether it was there before."""

    name: str
    targets: tuple[str, ...]


@frozen
class Allocate:
    """Take `count` numbers from a named counter. Receipt: the first of them."""

    counter: str
    count: int = 1
    start: int = 1


@frozen
class Remember:
    """Keep a small value under a key (None forgets it). Receipt: None."""

    key: str
    value: str | None
