"""Every command that the bridge carries out for its operator, by name: the same whether it came through the control
socket or was given while no bridge runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import evolve

from mailbridge.accounts.pool import Pool
from mailbridge.address import NULL, Address
from mailbridge.admin import names, status
from mailbridge.admin.arguments import Arguments
from mailbridge.admin.fetch import Fetching, FetchOperations
from mailbridge.admin.messages import Kind, OperationError, usage
from mailbridge.admin.oceside import OCESide, OCESideOperations
from mailbridge.admin.people import PeopleOperations
from mailbridge.admin.queue import QueueOperations
from mailbridge.admin.status import Alarm, Facts
from mailbridge.envelope import Origin
from mailbridge.errors import ConfigError, StartError, StoreConflict, StoreError
from mailbridge.interfaces import IStore
from mailbridge.reply import NOT_YOUR_ADDRESS
from mailbridge.routing.directory import Directory
from mailbridge.routing.explain import Explanation
from mailbridge.routing.route import OCE
from mailbridge.store.changes import Lane, People

Operation = Callable[[Arguments], Awaitable[Any]]


class Explains(Protocol):
    """The router, as `route` needs it (`routing.table.Table`)."""

    def explain(self, recipient: Address, sender: Address, origin: Origin) -> Explanation:
        """The decision with its steps."""


class Service(Protocol):
    """The running bridge, as `status` and `reload` need it."""

    def facts(self) -> Facts:
        """What it knows of itself; users, aliases and queue are filled in here."""

    def reload(self) -> list[str]:
        """Read the configuration again; sentences on what needs a restart. Raises ConfigError or StartError, and then
        the old one stays."""


def _no_oce() -> None:
    """There is no [oce]."""


class Operations:
    """The table of commands.

    `trusts(listener, client)` says whether a client needs no login there, `upcoming()` which number the next job of an
    application gets, `oce()` is the bridge's side of the OCE. `service` and `fetching` are None while no bridge runs.
    """

    def __init__(
        self,
        store: IStore,
        directory: Directory,
        router: Explains,
        pool: Pool,
        seconds: Callable[[], float],
        trusts: Callable[[str, str], bool],
        upcoming: Callable[[], int],
        service: Service | None = None,
        oce: Callable[[], OCESide | None] = _no_oce,
        fetching: Fetching | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._router = router
        self._seconds = seconds
        self._trusts = trusts
        self._upcoming = upcoming
        self._oce = oce
        self._service = service
        people = PeopleOperations(store, directory, pool, seconds)
        self._queue = queue = QueueOperations(store, seconds)
        self.commands: dict[str, Operation] = {
            "user add": people.add,
            "user list": people.list_users,
            "user show": people.show,
            "user passwd": people.passwd,
            "user set": people.set,
            "user remove": people.remove,
            "alias set": people.set_alias,
            "alias list": people.list_aliases,
            "alias remove": people.remove_alias,
            "queue list": queue.list_entries,
            "queue count": queue.count,
            "queue show": queue.show,
            "queue stats": queue.stats,
            "queue hold": queue.hold,
            "queue release": self._release,
            "queue retry": queue.retry,
            "queue remove": queue.remove,
            "queue reroute": queue.reroute,
            "queue pause": queue.pause,
            "queue resume": queue.resume,
            **OCESideOperations(store, oce).commands,
            **FetchOperations(fetching).commands,
            "route": self._route,
            "status": self._status,
            "reload": self._reload,
        }

    async def run(self, command: str, arguments: dict[str, Any]) -> Any:
        """The result of a command, as JSON values. Raises OperationError."""
        operation = self.commands.get(command)
        if operation is None:
            raise usage(f"unknown command: {command[:40]!r}; this version knows: {', '.join(self.commands)}")
        try:
            return await operation(Arguments(arguments))
        except StartError as error:
            raise OperationError(Kind.FAILED, str(error)) from None
        except StoreConflict as error:
            raise OperationError(Kind.CONFLICT, str(error)) from None
        except StoreError as error:
            raise OperationError(Kind.FAILED, f"the store failed: {error}; try again, and see the log") from None

    async def _route(self, arguments: Arguments) -> dict[str, Any]:
        """`route`: from, to, client, user, listener (default `smtp[0]`). `job` is the number the next job gets."""
        sender, recipient = _sender(arguments.text("from")), names.address(arguments.text("to"), "to")
        client = arguments.optional_text("client") or ""
        login = arguments.optional_text("user")
        listener = arguments.optional_text("listener") or "smtp[0]"
        arguments.end()
        user = self._directory.login(login) if login is not None else None
        if login is not None and user is None:
            raise OperationError(Kind.CONFLICT, f"there is no user {login[:80]!r}: `mailbridge user list` shows them")
        trusted = user is not None or bool(client and self._trusts(listener, client))
        origin = Origin(listener, client, "", user.name if user else None, None, self._seconds(), "ESMTP", trusted)
        explanation = self._router.explain(recipient, sender, origin)
        result = {**explanation.record(), "lines": explanation.lines(), "job": self._upcoming()}
        if user is not None and not self._directory.owns(user, sender):
            note = f"sender: {user.name} may not send as {sender.text}: {NOT_YOUR_ADDRESS}"
            result |= {"accepted": False, "answer": str(NOT_YOUR_ADDRESS), "lines": [note]}
        return result

    async def _release(self, arguments: Arguments) -> dict[str, Any]:
        """`queue release`; for the target of the OCE it ends a KILL too, which `oce` tells."""
        oce = self._oce() if arguments.given("target") == OCE else None
        told: dict[str, Any] = await self._queue.release(arguments)
        return told if oce is None else {**told, "oce": await oce.release()}

    async def _status(self, arguments: Arguments) -> dict[str, Any]:
        """`status`: facts and problems."""
        arguments.end()
        facts = self._running().facts()
        people: People = await self._store.people()
        lanes: tuple[Lane, ...] = await self._store.lanes()
        paused = tuple(Alarm(**alarm) for alarm in await self._queue.alarms(lanes))
        if not facts.embedded:
            paused += tuple(Alarm(**alarm) for alarm in await self._queue.stranded(lanes))
        facts = evolve(facts, users=len(people.users), aliases=len(people.aliases), alarms=(*facts.alarms, *paused),
                       queue=sum(lane.waiting for lane in lanes), oldest=await self._queue.oldest(),
                       free_octets=self._store.free_octets())
        return status.record(facts, self._seconds())

    async def _reload(self, arguments: Arguments) -> dict[str, Any]:
        """`reload`: read the configuration again."""
        arguments.end()
        try:
            return {"notes": self._running().reload()}
        except (ConfigError, StartError) as error:  # told with what it means for the bridge
            raise OperationError(Kind.FAILED, f"{error}\nnothing was changed") from None

    def _running(self) -> Service:
        if self._service is None:
            raise OperationError(Kind.FAILED, "mailbridge is not running")
        return self._service


def _sender(text: str) -> Address:
    return NULL if text in ("", "<>") else names.address(text, "from")
