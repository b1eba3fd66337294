"""The ways out of a running bridge: its relays and applications, and the queue that works for them.

Follows a new configuration without dropping what is under way: a way that is changed or gone brings its attempts to
their end, and what waits for a changed one is tried at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from random import SystemRandom
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.names.client import createResolver

from mailbridge.config import outlets, rooms
from mailbridge.config.forward import FORWARD
from mailbridge.config.model import Config
from mailbridge.interfaces import IBounce, IRouter, IStore, ITarget
from mailbridge.logs.journal import Journal
from mailbridge.queue.runner import Runner
from mailbridge.routing.route import APPLICATION, RELAY
from mailbridge.store.changes import RetryNow, Selection
from mailbridge.target.application import ApplicationPlan, ApplicationTarget
from mailbridge.target.gated import Gated
from mailbridge.target.jobnumbers import JobNumbers
from mailbridge.target.journalled import Journalled
from mailbridge.target.mx import MailExchangers
from mailbridge.target.relay import Relay, RelayPlan

OWNER_SIZE = 16
NOTHING: Mapping[str, ITarget] = {}


class _SystemResolver:
    """DNS as /etc/resolv.conf and /etc/hosts say; made when it is first asked, as few bridges need it."""

    @cached_property
    def _resolver(self) -> Any:
        return createResolver()

    def lookupMailExchange(self, name: str, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """See IResolver."""
        return self._resolver.lookupMailExchange(name, timeout)  # type: ignore[no-any-return]

    def lookupAddress(self, name: str, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """See IResolver."""
        return self._resolver.lookupAddress(name, timeout)  # type: ignore[no-any-return]

    def lookupIPV6Address(self, name: str, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """See IResolver."""
        return self._resolver.lookupIPV6Address(name, timeout)  # type: ignore[no-any-return]


@frozen
class Plans:
    """How each relay and each application of a configuration works."""

    relays: tuple[RelayPlan, ...]
    applications: tuple[ApplicationPlan, ...]

    @classmethod
    def make(cls, config: Config) -> Plans:
        """Those of `config`. Raises StartError for certificates that cannot be read."""
        return cls(rooms.relay_plans(config), outlets.application_plans(config))


class WaysOut:
    """Targets by name, and the runner that attempts what waits for them. `reactor` is Twisted's.

    `others` are targets that somebody else opens and closes. `journal`, where there is one, hears of each recipient of
    the applications and of the forward server.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        store: IStore,
        router: IRouter,
        bounce: IBounce,
        journal: Journal | None = None,
        others: Mapping[str, ITarget] = NOTHING,
    ) -> None:
        random = SystemRandom()
        self._config = config
        self._reactor = reactor
        self._store = store
        self._bounce = bounce
        self._journal = journal
        self._others = others
        self._started = False
        self._connected: Callable[[], bool] | None = None
        self._exchangers = MailExchangers(
            _SystemResolver(), reactor, random.shuffle, rooms.own_names(config),
            rooms.own_addresses(config),
        )
        self.numbers = JobNumbers(store, outlets.first_number(config))
        self._relays: dict[str, Relay] = {}
        self._applications: dict[str, ApplicationTarget] = {}
        self._targets: dict[str, ITarget] = {}
        plans = Plans.make(config)
        for relay in plans.relays:
            self._add_relay(relay)
        for application in plans.applications:
            self._add_application(application)
        self._show()
        self.runner = Runner(
            store, router, self._targets, bounce, reactor, random.random, os.urandom(OWNER_SIZE).hex(),
            rooms.schedule(config),
        )

    def start(self) -> None:
        """Begin to deliver."""
        self._started = True
        for application in self._applications.values():
            application.start()
        self.runner.start()

    def etrn(self, domain: str) -> Deferred[int]:
        """Try at once what waits for a domain (RFC 1985), whatever its lane; fires with how many deliveries."""
        committed: Deferred[Any] = self._store.commit(RetryNow(Selection(recipient=f"@{domain}")))
        return committed.addCallback(lambda receipts: receipts[0])

    async def try_relays(self) -> int:
        """Try at once what waits for relays; how many deliveries. Raises StoreError."""
        return sum([await self.runner.kick(target=name) for name in list(self._relays)])

    @property
    def busy(self) -> bool:
        """Whether anything is being delivered."""
        return self.runner.running > 0

    def wait_for(self, connected: Callable[[], bool] | None) -> None:
        """Let relays work only while `connected()`; None: always."""
        self._connected = connected
        self._show()

    def stop(self) -> Deferred[Any]:
        """Let attempts end, then close all connections and workers."""
        stopped: Deferred[Any] = self.runner.stop()
        return stopped.addBoth(lambda _: DeferredList([
            *(relay.close() for relay in self._relays.values()),
            *(application.close() for application in self._applications.values()),
        ]))

    def follow(self, config: Config, plans: Plans, journal: Journal | None = None,
               others: Mapping[str, ITarget] = NOTHING) -> None:
        """Work by a new configuration, of which `plans` were made."""
        old, self._config = self._config, config
        self._journal = journal
        renewed = [name for name, target in others.items() if self._others.get(name) is not target]
        self._others = others
        self.runner.schedule = rooms.schedule(config)
        changed = [*self._follow_relays(old, plans.relays), *self._follow_applications(old, plans.applications),
                   *renewed]
        self._show()
        for name in changed:
            self.runner.kick(target=name).addErrback(
                lambda failure: self._log.failure("what waits could not be made due", failure)
            )

    def _follow_relays(self, old: Config, plans: tuple[RelayPlan, ...]) -> list[str]:
        """The names of those that were there and are changed."""
        for name, relay in list(self._relays.items()):
            if self._config.relay.get(relay.plan.name) != old.relay.get(relay.plan.name):
                del self._relays[name]
                relay.retire().addErrback(lambda failure: self._log.failure("a relay did not close", failure))
        opened = [plan.name for plan in plans if self._add_relay(plan)]
        return [RELAY + name for name in opened if name in old.relay]

    def _follow_applications(self, old: Config, plans: tuple[ApplicationPlan, ...]) -> list[str]:
        """The names of those that were there and are changed, and of those that are there again."""
        wanted = {APPLICATION + plan.name: plan for plan in plans}
        for name in self._applications.keys() - wanted.keys():
            self._applications.pop(name).retire().addErrback(
                lambda failure: self._log.failure("an application did not end", failure)
            )
        new = self._config
        alike = old.receiver == new.receiver and old.command_tags == new.command_tags
        changed = []
        for name, plan in wanted.items():
            target = self._applications.get(name)
            if target is None:
                self._add_application(plan)
            elif alike and old.application[plan.name] == new.application[plan.name]:
                continue
            else:
                target.follow(plan)
            changed.append(name)
        return changed

    def _add_relay(self, plan: RelayPlan) -> bool:
        """Open a relay unless it is there; whether it was opened."""
        name = RELAY + plan.name
        if name in self._relays:
            return False
        self._relays[name] = Relay(plan, self._reactor, self._store, self._exchangers)
        return True

    def _add_application(self, plan: ApplicationPlan) -> None:
        target = ApplicationTarget(plan, self._reactor, self._store, self.numbers, self._bounce)
        self._applications[APPLICATION + plan.name] = target
        if self._started:
            target.start()

    def _show(self) -> None:
        """Let the runner see what there is now."""
        journal = self._journal
        self._targets.clear()
        gate = self._connected
        self._targets.update(
            self._relays if gate is None else {name: Gated(relay, gate) for name, relay in self._relays.items()}
        )
        self._targets.update(self._applications)
        self._targets.update(self._others)
        if journal is not None:
            for name in (*self._applications, RELAY + FORWARD):
                if name in self._targets:
                    self._targets[name] = Journalled(self._targets[name], journal)
