"""What an operator may name as `authentication_lib`, good and bad."""

from __future__ import annotations

from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse

memory = InMemoryUsernamePasswordDatabaseDontUse(**{"lamp@plant.example": b"right"})
anonymous = AllowAnonymousAccess()
number = 7


class Made(InMemoryUsernamePasswordDatabaseDontUse):
    """A class that makes a checker when called."""


def make() -> InMemoryUsernamePasswordDatabaseDontUse:
    """A function that makes one."""
    return InMemoryUsernamePasswordDatabaseDontUse(made=b"right")


def broken() -> None:
    """A function that fails."""
    raise OSError("no\ndata base")
