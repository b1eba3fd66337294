"""The OCE's side of a running bridge: the client and, where the configuration says so, the embedded OCE itself.

One of these lives as long as one `[oce]`: when a reload changes that table, the service makes another. The embedded OCE
shares the store, the users and the password check of the bridge, which speaks with it without a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from mailbridge.accounts.throttle import Throttle
from mailbridge.address import Address
from mailbridge.admin.plain import plain
from mailbridge.admin.status import Alarm
from mailbridge.config import rooms, tribal
from mailbridge.config.model import Config, OCESettings
from mailbridge.edge.transport import CurrentTLS, implicit_tls
from mailbridge.edges import Edge
from mailbridge.interfaces import IStore, ITarget
from mailbridge.oce import codes
from mailbridge.oce.aside import Aside
from mailbridge.oce.calls import Answer
from mailbridge.oce.client import OCEClient
from mailbridge.oce.collector import KEYS, Collector, Recipients
from mailbridge.oce.dialect import Registration
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.embedded.passwords import Passwords
from mailbridge.oce.embedded.sender import Request
from mailbridge.oce.embedded.site import AskingTLS, OCEFactory
from mailbridge.oce.exchange import Exchange
from mailbridge.oce.pullinfo import PullInfo, pullinfo
from mailbridge.oce.seen import Seen
from mailbridge.oce.senders import Senders
from mailbridge.oce.tribes import Tribes
from mailbridge.routing.directory import Directory
from mailbridge.routing.tribes import OCEWay
from mailbridge.store.changes import RetryNow, Selection, User
from mailbridge.target.oce import OCETarget

NAME = "(bridge)"
"""In whose name the bridge is registered with its own OCE: no user can be called so, and register in its place."""
EMBEDDED = "embedded"
DRAIN_SECONDS = 5.0


class Inside:
    """Exchanges with the OCE in this very process."""

    def __init__(self, oce: EmbeddedOCE) -> None:
        self._oce = oce

    def exchange(self, octets: bytes, headers: Mapping[str, str] | None = None) -> Deferred[bytes]:
        """See `oce.client.IExchange`."""
        return self._oce.answer(Request(octets))


class OCEBridge:
    """Made of a configuration with `[oce]`. `secret` are octets of the store that nobody else knows.

    `follow(way)` is called with the OCE as the router is to know it, when that changes.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, store: IStore, directory: Directory, checker: Any,
                 throttle: Throttle, random: Callable[[int], bytes], fraction: Callable[[], float], secret: bytes,
                 follow: Callable[[OCEWay], object]) -> None:
        assert config.oce is not None
        self.settings: OCESettings = config.oce
        self._config = config
        self._reactor = reactor
        self._store = store
        self._directory = directory
        self._follow = follow
        self._own_key = self.settings.key or ""
        self.embedded: EmbeddedOCE | None = None
        self._exchange: Exchange | None = None
        self._served: OCEFactory | None = None
        if self.settings.embedded:
            self._passwords = Passwords(checker, throttle)
            self._peerings = tribal.peerings(self.settings, reactor)
            self.embedded = EmbeddedOCE(
                store, directory, self._passwords, reactor, tribal.embedded_settings(self.settings), self._peerings,
                random, fraction, self.settings.key, rooms.schedule(config),
            )
            exchange: Any = Inside(self.embedded)
        else:
            exchange = self._exchange = Exchange(reactor, tribal.place(self.settings))
        self._aside = Aside(reactor)
        self.client = OCEClient(tribal.identity(self.settings, config.hostname), exchange, store, reactor, self._aside)
        self.target = OCETarget(
            self.client, store, self._tribes, Senders(directory.login, self._owner, config.hostname), secret, reactor
        )
        self._seen = Seen(store, reactor, KEYS)
        self.collector = Collector(
            self.client, store, Recipients(self._member, self._postmaster), self._tribes, config.hostname, reactor,
            random, self.settings.interval, self._seen.note,
        )
        if self.embedded is not None:
            self.embedded.on_waiting = lambda _queue: self.collector.wake()

    # --- what others need ---------------------------------------------------------------------------------------------

    @property
    def way(self) -> OCEWay:
        """The OCE as the router knows it."""
        return tribal.way(self.settings, self._own_key)

    @property
    def targets(self) -> dict[str, ITarget]:
        """By the name in routes."""
        return {self.target.name: self.target}

    def edges(self, tls: CurrentTLS | None) -> dict[str, Edge]:
        """The listener of the embedded OCE, for other applications and tribes."""
        oce = self.embedded
        if oce is None:
            return {}
        wrap = None if tls is None else partial(implicit_tls, AskingTLS(tls))
        return {tribal.PLACE: Edge(self.settings.listen, self.settings.tls, oce.settings, self._factory, wrap)}

    def _factory(self, settings: Any, _tls: bool) -> OCEFactory:
        assert self.embedded is not None
        self._served = OCEFactory(self.embedded.answer, settings, self._reactor)
        return self._served

    def take_listener(self, other: OCEBridge) -> bool:
        """Serve what the embedded OCE of `other` serves, if it is to be the same port; whether it is."""
        mine, there = self.settings, other.settings
        if self.embedded is None or other._served is None or (mine.listen, mine.tls) != (there.listen, there.tls):
            return False
        self._served, other._served = other._served, None
        self._served.answer = self.embedded.answer
        return True

    def start(self) -> None:
        """Begin; the embedded OCE first, as the client speaks with it."""
        self._seen.start()
        ready: Deferred[None] = Deferred.fromCoroutine(self._open()) if self.embedded is not None else succeed(None)
        ready.addCallbacks(
            lambda _: self.collector.start(), lambda failure: self._log.failure("the OCE did not start", failure)
        )

    async def load(self) -> None:
        """Read what the operator's commands need, and begin nothing. Raises StoreError."""
        if self.embedded is not None:
            self._own_key = (await self.embedded.load()).key

    async def _open(self) -> None:
        oce = self.embedded
        assert oce is not None
        await oce.start()
        assert oce.tribe is not None
        self._own_key = oce.tribe.key
        self._follow(self.way)
        await self._admit()

    async def _admit(self) -> None:
        """Make the bridge known to its own OCE, unless it is: a new key voids the one that requests go out with now."""
        assert self.embedded is not None
        known = self.embedded.registry.by_key(self.client.app_key)
        if known is not None and known.app_id == self.client.identity.app_id and known.member == NAME:
            return
        key = await self.embedded.admit(self.client.identity.app_id, NAME)
        await self.client.registered(key)

    def stop(self) -> Deferred[Any]:
        """Answer what was asked, then end what is under way; what waits stays."""
        self._seen.stop()
        if self._served is None:
            return self._end()
        drained = self._served.stop()
        drained.addTimeout(DRAIN_SECONDS, self._reactor).addErrback(lambda _: None)
        return drained.addCallback(lambda _: self._end())

    def _end(self) -> Deferred[Any]:
        quiet = DeferredList([self.collector.stop(), self.target.close()], consumeErrors=True)
        return quiet.addCallback(lambda _: self._close())

    def _close(self) -> Deferred[Any]:
        ending: list[Deferred[Any]] = [self._aside.close()]
        if self._exchange is not None:
            ending.append(self._exchange.close())
        if self.embedded is not None:
            ending += [self.embedded.stop(), *(peer.exchange.close() for peer in self._peerings.values())]
        return DeferredList(ending, consumeErrors=True)

    # --- what the operator asks ---------------------------------------------------------------------------------------

    async def register(self, member: str, password: str) -> Answer:
        """Register with the OCE. Our own one only checks the password.

        Raises ExchangeError, Stopped, StoreError, and Refused of the embedded one.
        """
        if self.embedded is not None:
            await self._passwords.check(member, password, "127.0.0.1")
            await self._admit()
            return Answer(codes.REQUEST_PROCESSED, mesg="the bridge is known to its own OCE")
        said = Registration(member, password, self.settings.app_id, self._config.hostname,
                            tribal.smtp_port(self._config), int(self.settings.interval))
        answer = await self.client.register(said)
        if answer.succeeded:
            await self._go_on()
        return answer

    def pullinfo(self, waiting: int) -> PullInfo:
        """How it stands. `waiting` deliveries wait for the OCE."""
        url = self.settings.url or f"{EMBEDDED}, tribe {self.settings.name} with the key {self._own_key}"
        return pullinfo(self.client, self.collector, url, waiting)

    def alarms(self) -> tuple[Alarm, ...]:
        """What keeps mail from going and coming, for `mailbridge status`."""
        client, collector = self.client, self.collector
        found = [Alarm(plain(client.killed), client.killed_at)] if client.killed else []
        if collector.since and collector.fault != client.killed:
            text = f"nothing comes from the OCE: {plain(collector.fault, 300)}; `mailbridge pullinfo` tells more"
            found.append(Alarm(text, collector.since))
        return tuple(found)

    async def release(self) -> bool:
        """Go on after a KILL; whether there was one. Raises StoreError."""
        released = self.client.release()
        await self._go_on()
        return released

    async def _go_on(self) -> None:
        """What waits is tried at once, also where the lane had paused."""
        self.collector.wake()
        await self._store.commit(RetryNow(Selection(target=self.target.name)))

    # --- who is who ---------------------------------------------------------------------------------------------------

    def _tribes(self) -> Tribes:
        return tribal.tribes(self.settings, self._own_key, (*self._directory.domains, self._config.hostname))

    def _member(self, name: str) -> User | None:
        return self._directory.login(name.removesuffix(f"@{tribal.MEMBER_DOMAIN}"))

    def _postmaster(self) -> User | None:
        found = self._directory.find(Address("postmaster"))
        return found.users[0] if found is not None else None

    def _owner(self, address: Address) -> User | None:
        user = self._directory.login(address.text)
        return user if user is not None and self._directory.owns(user, address) else None
