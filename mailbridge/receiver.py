"""What `[receiver]` adds to a running bridge: its log, who the host names on client lists are, how its clients log in.

Everything that can fail is made before anything is changed (`make`), at the start and at a reload alike.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

from attrs import frozen
from twisted.logger import Logger, globalLogPublisher
from twisted.mail.smtp import IMessageDelivery

from mailbridge.accounts.foreign import foreign_login, load_checker, sends_as_himself
from mailbridge.accounts.login import Avatar, Login
from mailbridge.accounts.throttle import Throttle
from mailbridge.config import outlets, rooms
from mailbridge.config.model import Config
from mailbridge.edge.delivery import UserDelivery
from mailbridge.edge.hostnames import HostNames
from mailbridge.edge.smtp_listener import SMTPServerFactory
from mailbridge.logs.journal import Journal
from mailbridge.logs.log import Log
from mailbridge.routing.clients import Hosts
from mailbridge.routing.intake import Intake
from mailbridge.routing.table import Table


@frozen
class Made:
    """What a configuration needs: the log, its file open (None: there is none), and the login (None: nobody can)."""

    log: Log | None
    login: Login | None


class Receiver:
    """One for each bridge, also where `[receiver]` is empty. `reactor` is Twisted's."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, table: Table, intake: Intake, throttle: Throttle) -> None:
        self._config = config
        self._reactor = reactor
        self._table = table
        self._intake = intake
        self._throttle = throttle
        self._factory: SMTPServerFactory | None = None
        self._all: WeakSet[SMTPServerFactory] = WeakSet()
        self._made = Made(None, None)
        self._names = HostNames(reactor.nameResolver, reactor, self._follow_hosts)

    @property
    def journal(self) -> Journal | None:
        """What listener and targets write into."""
        return None if self._made.log is None else self._made.log.journal

    @property
    def login(self) -> Login | None:
        """How clients of its listener log in."""
        return self._made.login

    @property
    def hosts(self) -> Hosts:
        """What host names mean by now."""
        return self._names.hosts

    def make(self, config: Config) -> Made:
        """What `config` needs, part of it perhaps what is there already. Raises StartError."""
        old, name = self._made, config.receiver.authentication_lib
        login = None
        if name is not None:
            login = foreign_login(
                load_checker(name), self._delivery_for, self._throttle, config.hostname, os.urandom, self._reactor
            )
        plan = rooms.log_plan(config)
        if plan == rooms.log_plan(self._config) and old.log is not None:
            return Made(old.log, login)
        log = None if plan.silent else Log(plan, self._reactor, "receiver.logging_file_name")
        if log is not None:
            log.open()
        return Made(log, login)

    def follow(self, config: Config, made: Made) -> None:
        """Work by a configuration, for which `made` was made: at the start and at a reload."""
        self._config = config
        self._take(made)
        self._names.follow(outlets.host_names(config))
        self._tell()

    def stop(self) -> None:
        """Look no name up any more, and close the log."""
        self._names.stop()
        self._take(Made(None, None))

    def serve(self, factory: SMTPServerFactory) -> SMTPServerFactory:
        """Keep the factory of the receiver's listener up to date from now on."""
        self._factory = factory
        return self.introduce(factory)

    def introduce(self, factory: SMTPServerFactory) -> SMTPServerFactory:
        """Tell the factory of any listener who the host names on its lists are, from now on."""
        self._all.add(factory)
        self._tell()
        return factory

    def _take(self, made: Made) -> None:
        old, self._made = self._made, made
        if old.log is made.log:
            return
        if old.log is not None:
            globalLogPublisher.removeObserver(old.log.events)
            old.log.close()
        if made.log is not None:
            # While the bridge starts, events are kept and told a second time when the process's own log begins.
            self._reactor.callWhenRunning(self._listen, made.log)

    def _listen(self, log: Log) -> None:
        if log is self._made.log:
            globalLogPublisher.addObserver(log.events)

    def _tell(self) -> None:
        for factory in self._all:
            factory.hosts = self.hosts
        if self._factory is not None:
            self._factory.settings = rooms.receiver_settings(self._config, self.hosts)
            self._factory.login, self._factory.journal = self.login, self.journal

    def _follow_hosts(self, hosts: Hosts) -> None:
        self._table.follow_hosts(hosts)
        self._tell()

    def _delivery_for(self, address: str) -> Avatar:
        return IMessageDelivery, UserDelivery(self._intake, address, self._reactor, sends_as_himself), lambda: None
