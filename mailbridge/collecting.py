"""The fetcher of a running bridge: made of its configuration, restarted when that has changed, its log, its connection.

Everything that can fail is made before anything is changed (`make`), at the start and at a reload alike. A restart ends
the sessions of the old fetcher and touches no others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, globalLogPublisher

from mailbridge.admin import fetch
from mailbridge.admin.status import Alarm
from mailbridge.config.fetching import FetchPlan, fetch_plan
from mailbridge.config.model import Config
from mailbridge.connected import Connected
from mailbridge.edge.sending import Manner
from mailbridge.errors import StartError
from mailbridge.fetch.bridgeway import BridgeWay
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.fetcher import Fetcher
from mailbridge.fetch.link import Link, run_command
from mailbridge.fetch.login import opener
from mailbridge.fetch.preview import preview
from mailbridge.fetch.serverway import ServerWay, Surroundings
from mailbridge.fetch.session import Opener
from mailbridge.fetch.spool import Spool
from mailbridge.fetch.transaction import LocalServer
from mailbridge.fetch.wayin import WayIn
from mailbridge.interfaces import IStore
from mailbridge.logs.file import always
from mailbridge.logs.journal import Events, Journal
from mailbridge.logs.line import clean
from mailbridge.logs.log import Log
from mailbridge.logs.recent import Recent
from mailbridge.pop3.upstream import UpstreamLimits
from mailbridge.routing.intake import Intake
from mailbridge.waysout import WaysOut

NAMESPACE = "mailbridge.fetch"
LETTERS = "EWIT"

_dialogue = Logger(namespace=f"{NAMESPACE}.dialogue")  # of the module: in a class it would get the name of the class


@frozen
class Made:
    """What a configuration needs; `spool` (locked) only where mail goes to an SMTP server. All None: nothing."""

    plan: FetchPlan | None = None
    log: Log | None = field(default=None, eq=False)
    spool: Spool | None = field(default=None, eq=False)


class Collecting:
    """One for each bridge, also where nothing is collected. `reactor` is Twisted's.

    `ways` are the relays that are tried when a connection is made; None: there are none.
    """

    _log = Logger()

    def __init__(self, reactor: Any, store: IStore, intake: Intake, ways: WaysOut | None = None) -> None:
        self._reactor = reactor
        self._store = store
        self._intake = intake
        self._ways = ways
        self._made = Made()
        self._fetcher: Fetcher | None = None
        self._opener: Opener | None = None
        self._link: Link | None = None
        self._connected: Connected | None = None
        self._one = DeferredLock()
        self._started = False
        self._since = 0.0
        self._recent: Recent | None = None
        self._verbose = 0

    # --- the configuration --------------------------------------------------------------------------------------------

    def make(self, config: Config) -> Made:
        """What `config` needs, part of it perhaps what is there already. Raises StartError."""
        plan, old = fetch_plan(config), self._made
        if plan is None or plan == old.plan:
            return Made() if plan is None else old
        try:
            plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"popfetch.work_path: cannot make {plan.folder}: {error.strerror}") from None
        log = old.log
        if log is None or old.plan is None or plan.log != old.plan.log:
            log = Log(plan.log, self._reactor, "popfetch.log_path", always, only=(NAMESPACE,))
            log.open()
        spool = None
        if plan.server is not None:
            spool = old.spool
            if spool is None or old.plan is None or plan.folder != old.plan.folder:
                spool = Spool(plan.folder, self._in_thread)
                spool.lock()
        return Made(plan, log, spool)

    def follow(self, made: Made) -> None:
        """Work by a configuration, for which `made` was made: at the start and at a reload."""
        old, self._made = self._made, made
        if made.plan == old.plan:
            if made.log is not None:
                made.log.reopen()
            return
        stopped = self._fetcher
        self._build(made)
        if stopped is not None and self._fetcher is not None:  # a reload is no answer to a row of duds
            self._fetcher.stopped, self._fetcher.duds_in_a_row = stopped.stopped, stopped.duds_in_a_row
        if made.log is not None and made.log is not old.log:
            # While the bridge starts, events are kept and told a second time when the process's own log begins.
            self._reactor.callWhenRunning(self._listen, made.log)
        replacing: Deferred[None] = self._one.run(lambda: Deferred.fromCoroutine(self._replace(stopped, old)))
        replacing.addErrback(lambda failure: self._log.failure("the fetcher could not be replaced", failure))

    def _build(self, made: Made) -> None:
        """A fetcher that does nothing yet."""
        plan = made.plan
        if plan is None:
            self._fetcher = self._opener = self._link = self._connected = None
        else:
            logins = {account.key: login for account, login in plan.accounts}
            self._opener = opener(self._reactor, logins, UpstreamLimits(), self._transcript)
            self._link = Link(plan.hooks, self._run, self._come_up)
            self._connected = Connected(self._link, plan, self._reactor, self._ways)
            accounts = [account for account, _ in plan.accounts]
            self._fetcher = Fetcher(accounts, plan.settings, self._opener, self._way(plan, made.spool), self._store,
                                    self._reactor, self._link, self._note)
        if self._ways is not None:
            self._ways.wait_for(self._is_connected if plan is not None and plan.waits_for_link else None)

    def _way(self, plan: FetchPlan, spool: Spool | None) -> WayIn:
        duds = Duds(plan.folder, self._in_thread, self._reactor.seconds)
        if plan.server is None:
            return BridgeWay(self._intake, duds)
        assert spool is not None
        server = LocalServer(self._reactor, plan.server, Manner(plan.hostname))
        return ServerWay(Surroundings(
            server, spool, duds, self._store, plan.hostname, self._reactor.seconds, os.urandom, self._caretaker))

    async def _replace(self, stopped: Fetcher | None, old: Made) -> None:
        """End what was there, then begin; what is no longer used is closed."""
        if stopped is not None:
            await stopped.stop()
        if old.spool is not None and old.spool is not self._made.spool:
            old.spool.release()
        if old.log is not None and old.log is not self._made.log:
            globalLogPublisher.removeObserver(old.log.events)
            old.log.close()
        if self._started and self._fetcher is not None:
            self._since = self._reactor.seconds()
            self._fetcher.start()

    # --- start and stop -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Collect from now on."""
        self._started = True
        self._since = self._reactor.seconds()
        if self._fetcher is not None:
            self._fetcher.start()

    def stop(self) -> Deferred[Any]:
        """Fires when all sessions have ended, each in 10 seconds, and the log is closed."""
        self._started = False
        if self._connected is not None:
            self._connected.stop()
        stopped, old, self._made = self._fetcher, self._made, Made()
        self._fetcher = None
        return self._one.run(lambda: Deferred.fromCoroutine(self._replace(stopped, old)))

    # --- what the fetcher asks ----------------------------------------------------------------------------------------

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)

    def _run(self, argv: Any, environment: dict[str, str], seconds: float) -> Deferred[int]:
        return run_command(self._reactor, argv, environment, seconds)

    def _come_up(self) -> None:
        if self._connected is not None:
            self._connected.begin()

    def _is_connected(self) -> bool:
        return self._link is None or self._link.connected

    def _caretaker(self, name: str) -> str | None:
        plan = self._made.plan
        for account, _ in plan.accounts if plan is not None else ():
            if account.name == name and account.addressing.caretaker is not None:
                return account.addressing.caretaker.text
        return None

    def _transcript(self, name: str) -> Callable[[str], object] | None:
        plan = self._made.plan
        if not self._verbose and (plan is None or not plan.verbose):
            return None
        return lambda line: _dialogue.debug("{account}: {line}", account=name, line=line)

    def _note(self, letter: str, text: str) -> None:
        """A line of the log for each message; it does not go into the process's own."""
        if self._made.log is not None:
            self._made.log.journal.note(letter, text)
        if self._verbose and self._recent is not None:
            self._recent.write(self._reactor.seconds(), letter, clean(text))

    def _listen(self, log: Log) -> None:
        if log is self._made.log:
            globalLogPublisher.addObserver(log.events)

    # --- what the operator asks (admin.fetch.Fetching) ----------------------------------------------------------------

    def status(self) -> dict[str, Any] | None:
        """How it goes; None where nothing is configured."""
        return self._fetcher.status() if self._fetcher is not None else None

    def names(self) -> tuple[str, ...]:
        """All accounts."""
        return tuple(account.name for account, _ in self._made.plan.accounts) if self._made.plan is not None else ()

    async def now(self, names: Container[str] | None, verbose: bool) -> dict[str, Any]:
        """Collect at once."""
        await self._one.run(succeed, None)  # a fetcher that is being replaced ends first
        assert self._fetcher is not None
        if not verbose:
            return await self._fetcher.now(names)
        recent = self._recent = self._recent or Recent()
        events = Events(Journal(self._reactor, [(LETTERS, recent)]), (NAMESPACE,))
        globalLogPublisher.addObserver(events)
        self._verbose += 1
        try:
            return await self._fetcher.now(names)
        finally:
            self._verbose -= 1
            globalLogPublisher.removeObserver(events)

    def resume(self) -> None:
        """Go on after too many duds."""
        if self._fetcher is not None:
            self._fetcher.resume()

    async def preview(self, names: Container[str] | None) -> list[dict[str, Any]]:
        """What a collection would do, account by account; the connection is made for it."""
        plan, link, open_account = self._made.plan, self._link, self._opener
        assert plan is not None and link is not None and open_account is not None
        intake = self._intake if plan.server is None else None
        if not await link.take():
            return []
        try:
            return [
                await preview(account, open_account, self._store, intake, self._reactor.seconds)
                for account, _ in plan.accounts if names is None or account.name in names
            ]
        finally:
            await link.give_back()

    def lines(self, after: int) -> tuple[list[str], int]:
        """The lines of verbose collections."""
        return self._recent.after(after) if self._recent is not None else ([], 0)

    def alarms(self) -> tuple[Alarm, ...]:
        """What keeps mail from being collected."""
        plan = self._made.plan
        if plan is None or not self._started:
            return ()
        periods = {account.name: account.interval or plan.settings.period for account, _ in plan.accounts}
        return fetch.alarms(self.status(), periods, self._since, self._reactor.seconds())


