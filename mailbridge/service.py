"""The bridge put together: the one place that knows every room, and has no logic of its own.

Bottom up: the store, the directory, the router, the intake, logins, then the listeners and the control socket. What
fails at the start is a StartError of one line; `reload` takes a new configuration without dropping a session.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure

from mailbridge import __version__, certificate
from mailbridge.accounts.checkers import Checker, ScramVerifiers
from mailbridge.accounts.login import Avatar, Login
from mailbridge.accounts.pool import BoundedPool
from mailbridge.accounts.realm import Realm
from mailbridge.accounts.throttle import Throttle
from mailbridge.accounts.verified import KEY_SIZE, VerifiedLogins
from mailbridge.admin import control
from mailbridge.admin.operations import Operations
from mailbridge.admin.status import Facts
from mailbridge.admin.supervision import supervisor
from mailbridge.collecting import Collecting
from mailbridge.config import outlets, rooms, tribal
from mailbridge.config.load import load
from mailbridge.config.model import Config
from mailbridge.config.warnings import warnings
from mailbridge.edge.delivery import UserDelivery
from mailbridge.edge.listeners import Listeners
from mailbridge.edge.mailbox import MaildropMailbox
from mailbridge.edge.pop3 import POP3ServerFactory
from mailbridge.edge.session import Sessions
from mailbridge.edge.smtp_listener import SMTPServerFactory
from mailbridge.edge.transport import CurrentTLS, implicit_tls
from mailbridge.edges import Edge, Edges
from mailbridge.ocebridge import OCEBridge
from mailbridge.queue.bounce import Bounce
from mailbridge.randomness import BulkRandom
from mailbridge.receiver import Receiver
from mailbridge.routing.directory import Directory
from mailbridge.routing.intake import Intake
from mailbridge.routing.table import Table
from mailbridge.store import room
from mailbridge.store.changes import Remember, User
from mailbridge.store.sqlite import open_store
from mailbridge.target.maildrop import Maildrop
from mailbridge.waysout import Plans, WaysOut


def _give_up(maildrop: Maildrop) -> None:
    """The end of a POP3 login."""
    maildrop.close()


_RESTART_ONLY = ("hostname", "state", "store")
DAY = 86400.0
SECRET_SIZE = 32
OWNER_SIZE = 16
DRAIN_SECONDS = 10.0
"""How long a stop waits for messages in progress."""


class Bridge(Service):
    """One bridge. `reactor` is Twisted's; `on_death(Failure)` hears that the store's writer died: exit at once then."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, on_death: Callable[[Failure], object]) -> None:
        self.config = config
        self.reactor = reactor
        self.started_at = 0.0
        self.listeners = Listeners(reactor)
        self._on_death = on_death
        self._edges = Edges(self.listeners)
        self._closing: list[Callable[[], object]] = []

    # --- the start ----------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open everything. Raises StartError, and then nothing stays open."""
        config = self.config
        self.tls = CurrentTLS(certificate.load_context(config.tls.certificate, config.tls.key)) if config.tls else None
        self.store = open_store(
            config.state, self.reactor, database=config.store.url.removeprefix("sqlite:"),
            min_free=config.store.min_free, on_death=self._on_death,
        )
        try:
            self._build()
            self._edges.open(self._wanted())
            self._control = control.listen(self.reactor, config.state, self.operations.run)
        except BaseException:
            self._give_back()
            raise
        self.sessions.start()
        self.ways.start()
        if self.oce is not None:
            self.oce.start()
        self.collecting.start()
        little_room = room.warning(config.state, config.store.min_free)
        if little_room is not None:
            self._log.warn("{text}", text=little_room)
        daily = LoopingCall(self._look_at_certificate)
        daily.clock = self.reactor
        daily.start(DAY).addErrback(lambda failure: self._log.failure("the certificate could not be read", failure))
        self._closing.append(daily.stop)
        self.started_at = self.reactor.seconds()
        Service.startService(self)

    def _build(self) -> None:
        config, reactor = self.config, self.reactor
        users = config.users
        self.directory = Directory(
            users.domains, users.tag_separator, users.postmaster, tribal.member_domain(config)
        )
        self.directory.replace(self.store.people_now())
        self._closing.append(self.store.watch("people", self._people_changed))
        self.table = Table(
            rooms.routing_rules(config), self.directory, (), rooms.ways_out(config), outlets.claims(config)
        )
        random = BulkRandom(os.urandom)
        self.bounce = Bounce(self.store, self.table, rooms.bounce_settings(config), reactor, random)
        self.intake = Intake(
            self.store, self.table, self.directory, config.hostname, config.limits, reactor, random,
            rooms.submission_rules(config), self.bounce,
        )
        self.sessions = Sessions(reactor, config.limits)
        self._closing.append(self.sessions.stop)
        self.throttle = Throttle(reactor.seconds, config.limits.wrong_passwords)
        pool = BoundedPool(reactor)
        self._closing.append(pool.stop)
        self.checker = Checker(self.directory, pool, VerifiedLogins(os.urandom(KEY_SIZE), reactor.seconds))
        self.login = Login(
            Portal(Realm(self.directory, self._delivery_for, self._mailbox_for), [self.checker]), self.throttle,
            config.hostname, os.urandom, ScramVerifiers(self.directory, self._kept_secret("scram")),
            self.directory.keeps_secrets,
        )

        self.receiver = Receiver(config, reactor, self.table, self.intake, self.throttle)
        self._closing.append(self.receiver.stop)
        self.receiver.follow(config, self.receiver.make(config))
        self.oce = self._make_oce(config)
        self._route_oce()
        others = self.oce.targets if self.oce is not None else {}
        self.ways = WaysOut(config, reactor, self.store, self.table, self.bounce, self.receiver.journal, others)
        self.collecting = Collecting(reactor, self.store, self.intake, self.ways)
        self.collecting.follow(self.collecting.make(config))
        self.operations = Operations(
            self.store, self.directory, self.table, pool, reactor.seconds, self._edges.trusts,
            self.ways.numbers.upcoming, self, lambda: self.oce, self.collecting,
        )

    def _make_oce(self, config: Config) -> OCEBridge | None:
        """What `[oce]` asks for. Raises StartError."""
        if config.oce is None:
            return None
        return OCEBridge(
            config, self.reactor, self.store, self.directory, self.checker, self.throttle, os.urandom,
            SystemRandom().random, self._kept_secret("oce"), self.table.follow_oce,
        )

    def _route_oce(self) -> None:
        """Let the router and the intake know the OCE that there is."""
        self.table.follow_oce(self.oce.way if self.oce is not None else None)
        self.intake.checks = {self.oce.target.name: self.oce.target.check} if self.oce is not None else {}

    def _replace_oce(self, new: OCEBridge | None) -> None:
        """Another `[oce]` takes over; what waits for the OCE waits on."""
        old, self.oce = self.oce, new
        if old is None or new is None or not new.take_listener(old):
            self._edges.close(tribal.PLACE)
        self._route_oce()
        ended = old.stop() if old is not None else succeed(None)
        if new is not None:
            ended.addBoth(lambda _: new.start())

    def _kept_secret(self, name: str) -> bytes:
        """32 random octets that stay the same over restarts."""
        key = f"secret:{name}"
        kept = self.store.recall(key)
        if kept is None:
            kept = os.urandom(SECRET_SIZE).hex()
            self.store.commit(Remember(key, kept)).addErrback(
                lambda failure: self._log.failure("a secret could not be kept", failure)
            )
        return bytes.fromhex(kept)

    def _delivery_for(self, user: User) -> Avatar:
        return IMessageDelivery, UserDelivery(self.intake, user.name, self.reactor), lambda: None

    def _mailbox_for(self, user: User) -> Avatar:
        maildrop = Maildrop(self.store, user.id, self.reactor, os.urandom(OWNER_SIZE).hex())
        return IMailbox, MaildropMailbox(maildrop), partial(_give_up, maildrop)

    # --- what the operator asks ---------------------------------------------------------------------------------------

    def reload(self) -> list[str]:
        """Read the configuration again and follow it without dropping a session; notes on restarts and new doubts.

        Raises ConfigError or StartError: everything that can fail is made before anything is changed.
        """
        old, new = self.config, load(Path(self.config.source))
        options = certificate.load_context(new.tls.certificate, new.tls.key) if new.tls is not None else None
        rules, submission = rooms.routing_rules(new), rooms.submission_rules(new)
        plans, receiver, collecting = Plans.make(new), self.receiver.make(new), self.collecting.make(new)
        oce = self._make_oce(new) if new.oce != old.oce else self.oce
        changed = [key for key in _RESTART_ONLY if getattr(old, key) != getattr(new, key)]
        notes = [f"{key} changes only with a restart" for key in changed]
        if (old.tls is None) != (new.tls is None):
            notes.append("[tls] comes or goes only with a restart")
        notes += [warning for warning in warnings(new) if warning not in warnings(old)]

        self.config = new
        users = new.users
        self.directory.reconfigure(
            users.domains, users.tag_separator, users.postmaster, tribal.member_domain(new)
        )
        self.table.reconfigure(rules, (), rooms.ways_out(new), outlets.claims(new), oce.way if oce else None)
        self.intake.limits = self.sessions.limits = new.limits
        self.intake.rules = submission
        self.bounce.settings = rooms.bounce_settings(new)
        self.receiver.follow(new, receiver)
        self.ways.follow(new, plans, self.receiver.journal, oce.targets if oce is not None else {})
        self.collecting.follow(collecting)
        self.throttle.allowed = new.limits.wrong_passwords
        if self.tls is not None and options is not None:
            self.tls.options = options
        if oce is not self.oce:
            self._replace_oce(oce)
        return notes + self._edges.follow(self._wanted())

    def facts(self) -> Facts:
        """What `mailbridge status` is told."""
        days = None
        if self.config.tls is not None:
            days = certificate.days_left(self._described(), self.reactor.seconds())
        return Facts(
            version=__version__,
            hostname=self.config.hostname,
            pid=os.getpid(),
            started=self.started_at,
            listeners=tuple(f"{listener.place} {listener.endpoint}" for listener in self.listeners.all),
            sessions={"all": len(self.sessions)},
            min_free=self.config.store.min_free,
            certificate_days=days,
            supervisor=supervisor(os.environ, os.getpid()),
            alarms=(*self.collecting.alarms(), *(self.oce.alarms() if self.oce is not None else ())),
            embedded=self.oce is not None and self.oce.embedded is not None,
        )

    def _described(self) -> certificate.Description:
        assert self.config.tls is not None
        return certificate.read(self.config.tls.certificate)

    def _look_at_certificate(self) -> None:
        """Say in the log, at the start and once a day, that the certificate is about to expire."""
        if self.config.tls is not None:
            text = certificate.warning(self._described(), self.reactor.seconds())
            if text:
                self._log.warn("{text}", text=text)

    def _people_changed(self) -> None:
        self.store.people().addCallbacks(
            self.directory.replace, lambda failure: self._log.failure("users could not be read again", failure)
        )

    # --- listeners ----------------------------------------------------------------------------------------------------

    def _wanted(self) -> dict[str, Edge]:
        """Every listener that the configuration asks for, by its place."""
        config, tls = self.config, self.tls
        wrap = None if tls is None else partial(implicit_tls, tls)
        wanted: dict[str, Edge] = {}
        for place, smtp in rooms.smtp_places(config):
            settings: Any = rooms.smtp_settings(config, place, smtp)
            wanted[place] = Edge(smtp.listen, smtp.tls, settings, self._smtp_factory, wrap)
        for place, pop3 in rooms.pop3_places(config):
            wanted[place] = Edge(pop3.listen, pop3.tls, rooms.pop3_settings(config, pop3), self._pop3_factory, wrap)
        if config.receiver.listens:
            settings = rooms.receiver_settings(config, self.receiver.hosts)
            wanted[rooms.RECEIVER] = Edge(config.receiver.listen, False, settings, self._receiver_factory)
        return {**wanted, **self.oce.edges(tls)} if self.oce is not None else wanted

    def _smtp_factory(self, settings: Any, implicit: bool) -> SMTPServerFactory:
        return self.receiver.introduce(SMTPServerFactory(
            settings, self.sessions, self.reactor, self.intake, self.login, self.tls, implicit, self.ways.etrn
        ))

    def _receiver_factory(self, settings: Any, implicit: bool) -> SMTPServerFactory:
        return self.receiver.serve(SMTPServerFactory(
            settings, self.sessions, self.reactor, self.intake, tls=self.tls, implicit_tls=implicit, etrn=self.ways.etrn
        ))

    def _pop3_factory(self, settings: Any, implicit: bool) -> POP3ServerFactory:
        return POP3ServerFactory(settings, self.sessions, self.reactor, os.urandom, self.login, self.tls, implicit)

    # --- the end ------------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[Any]:
        """Refuse new clients, let messages in progress end, close the store."""
        Service.stopService(self)
        drained = self.sessions.goodbye()
        drained.addTimeout(DRAIN_SECONDS, self.reactor).addErrback(lambda _: None)
        silent: Deferred[Any] = maybeDeferred(self._control.stopListening)
        talking = self.oce.stop() if self.oce is not None else succeed(None)
        rooms_end = [self.ways.stop(), self.collecting.stop(), talking]
        quiet: list[Deferred[Any]] = [self.listeners.close_all(), drained, silent, *rooms_end]
        return DeferredList(quiet).addCallback(lambda _: self._give_back())

    def _give_back(self) -> Deferred[None]:
        for close in self._closing:
            close()
        self._closing.clear()
        self.listeners.close_all()
        closed: Deferred[None] = self.store.close()
        return closed
