"""The bridge as an application of its OCE: registration, messages there and back, and the manners of H6.

It knows one OCE and one AppKey, which is kept in the store. It keeps the OCE's request interval, stops at KILL until it
is released, and remembers how each kind of call went, in words without secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailbridge.errors import MailbridgeError
from mailbridge.interfaces import IStore
from mailbridge.oce import codes, strictjson, usds
from mailbridge.oce.calls import Answer, call, items, read_answer
from mailbridge.oce.dialect import Dialect, Registration
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.strictjson import BadJSON, Json
from mailbridge.oce.usds import USDS, Source, USDSError
from mailbridge.store.changes import Remember

APP_KEY = "oce:appkey"
CONNECTIONS = 8
LARGE = 256 * 1024
"""Octets of JSON that are read in a thread: the reactor has better things to do."""


class Stopped(MailbridgeError):
    """The OCE sent KILL: nothing is sent until the operator releases it."""


class IExchange(Protocol):
    """One JSON text there, one back (`oce.exchange.Exchange`)."""

    def exchange(self, octets: bytes, headers: Mapping[str, str] | None = None) -> Deferred[bytes]:
        """Fails with ExchangeError."""


class Aside(Protocol):
    """Runs a function in a thread."""

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Fires with what it returns."""


@frozen
class Identity:
    """Who we are to the OCE. `interval` is the least time in seconds from one request to the next; 0: no such rule."""

    member: str
    coterie: str = "1"
    app_id: str = "SMTP:mailbridge"
    dialect: Dialect = Dialect()
    interval: float = 0.0


@define
class Standing:
    """How one kind of call stands: seconds since 1970, counts, and the last result in words."""

    tried: float = 0.0
    succeeded: float = 0.0
    calls: int = 0
    failures: int = 0
    result: str = "not yet tried"


@frozen
class Unreadable:
    """A pulled message that is no USDS: as it came, and what is wrong. `msg_key` is empty when not even that is known.
    """

    values: Json = field(repr=False)
    fault: str
    msg_key: str


class OCEClient:
    """Calls to one OCE. `aside(work)` runs what would keep the reactor too long."""

    _log = Logger()

    def __init__(self, identity: Identity, exchange: IExchange, store: IStore, clock: IReactorTime,
                 aside: Aside) -> None:
        self.identity = identity
        self.exchange = exchange
        self.standings: dict[str, Standing] = {}
        self.killed = ""
        self._store = store
        self._clock = clock
        self._aside = aside
        self._turns = DeferredSemaphore(1 if identity.interval else CONNECTIONS)
        self._next = 0.0

    @property
    def app_key(self) -> str:
        """The key of our registration, empty before it."""
        return self._store.recall(APP_KEY) or ""

    def source(self, member: str = "") -> Source:
        """Who sends: a member through this application."""
        identity = self.identity
        return Source(member or identity.member, identity.coterie, identity.app_id, self.app_key)

    async def register(self, said: Registration) -> Answer:
        """Register; the key is in the store when it returns. Raises ExchangeError, Stopped, StoreError."""
        dialect = self.identity.dialect
        source = evolve(self.source(said.member), app_key="")
        answer = await self._call("register", dialect.register, dialect.arguments(said), source)
        if answer.succeeded:
            key = dialect.app_key(answer)
            if not key:
                raise ExchangeError("the OCE registered us and gave no AppKey: register again")
            await self._store.commit(Remember(APP_KEY, key))
        return answer

    async def push(self, message: USDS) -> Answer:
        """Put a message into the OCE. Raises ExchangeError, Stopped."""
        return await self._ask("push", message)

    async def pull(self, limit: int) -> list[USDS | Unreadable]:
        """At most `limit` messages that wait for us, oldest first. Raises ExchangeError, Stopped, Refused."""
        answer = await self._call("pull", self.identity.dialect.pull, {"Max": limit})
        _check(answer)
        try:
            return [_message(values) for values in items(answer)]
        except USDSError as error:
            raise ExchangeError(f"the OCE's answer makes no sense: {error}") from None

    async def acknowledge(self, msg_keys: Sequence[str]) -> None:
        """Tell that these are safe with us. Raises ExchangeError, Stopped, Refused."""
        _check(await self._call("acknowledge", self.identity.dialect.acknowledge, {"MsgKeys": list(msg_keys)}))

    async def pull_config(self) -> list[dict[str, Json]]:
        """The values that members gave this application. Raises ExchangeError, Stopped, Refused."""
        answer = await self._call("configuration", self.identity.dialect.pull_config, {})
        _check(answer)
        return items(answer)

    def release(self) -> bool:
        """Forget a KILL; whether there was one."""
        was, self.killed = bool(self.killed), ""
        return was

    async def _call(self, kind: str, func: str, arguments: Mapping[str, Json], source: Source | None = None) -> Answer:
        return await self._ask(kind, call(func, arguments, self.source() if source is None else source))

    async def _ask(self, kind: str, message: USDS) -> Answer:
        if self.killed:
            raise Stopped(self.killed)
        standing = self.standings.setdefault(kind, Standing())
        large = sum(len(each.octets) for each in message.objects) + len(message.detail) > LARGE
        octets = await self._aside(lambda: _written(message)) if large else _written(message)
        await self._turns.acquire()
        try:
            await self._wait()
            if self.killed:
                raise Stopped(self.killed)
            standing.tried = self._clock.seconds()
            standing.calls += 1
            body = await self.exchange.exchange(octets)
            answer: Answer = await self._aside(lambda: _read(body)) if len(body) > LARGE else _read(body)
        except ExchangeError as error:
            standing.failures += 1
            standing.result = str(error)
            raise
        finally:
            self._turns.release()
        standing.result = str(answer)
        if answer.succeeded:
            standing.succeeded = self._clock.seconds()
        else:
            standing.failures += 1
        if answer.num == codes.KILL:
            self.killed = "the OCE told us to stop (-13 KILL); `mailbridge queue release oce` or a restart goes on"
            self._log.error("{text}", text=self.killed)
        return answer

    async def _wait(self) -> None:
        """Keep the request interval."""
        now = self._clock.seconds()
        if self.identity.interval and self._next > now:
            turn: Deferred[None] = Deferred(lambda _: timer.cancel())
            timer = self._clock.callLater(self._next - now, turn.callback, None)
            await turn
        self._next = max(now, self._next) + self.identity.interval


class Refused(MailbridgeError):
    """The OCE answered with a failure."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(str(answer))


def _check(answer: Answer) -> None:
    if not answer.succeeded:
        raise Refused(answer)


def _written(message: USDS) -> bytes:
    return strictjson.write(usds.write(message))


def _read(body: bytes) -> Answer:
    try:
        return read_answer(strictjson.read(body))
    except (BadJSON, USDSError) as error:
        raise ExchangeError(f"the OCE's answer makes no sense: {error}") from None


def _message(values: Json) -> USDS | Unreadable:
    try:
        return usds.read(values)
    except USDSError as error:
        key = values.get("MsgKey") if isinstance(values, Mapping) else None
        return Unreadable(values, str(error), key if isinstance(key, str) and key.isalnum() else "")
