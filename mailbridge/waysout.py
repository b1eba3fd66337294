"""The ways out of a running bridge: its relays and the queue that works for them, made of the configuration.

Follows a new configuration without dropping what is under way: a relay that is changed or gone brings its attempts to
their end, and what waits for a changed one is tried at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.names.client import createResolver

from mailbridge.config import rooms
from mailbridge.config.model import Config
from mailbridge.interfaces import IBounce, IRouter, IStore
from mailbridge.queue.runner import Runner
from mailbridge.store.changes import RetryNow, Selection
from mailbridge.target.mx import MailExchangers
from mailbridge.target.relay import Relay, RelayPlan

OWNER_SIZE = 16


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


class WaysOut:
    """Relays by target name, and the runner that attempts what waits for them. `reactor` is Twisted's."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, store: IStore, router: IRouter, bounce: IBounce) -> None:
        random = SystemRandom()
        self._config = config
        self._reactor = reactor
        self._store = store
        self._exchangers = MailExchangers(
            _SystemResolver(), reactor, random.shuffle, rooms.own_names(config),
            rooms.own_addresses(config),
        )
        self._relays: dict[str, Relay] = {}
        for plan in rooms.relay_plans(config):
            self._add(plan)
        self.runner = Runner(
            store, router, self._relays, bounce, reactor, random.random, os.urandom(OWNER_SIZE).hex(),
            rooms.schedule(config),
        )

    def start(self) -> None:
        """Begin to deliver."""
        self.runner.start()

    def etrn(self, domain: str) -> Deferred[int]:
        """Try at once what waits for a domain (RFC 1985), whatever its lane; fires with how many deliveries."""
        committed: Deferred[Any] = self._store.commit(RetryNow(Selection(recipient=f"@{domain}")))
        return committed.addCallback(lambda receipts: receipts[0])

    def stop(self) -> Deferred[Any]:
        """Let attempts end, then close all connections."""
        stopped: Deferred[Any] = self.runner.stop()
        return stopped.addBoth(lambda _: DeferredList([relay.close() for relay in self._relays.values()]))

    def follow(self, config: Config, plans: tuple[RelayPlan, ...]) -> None:
        """Work by a new configuration, of which `plans` were made (`rooms.relay_plans`)."""
        old, self._config = self._config, config
        self.runner.schedule = rooms.schedule(config)
        wanted = {plan.name: plan for plan in plans}
        for name, relay in list(self._relays.items()):
            if config.relay.get(relay.plan.name) != old.relay.get(relay.plan.name):
                del self._relays[name]
                relay.retire().addErrback(lambda failure: self._log.failure("a relay did not close", failure))
        for plan in wanted.values():
            if self._add(plan) and plan.name in old.relay:
                self.runner.kick(target=self._name(plan)).addErrback(
                    lambda failure: self._log.failure("what waits could not be made due", failure)
                )

    def _add(self, plan: RelayPlan) -> bool:
        """Open a relay unless it is there; whether it was opened."""
        name = self._name(plan)
        if name in self._relays:
            return False
        self._relays[name] = Relay(plan, self._reactor, self._store, self._exchangers)
        return True

    @staticmethod
    def _name(plan: RelayPlan) -> str:
        return f"relay:{plan.name}"
