"""Commands on users and aliases. Each change is one commit; the directory in memory follows before the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailbridge.accounts import passwords
from mailbridge.accounts.pool import Pool, PoolFull
from mailbridge.accounts.turns import OPERATOR
from mailbridge.admin import names
from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.interfaces import IStore
from mailbridge.routing.directory import Directory
from mailbridge.routing.names import fold_name
from mailbridge.store.changes import AddUser, ChangeUser, Credentials, People, RemoveUser, SetAlias, Snapshot, User

Record = dict[str, Any]


class PeopleOperations:
    """`user ...` and `alias ...`. Hashes are made in `pool`; `seconds()` is the time since 1970."""

    def __init__(self, store: IStore, directory: Directory, pool: Pool, seconds: Callable[[], float]) -> None:
        self._store = store
        self._directory = directory
        self._pool = pool
        self._seconds = seconds

    async def add(self, arguments: Arguments) -> Record:
        """`user add`: name, password, keep_secret (default false), send_as."""
        name = names.user_name(arguments.text("name"))
        password, warnings = names.password(arguments.text("password"))
        keep_secret = bool(arguments.optional_flag("keep_secret"))
        send_as = tuple(names.sender_pattern(pattern) for pattern in arguments.texts("send_as"))
        arguments.end()
        if self._directory.user(name) is not None:
            raise OperationError(
                Kind.CONFLICT, f"there is a user {name} already: `mailbridge user passwd {name}` sets a new password"
            )
        credentials = await self._credentials(password, keep_secret)
        receipts = await self._store.commit(AddUser(name, credentials, send_as, self._seconds()))
        people = await self._follow()
        if any(fold_name(alias.name) == name for alias in people.aliases):
            warnings.append(f"there is an alias {name}: mail for {name} goes to its targets, not to the user alone")
        return {"id": receipts[0], "name": name, "warnings": warnings}

    async def list_users(self, arguments: Arguments) -> Record:
        """`user list`: all users by name."""
        arguments.end()
        people: People = await self._store.people()
        return {"users": [_told(user) for user in sorted(people.users, key=lambda user: user.name)]}

    async def show(self, arguments: Arguments) -> Record:
        """`user show`: one user, with the messages in the maildrop and the aliases that name the user."""
        user = self._user(arguments)
        arguments.end()
        people: People = await self._store.people()
        drop: Snapshot = await self._store.snapshot(user.id)
        return {**_told(user), "messages": len(drop.uids), "octets": sum(drop.sizes), "aliases": _naming(user, people)}

    async def passwd(self, arguments: Arguments) -> Record:
        """`user passwd`: name, password, keep_secret (default: as it was)."""
        user = self._user(arguments)
        password, warnings = names.password(arguments.text("password"))
        keep_secret = arguments.optional_flag("keep_secret")
        arguments.end()
        if keep_secret is None:
            keep_secret = user.credentials.secret is not None
        await self._store.commit(ChangeUser(user.id, credentials=await self._credentials(password, keep_secret)))
        await self._follow()
        return {"name": user.name, "warnings": warnings}

    async def set(self, arguments: Arguments) -> Record:
        """`user set`: name, send_as (replaces what was there)."""
        user = self._user(arguments)
        send_as = tuple(names.sender_pattern(pattern) for pattern in arguments.texts("send_as"))
        arguments.end()
        await self._store.commit(ChangeUser(user.id, send_as=send_as))
        await self._follow()
        return {"name": user.name, "send_as": list(send_as)}

    async def remove(self, arguments: Arguments) -> Record:
        """`user remove`: name. Tells how many messages went, and which aliases still name the user."""
        user = self._user(arguments)
        arguments.end()
        receipts = await self._store.commit(RemoveUser(user.id))
        people = await self._follow()
        return {"name": user.name, "messages": receipts[0], "aliases": _naming(user, people)}

    async def set_alias(self, arguments: Arguments) -> Record:
        """`alias set`: name, targets. Makes or replaces an alias."""
        name = names.alias_name(arguments.text("name"), self._directory)
        targets = tuple(
            dict.fromkeys(names.alias_target(target, self._directory) for target in arguments.texts("targets"))
        )
        arguments.end()
        if not targets:
            raise OperationError(Kind.USAGE, "an alias needs a target: a user or another alias")
        receipts = await self._store.commit(SetAlias(name, targets))
        await self._follow()
        return {"name": name, "targets": list(targets), "replaced": bool(receipts[0])}

    async def list_aliases(self, arguments: Arguments) -> Record:
        """`alias list`: all aliases by name."""
        arguments.end()
        people: People = await self._store.people()
        aliases = sorted(people.aliases, key=lambda alias: alias.name)
        return {"aliases": [{"name": alias.name, "targets": list(alias.targets)} for alias in aliases]}

    async def remove_alias(self, arguments: Arguments) -> Record:
        """`alias remove`: name."""
        name = arguments.text("name").lower()
        arguments.end()
        receipts = await self._store.commit(SetAlias(name, ()))
        if not receipts[0]:
            raise OperationError(Kind.CONFLICT, f"there is no alias {name[:80]!r}: `mailbridge alias list` shows them")
        await self._follow()
        return {"name": name}

    def _user(self, arguments: Arguments) -> User:
        name = arguments.text("name")
        user = self._directory.login(name)
        if user is None:
            raise OperationError(Kind.CONFLICT, f"there is no user {name[:80]!r}: `mailbridge user list` shows them")
        return user

    async def _credentials(self, password: str, keep_secret: bool) -> Credentials:
        try:
            return await self._pool.run(lambda: passwords.make_credentials(password, keep_secret), OPERATOR)
        except PoolFull:
            raise OperationError(Kind.FAILED, "too many logins are being checked just now: try again") from None

    async def _follow(self) -> People:
        people: People = await self._store.people()
        self._directory.replace(people)
        return people


def _told(user: User) -> Record:
    return {
        "id": user.id, "name": user.name, "created": user.created, "send_as": list(user.send_as),
        "keeps_secret": user.credentials.secret is not None,
    }


def _naming(user: User, people: People) -> list[str]:
    """The aliases that have the user among their targets, by name alone or with a domain."""
    name = fold_name(user.name)
    return [
        alias.name for alias in people.aliases
        if any(fold_name(target.rpartition("@")[0] or target) == name for target in alias.targets)
    ]
