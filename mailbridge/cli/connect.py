"""How a command reaches the bridge: through the control socket of the running one, else by opening the store itself.

The store is opened under the daemon's own lock, and closed after each operation: nothing is held while the operator
thinks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from random import random
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from mailbridge.accounts.checkers import Checker
from mailbridge.accounts.pool import BoundedPool
from mailbridge.accounts.throttle import Throttle
from mailbridge.accounts.verified import KEY_SIZE, VerifiedLogins
from mailbridge.admin.call import NotRunning, call
from mailbridge.admin.control import socket_path
from mailbridge.admin.operations import Operations
from mailbridge.cli.loop import run_reactor
from mailbridge.config import outlets, rooms, tribal
from mailbridge.config.model import Config
from mailbridge.edge.hostnames import HostNames
from mailbridge.errors import StartError, StoreError
from mailbridge.interfaces import IStore
from mailbridge.oce.embedded.records import KEY
from mailbridge.ocebridge import OCEBridge
from mailbridge.routing.access import AccessList
from mailbridge.routing.clients import NO_HOSTS
from mailbridge.routing.directory import Directory
from mailbridge.routing.table import Table
from mailbridge.store.sqlite import open_store
from mailbridge.target.jobnumbers import JobNumbers

T = TypeVar("T")

#: `ask(command, arguments)`: the result of an operation. Raises OperationError, StartError, NotAllowed.
Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


def converse(config: Config, work: Callable[[Ask], Coroutine[Any, Any, T]]) -> T:
    """What `work(ask)` returns or raises. Runs the reactor: once in a process."""
    from twisted.internet import reactor

    async def ask(command: str, arguments: dict[str, Any]) -> Any:
        return await operate(reactor, config, command, arguments)

    return run_reactor(reactor, lambda: work(ask))


async def operate(reactor: Any, config: Config, command: str, arguments: dict[str, Any]) -> Any:
    """Carry out one operation. Raises OperationError, StartError, NotAllowed."""
    try:
        return await call(reactor, socket_path(config.state), command, arguments)
    except NotRunning:
        return await operate_alone(reactor, config, command, arguments)


async def operate_alone(reactor: Any, config: Config, command: str, arguments: dict[str, Any]) -> Any:
    """Carry out one operation on a store that nobody else has open. Raises as `operate`."""

    async def work(opened: Opened) -> Any:
        if command == "route":
            await HostNames(reactor.nameResolver, reactor, opened.table.follow_hosts).follow(outlets.host_names(config))
        if command.startswith("oce ") and config.oce is not None:
            opened.oce = _oce(config, reactor, opened)
            await opened.oce.load()
        return await opened.operations.run(command, arguments)

    return await alone(reactor, config, work)


@define
class Opened:
    """The rooms of a bridge that does not run, as far as commands need them; `oce` only for commands about it."""

    store: IStore
    directory: Directory
    table: Table
    pool: BoundedPool
    operations: Operations = field(init=False)
    oce: OCEBridge | None = None


async def alone(reactor: Any, config: Config, work: Callable[[Opened], Awaitable[T]]) -> T:
    """What `work` returns or raises, with a store that nobody else has open; it is closed afterwards.

    Raises StartError, when another process has it for example.
    """
    refuse_foreign_root(config.state, os.geteuid())
    died: Deferred[Any] = Deferred()
    store = open_store(
        config.state, reactor, database=config.store.url.removeprefix("sqlite:"), min_free=config.store.min_free,
        on_death=died.errback,
    )
    opened: Opened | None = None
    pool = BoundedPool(reactor)
    interrupted = reactor.addSystemEventTrigger("during", "shutdown", pool.stop)  # else its threads outlive Ctrl-C
    try:
        users = config.users
        directory = Directory(users.domains, users.tag_separator, users.postmaster, tribal.member_domain(config))
        directory.replace(store.people_now())
        table = Table(rooms.routing_rules(config), directory, (), rooms.ways_out(config), outlets.claims(config),
                      None if config.oce is None else tribal.way(config.oce, store.recall(KEY) or ""))
        opened = Opened(store, directory, table, pool)
        numbers = JobNumbers(store, outlets.first_number(config))
        opened.operations = Operations(store, directory, table, pool, time.time, trusted_clients(config),
                                       numbers.upcoming, oce=lambda: opened.oce)
        return await work(opened)
    finally:
        if opened is not None and opened.oce is not None:
            await opened.oce.stop()
        reactor.removeSystemEventTrigger(interrupted)
        pool.stop()
        died.addErrback(lambda failure: failure.trap(StoreError))
        await store.close()


def _oce(config: Config, reactor: Any, opened: Opened) -> OCEBridge:
    """The bridge's side of the OCE, which is not started."""
    checker = Checker(opened.directory, opened.pool, VerifiedLogins(os.urandom(KEY_SIZE), reactor.seconds))
    throttle = Throttle(reactor.seconds, config.limits.wrong_passwords)
    return OCEBridge(config, reactor, opened.store, opened.directory, checker, throttle, os.urandom, random, b"",
                     lambda way: None)


def refuse_foreign_root(state: Path, user: int) -> None:
    """Raises StartError for root (user 0) on the state of somebody else, who could not write what root makes there."""
    try:
        owner = state.stat().st_uid
    except OSError:
        return
    if user == 0 and owner != 0:
        raise StartError(f"{state} belongs to user {owner}: run this as that user (`sudo -u '#{owner}' ...`),"
                         " or start mailbridge first")


def trusted_clients(config: Config) -> Callable[[str, str], bool]:
    """`trusts(listener, client)`: whether a listener of the configuration needs no login from a client."""
    lists = {place: AccessList.parse(listener.clients) for place, listener in rooms.smtp_places(config)}
    if config.receiver.listens:
        lists[rooms.RECEIVER] = rooms.receiver_settings(config, NO_HOSTS).clients
    return lambda listener, client: listener in lists and lists[listener].allows(client)
