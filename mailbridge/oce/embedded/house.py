"""An embedded OCE with its listener and its ways to other tribes, made of a plan: for a bridge and for an OCE alone."""

from __future__ import annotations

import os
from random import SystemRandom
from typing import Any

from attrs import evolve, field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from mailbridge.accounts.throttle import Throttle
from mailbridge.edge.listeners import Listeners
from mailbridge.edge.transport import implicit_tls
from mailbridge.errors import StartError
from mailbridge.interfaces import IStore
from mailbridge.oce.embedded.destination import Members
from mailbridge.oce.embedded.federation import Peering
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.embedded.passwords import Passwords
from mailbridge.oce.embedded.settings import OCESettings, RemoteTribe
from mailbridge.oce.embedded.site import AskingTLS, OCEFactory
from mailbridge.oce.exchange import Exchange, Place
from mailbridge.queue.schedule import Schedule
from mailbridge.randomness import BulkRandom

PLACE = "oce.listen"
DRAIN_SECONDS = 10.0


@frozen
class TribePlan:
    """Another tribe, and where its OCE is; None for one that only sends to us."""

    tribe: RemoteTribe
    place: Place | None = None


@frozen
class OCEPlan:
    """`listen` is an endpoint; with `tls` it speaks HTTPS. `key` is the key of our OCE, None: the one in the store.

    The tribes of `settings` are those of `tribes`.
    """

    listen: str
    settings: OCESettings = OCESettings()
    tribes: tuple[TribePlan, ...] = ()
    tls: AskingTLS | None = None
    key: str | None = field(default=None, repr=False)
    schedule: Schedule = Schedule()


class OCEHouse:
    """One OCE over a store. `directory` knows its members, `checker` their passwords. Raises StartError."""

    _log = Logger()

    def __init__(self, plan: OCEPlan, store: IStore, directory: Members, checker: ICredentialsChecker,
                 throttle: Throttle, reactor: Any) -> None:
        peerings = {}
        for remote in plan.tribes:
            if remote.place is not None:
                try:
                    peerings[remote.tribe.name] = Peering(Exchange(reactor, remote.place), remote.tribe.secret)
                except ValueError as error:
                    raise StartError(f"oce.tribes.{remote.tribe.name}.url: {error}") from None
        settings = evolve(plan.settings, tribes=tuple(remote.tribe for remote in plan.tribes))
        self._plan = plan
        self._reactor = reactor
        self.oce = EmbeddedOCE(
            store, directory, Passwords(checker, throttle), reactor, settings, peerings, BulkRandom(os.urandom),
            SystemRandom().random, plan.key, plan.schedule,
        )
        self.factory = OCEFactory(self.oce.answer, settings, reactor)

    def listen(self, listeners: Listeners) -> None:
        """Open the port, then begin to work; who asks before that has succeeded is told to try again."""
        tls = self._plan.tls
        listeners.open(PLACE, self._plan.listen, self.factory if tls is None else implicit_tls(tls, self.factory))
        self.oce.start().addErrback(lambda failure: self._log.failure("the OCE could not start", failure))

    def stop(self) -> Deferred[Any]:
        """After the port was closed: answer what was asked, end what is under way."""
        drained = self.factory.stop()
        drained.addTimeout(DRAIN_SECONDS, self._reactor).addErrback(lambda _: None)
        return drained.addCallback(lambda _: DeferredList([self.oce.stop()], consumeErrors=True))
