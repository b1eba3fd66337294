"""An OCE in a process of its own, without a mail bridge: store, members, listener, control socket.

`twist mailbridge-oce` runs it. Its members are the users of its own store, which `mailbridge user add` makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge import __version__
from mailbridge.accounts.checkers import Checker
from mailbridge.accounts.pool import BoundedPool
from mailbridge.accounts.throttle import Throttle
from mailbridge.accounts.verified import KEY_SIZE, VerifiedLogins
from mailbridge.admin import control
from mailbridge.admin.oce import OCEOperations
from mailbridge.admin.operations import Operations
from mailbridge.admin.status import Facts
from mailbridge.admin.supervision import supervisor
from mailbridge.edge.listeners import Listeners
from mailbridge.errors import StartError
from mailbridge.limits import MIB
from mailbridge.oce.embedded.house import OCEHouse, OCEPlan
from mailbridge.routing.directory import Directory
from mailbridge.routing.table import Table
from mailbridge.store.sqlite import open_store


@frozen
class AlonePlan:
    """`state` is the folder of everything durable; `domains` are those that members may write behind their names."""

    oce: OCEPlan
    state: Path
    hostname: str
    database: str = "mail.db"
    min_free: int = 64 * MIB
    domains: tuple[str, ...] = ()


class OCEAlone(Service):
    """`reactor` is Twisted's; `on_death(Failure)` hears that the store's writer died: exit at once then."""

    _log = Logger()

    def __init__(self, plan: AlonePlan, reactor: Any, on_death: Callable[[Failure], object]) -> None:
        self._plan = plan
        self._reactor = reactor
        self._on_death = on_death
        self._started_at = 0.0
        self.listeners = Listeners(reactor)

    def startService(self) -> None:
        """Open everything. Raises StartError, and then nothing stays open."""
        plan, reactor = self._plan, self._reactor
        self.store = open_store(plan.state, reactor, database=plan.database, min_free=plan.min_free,
                                on_death=self._on_death)
        self._pool = BoundedPool(reactor)
        try:
            directory = self._directory = Directory(plan.domains)
            directory.replace(self.store.people_now())
            self._end_watch = self.store.watch("people", self._people_changed)
            checker = Checker(directory, self._pool, VerifiedLogins(os.urandom(KEY_SIZE), reactor.seconds))
            self.house = OCEHouse(plan.oce, self.store, directory, checker, Throttle(reactor.seconds), reactor)
            operations = self.operations = Operations(
                self.store, directory, Table((), directory), self._pool, reactor.seconds, _trusts_nobody, lambda: 0,
                self)
            operations.commands.update(OCEOperations(lambda: self.house.oce).commands)
            self.house.listen(self.listeners)
            self._control = control.listen(reactor, plan.state, operations.run)
        except BaseException:
            self.listeners.close_all()
            self._pool.stop()
            self.store.close()
            raise
        self._started_at = reactor.seconds()
        Service.startService(self)

    def _people_changed(self) -> None:
        self.store.people().addCallbacks(
            self._directory.replace, lambda failure: self._log.failure("members could not be read again", failure))

    def facts(self) -> Facts:
        """What `mailbridge status` is told."""
        return Facts(
            __version__, self._plan.hostname, os.getpid(), self._started_at,
            tuple(f"{listener.place} {listener.endpoint}" for listener in self.listeners.all),
            {"all": len(self.house.factory.sessions)}, min_free=self._plan.min_free,
            supervisor=supervisor(os.environ, os.getpid()),
        )

    def reload(self) -> list[str]:
        """An OCE alone reads its configuration at the start only."""
        raise StartError("an OCE that runs alone takes a new configuration with a restart")

    def stopService(self) -> Deferred[Any]:
        """Answer what was asked, then close the store."""
        Service.stopService(self)
        silent: Deferred[Any] = maybeDeferred(self._control.stopListening)
        quiet: list[Deferred[Any]] = [self.listeners.close_all(), silent, self.house.stop()]
        return DeferredList(quiet).addCallback(lambda _: self._give_back())

    def _give_back(self) -> Deferred[None]:
        self._end_watch()
        self._pool.stop()
        return self.store.close()


def _trusts_nobody(listener: str, client: str) -> bool:
    """There is no listener for mail here."""
    return False
