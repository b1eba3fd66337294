"""The bridge as an application of its OCE: registration, messages there and back, and the manners of H6.

It knows one OCE and one AppKey, which is kept in the store. It keeps the OCE's request interval, stops at KILL until it
is released, and remembers how each kind of call went, in words without secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailbridge.clock import rfc5322_date
from mailbridge.errors import MailbridgeError
from mailbridge.interfaces import IStore
from mailbridge.oce import codes, strictjson, usds
from mailbridge.oce.calls import Answer, call, items
from mailbridge.oce.dialect import Dialect, Registration
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.strictjson import Json
from mailbridge.oce.tasks import LARGE, BadAnswer, Found, Open, Opened, Result, Task, perform
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import Source, USDSError
from mailbridge.store.changes import Remember

APP_KEY = "oce:appkey"
MEMBER = "oce:member"
"""Who registered us, when it was somebody else than the configuration says."""
_SECRET = "oce:secret"
CONNECTIONS = 8
LARGEST_OTHER = 64 * 1024
"""Octets of an answer that has no messages in it."""
_MASK = "***"


class Stopped(MailbridgeError):
    """The OCE sent KILL: nothing is sent until the operator releases it."""


class Refused(MailbridgeError):
    """The OCE answered with a failure."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(str(answer))


class IExchange(Protocol):
    """One JSON text there, one back (`oce.exchange.Exchange`)."""

    def exchange(self, octets: bytes, headers: Mapping[str, str] | None = None) -> Deferred[bytes]:
        """Fails with ExchangeError."""


class IAside(Protocol):
    """Does large tasks where they keep nobody waiting (`oce.aside.Aside`)."""

    def __call__(self, task: Task) -> Deferred[Result]:
        """Fires with the result of the task; fails with what `perform` raises, or HelperLost."""


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


class OCEClient:
    """Calls to one OCE. `aside` does what would keep the reactor too long."""

    _log = Logger()

    def __init__(self, identity: Identity, exchange: IExchange, store: IStore, clock: IReactorTime,
                 aside: IAside) -> None:
        self.identity = identity
        self.exchange = exchange
        self.aside = aside
        self.standings: dict[str, Standing] = {}
        self.killed = ""
        self.killed_at = 0.0
        self._store = store
        self._clock = clock
        self._turns = DeferredSemaphore(1 if identity.interval else CONNECTIONS)
        self._next = 0.0
        self._app_key = ""
        self._member: str | None = None

    @property
    def app_key(self) -> str:
        """The key of our registration, empty before it."""
        if not self._app_key:
            self._app_key = self._store.recall(APP_KEY) or ""
        return self._app_key

    @property
    def member(self) -> str:
        """In whose name we ask: that of who registered us."""
        if self._member is None:
            self._member = self._store.recall(MEMBER) or ""
        return self._member or self.identity.member

    def source(self, member: str = "") -> Source:
        """Who sends: a member through this application."""
        identity = self.identity
        return Source(member or self.member, identity.coterie, identity.app_id, self.app_key)

    async def register(self, said: Registration) -> Answer:
        """Register; the key is in the store when it returns. Raises ExchangeError, Stopped, StoreError."""
        dialect = self.identity.dialect
        source = evolve(self.source(said.member), app_key="")
        answer = await self._call("register", dialect.register, dialect.arguments(said), source, said.password)
        if answer.succeeded:
            key = dialect.app_key(answer)
            if not key:
                raise ExchangeError("the OCE registered us and gave no AppKey: register again")
            await self.registered(key, said.member)
        return answer

    async def registered(self, app_key: str, member: str = "") -> None:
        """Keep a key, and the member it was given to when it is not ours. Raises StoreError."""
        await self._store.commit(Remember(APP_KEY, app_key), Remember(MEMBER, member or None))
        self._app_key, self._member = app_key, member

    async def push(self, octets: bytes) -> Answer:
        """Put a message, written as JSON, into the OCE. Raises ExchangeError, Stopped."""
        return (await self._ask("push", octets, Open(b""))).answer

    async def pull(self, limit: int, tribes: Tribes) -> tuple[Found, ...]:
        """At most `limit` messages that wait for us, oldest first. Raises ExchangeError, Stopped, Refused."""
        asked = _written(self.identity.dialect.pull, {"Max": limit}, self.source())
        opened = await self._ask("pull", asked, Open(b"", limit, rfc5322_date(self._clock.seconds()), tribes))
        _check(opened.answer)
        return opened.found

    async def acknowledge(self, msg_keys: Sequence[str]) -> None:
        """Tell that these are safe with us. Raises ExchangeError, Stopped, Refused."""
        _check(await self._call("acknowledge", self.identity.dialect.acknowledge, {"MsgKeys": list(msg_keys)}))

    async def pull_config(self) -> list[dict[str, Json]]:
        """The values that members gave this application. Raises ExchangeError, Stopped, Refused."""
        answer = await self._call("configuration", self.identity.dialect.pull_config, {})
        _check(answer)
        try:
            return items(answer)
        except USDSError as error:
            raise _senseless(error) from None

    def release(self) -> bool:
        """Forget a KILL; whether there was one."""
        was, self.killed = bool(self.killed), ""
        return was

    async def _call(self, kind: str, func: str, arguments: Mapping[str, Json], source: Source | None = None,
                    secret: str = "") -> Answer:
        octets = _written(func, arguments, self.source() if source is None else source)
        return (await self._ask(kind, octets, Open(b""), secret)).answer

    async def _ask(self, kind: str, octets: bytes, reading: Open, secret: str = "") -> Opened:
        if self.killed:
            raise Stopped(self.killed)
        standing = self.standings.setdefault(kind, Standing())
        await self._turns.acquire()
        try:
            await self._wait()
            if self.killed:
                raise Stopped(self.killed)
            standing.tried = self._clock.seconds()
            standing.calls += 1
            opened = await self._open(evolve(reading, body=await self.exchange.exchange(octets)))
        except ExchangeError as error:
            standing.failures += 1
            standing.result = str(error)
            raise
        finally:
            self._turns.release()
        answer = self._without_secrets(opened.answer, secret)
        standing.result = str(answer)
        if answer.succeeded:
            standing.succeeded = self._clock.seconds()
        else:
            standing.failures += 1
        if answer.num == codes.KILL:
            self.killed = "the OCE told us to stop (-13 KILL); `mailbridge oce release` or a restart goes on"
            self.killed_at = self._clock.seconds()
            self._log.error("{text}", text=self.killed)
        return evolve(opened, answer=answer)

    async def _open(self, reading: Open) -> Opened:
        """Read what came. Raises ExchangeError."""
        try:
            opened: Any
            if reading.limit and len(reading.body) > LARGE:
                opened = await self.aside(reading)
            elif len(reading.body) <= LARGEST_OTHER:
                opened = perform(reading)
            else:
                raise BadAnswer(f"{len(reading.body)} octets, at most {LARGEST_OTHER} are taken of this one")
        except BadAnswer as error:
            raise _senseless(error) from None
        assert isinstance(opened, Opened)
        return opened

    def _without_secrets(self, answer: Answer, secret: str) -> Answer:
        """An answer whose words do not say what we sent: they go into logs and bounces."""
        if not isinstance(answer.mesg, str):
            return answer
        words = answer.mesg
        for each in (secret, self.app_key):
            words = words.replace(each, _MASK) if each else words
        return evolve(answer, mesg=words)

    async def _wait(self) -> None:
        """Keep the request interval."""
        now = self._clock.seconds()
        if self.identity.interval and self._next > now:
            turn: Deferred[None] = Deferred(lambda _: timer.cancel())
            timer = self._clock.callLater(self._next - now, turn.callback, None)
            await turn
        self._next = max(now, self._next) + self.identity.interval


async def store_secret(store: IStore, random: Callable[[int], bytes]) -> bytes:
    """The secret that the keys of messages are made with; made at the first call. Raises StoreError."""
    known = store.recall(_SECRET)
    if known is None:
        known = random(32).hex()
        await store.commit(Remember(_SECRET, known))
    return bytes.fromhex(known)


def _check(answer: Answer) -> None:
    if not answer.succeeded:
        raise Refused(answer)


def _senseless(error: MailbridgeError) -> ExchangeError:
    return ExchangeError(f"the OCE's answer makes no sense: {error}")


def _written(func: str, arguments: Mapping[str, Json], source: Source) -> bytes:
    return strictjson.write(usds.write(call(func, arguments, source)))
