"""Users and aliases for the tests of the routing room."""

from __future__ import annotations

from mailbridge.envelope import Origin
from mailbridge.routing.directory import Directory
from mailbridge.store.changes import Alias, Credentials, People, User

NOBODY_KNOWS = Credentials("", "")


def user(number: int, name: str, *send_as: str, created: float | None = None) -> User:
    """A user; the higher the number the younger."""
    return User(number, name, NOBODY_KNOWS, send_as, float(number) if created is None else created)


def people(users: str, **aliases: str) -> People:
    """Users by name, numbered from 1; aliases with their members, parted by spaces."""
    return People(
        tuple(user(number, name) for number, name in enumerate(users.split(), 1)),
        tuple(Alias(name, tuple(members.split())) for name, members in aliases.items()),
    )


def directory(users: str, aliases: dict[str, str] | None = None, postmaster: str | None = None,
              domains: tuple[str, ...] = ("example.org", "shop.example"), separator: str = "+") -> Directory:
    """A directory with these users and aliases."""
    made = Directory(domains, separator, postmaster)
    made.replace(people(users, **(aliases or {})))
    return made


def origin(
    trusted: bool = False, user: str | None = None, peer: str = "192.0.2.7", listener: str = "smtp[0]"
) -> Origin:
    """A session; a login is trusted."""
    return Origin(listener, peer, "client.example", user, None, 0.0, "ESMTP", trusted or user is not None)
