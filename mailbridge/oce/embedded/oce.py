"""The embedded OCE at work: requests in, answers out, every deed done in the store before it is answered.

Inside a bridge it shares the bridge's store, users and password check; alone it has its own. What takes long, reading
large JSON and passwords, is done in threads. A message that was answered with MSGRCVD is in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.limits import KIB
from mailbridge.oce import codes, strictjson, usds
from mailbridge.oce.calls import Answer, write_answer
from mailbridge.oce.embedded.deeds import (
    APPLICATION_LANE,
    Acknowledge,
    AskForMember,
    Copy,
    Deed,
    Pull,
    Refused,
    Register,
    Send,
    refusal,
)
from mailbridge.oce.embedded.destination import Members
from mailbridge.oce.embedded.federation import Federation, Peering
from mailbridge.oce.embedded.flood import Flood
from mailbridge.oce.embedded.mailboxes import Mailboxes
from mailbridge.oce.embedded.passwords import Passwords
from mailbridge.oce.embedded.records import Records
from mailbridge.oce.embedded.registry import DEFAULT, KEY_OCTETS, Application, Registry, digest, new_key
from mailbridge.oce.embedded.sender import Request, proven
from mailbridge.oce.embedded.settings import OCESettings, RemoteTribe
from mailbridge.oce.embedded.tribe import RECEIVED, REPEATED, SEEN, Tribe, done, understand
from mailbridge.oce.exchange import is_loopback
from mailbridge.oce.seen import Seen
from mailbridge.oce.underway import UnderWay
from mailbridge.oce.usds import USDS
from mailbridge.queue.schedule import Schedule
from mailbridge.routing.access import AccessList
from mailbridge.store.changes import Accept, Message, User

LARGE = 256 * KIB
THREADS = 2
OPENING_SECONDS = 20.0
DRAIN_SECONDS = 5.0
OWNER_OCTETS = 16
MOST_APPLICATIONS = 50
"""Of one member: each is kept in the store."""


class EmbeddedOCE:
    """One OCE. `reactor` is Twisted's; `random(n)` gives n octets that cannot be guessed, `fraction()` is in 0..1.

    `peerings` says how the tribes of the settings are reached, by name. `wiki` spells answers as the wiki's samples do.
    """

    _log = Logger()

    def __init__(self, store: IStore, members: Members, passwords: Passwords, reactor: Any, settings: OCESettings,
                 peerings: Mapping[str, Peering], random: Callable[[int], bytes], fraction: Callable[[], float],
                 key: str | None = None, schedule: Schedule | None = None, wiki: bool = False) -> None:
        self.settings = settings
        self.wiki = wiki
        self.registry = Registry()
        self._members = members
        self._passwords = passwords
        self._reactor = reactor
        self._random = random
        self._given_key = key
        self._records = Records(store, random)
        self._seen = Seen(store, reactor, SEEN)
        owner = random(OWNER_OCTETS).hex()
        self.mailboxes = Mailboxes(store, reactor, random, owner, self._seen.note)
        self._federation = Federation(
            store, reactor, peerings, schedule or Schedule(), fraction, owner, self.mailboxes.read, self._notice,
            lambda accept: [self.on_waiting(each.destination) for each in accept.deliveries])
        self._pod = AccessList.parse(settings.pod)
        self._flood = Flood(settings.request_interval, settings.request_lock, reactor.seconds)
        self._registering = DeferredLock()
        self._threads = ThreadPool(0, THREADS, "oce-json")
        self.on_waiting: Callable[[str], object] = _nobody
        """Called with the name of an application's queue when something was put in."""
        self.tribe: Tribe | None = None
        self._opening = True
        self._early: list[Deferred[None]] = []
        self._answering = UnderWay()

    def start(self) -> Deferred[None]:
        """Read what is kept in the store, then begin to send. Fails with StoreError."""
        return Deferred.fromCoroutine(self._start())

    async def load(self) -> Tribe:
        """Read what is kept in the store. Raises StoreError."""
        key = self._given_key or await self._records.key()
        for application in await self._records.applications():
            self.registry.put(application)
        return Tribe(key, self.settings, self._members, self.registry, self._random)

    async def _start(self) -> None:
        try:
            self.tribe = await self.load()
        finally:
            self._end_of_opening()
        self._federation.start()
        self._seen.start()

    async def _opened(self) -> Tribe:
        """The tribe. Who asks before it is read, as at a reload, waits a little. Raises Refused."""
        if self._opening:
            early: Deferred[None] = Deferred()
            self._early.append(early)
            early.addTimeout(OPENING_SECONDS, self._reactor, onTimeoutCancel=lambda _, seconds: None)
            await early
        if self.tribe is None:
            raise Refused("INTERR", "the OCE is starting or stopping")
        return self.tribe

    def _end_of_opening(self) -> None:
        self._opening = False
        early, self._early = self._early, []
        for each in early:
            if not each.called:
                each.callback(None)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        if not self._threads.started:
            self._threads.start()
        return await deferToThreadPool(self._reactor, self._threads, work)

    def stop(self) -> Deferred[Any]:
        """Answer what was asked, end what is under way, and let another OCE hand out what was not acknowledged."""
        self._seen.stop()
        self._end_of_opening()
        answered = self._answering.ended(self._reactor, DRAIN_SECONDS)
        return DeferredList([answered, self._federation.stop()]).addCallback(lambda _: self._end())

    def _end(self) -> Deferred[Any]:
        if self._threads.started:
            self._threads.stop()
        return self.mailboxes.release().addErrback(
            lambda failure: self._log.warn("what was handed out waits for its claim to end: {why}", why=failure.value))

    # --- requests -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Deferred[bytes]:
        """The JSON text that answers a request. Fails only when it is cancelled; it may have been done then."""
        return self._answering.add(Deferred.fromCoroutine(self._answer(request)))

    async def _answer(self, request: Request) -> bytes:
        try:
            said = await self._judge(request)
        except Refused as refused:
            said = refused.answer
        except StoreError as error:
            self._log.warn("a request of {peer} was not done: {error}", peer=request.peer, error=error)
            said = refusal("INTERR", "nothing was done; try again")
        except CancelledError:
            raise
        except Exception:
            self._log.failure("a request of {peer}", peer=request.peer)
            said = refusal("FUNCERR", "nothing was done; try again")
        return said if isinstance(said, bytes) else strictjson.write(write_answer(said, self.wiki))

    async def _judge(self, request: Request) -> Answer | bytes:
        tribe = await self._opened()
        local = self._pod.allows(request.peer)
        tribes = self.settings.tribes
        if len(request.body) > LARGE:  # hashing takes its time too
            senders, wrong = await self._in_thread(lambda: proven(request, tribes, self._reactor.seconds()))
        else:
            senders, wrong = proven(request, tribes, self._reactor.seconds())
        if not local and not senders:
            raise Refused("INVKEY" if request.signature is not None else "PODEXT", wrong if tribes else "")
        if not senders and not is_loopback(request.peer):
            flood = self._flood.judge(request.peer)
            if flood is not None:
                return flood
        largest = self.settings.largest
        message: USDS | Answer
        if len(request.body) > LARGE:
            message = await self._in_thread(lambda: understand(request.body, largest))
        else:
            message = understand(request.body, largest)
        if isinstance(message, Answer):
            return message
        claimed = tribe.claimed(message.source)
        if claimed is not None and claimed not in senders:
            raise Refused("INVKEY", f"Source.OCE is not proven: {wrong}")
        if claimed is None and not local:
            raise Refused("PODEXT")
        return await self._do(tribe.judge(message, claimed), request, claimed)

    async def _do(self, deed: Answer | Deed, request: Request, sender: RemoteTribe | None) -> Answer | bytes:
        if isinstance(deed, Send):
            return await self._send(deed, len(request.body), request.peer)
        if isinstance(deed, Pull):
            return self._handed_out(await self.mailboxes.pull(deed.application, deed.most))
        if isinstance(deed, Acknowledge):
            await self.mailboxes.acknowledge(deed.application, deed.keys)
            return done(codes.REQUEST_PROCESSED)
        if isinstance(deed, Register):
            return await self._register(deed, request.peer)
        if isinstance(deed, AskForMember):
            await self._records.ask(deed)
            return done(codes.REQUEST_PROCESSED)
        return deed

    async def _send(self, deed: Send, size: int, peer: str) -> Answer:
        if size > LARGE:
            copies = await self._in_thread(lambda: _written(deed))
        else:
            copies = _written(deed)
        if not await self.mailboxes.put(copies, peer):
            return REPEATED
        for queue in {copy.destination for copy in deed.copies if copy.target == APPLICATION_LANE}:
            self.on_waiting(queue)
        return RECEIVED

    def _handed_out(self, messages: list[bytes]) -> Answer | bytes:
        if not messages:
            return done(codes.NULLSET)
        # Mesg comes last, and each message is JSON as it was stored: none of it is read again.
        empty = strictjson.write(write_answer(done(codes.REQUEST_PROCESSED, []), self.wiki))
        return empty[:-2] + b",".join(messages) + empty[-2:]

    # --- applications -------------------------------------------------------------------------------------------------

    async def _register(self, deed: Register, peer: str) -> Answer:
        await self._passwords.check(deed.member, deed.password, peer)
        await self._registering.acquire()
        try:
            app_key = new_key(self._random(KEY_OCTETS))
            before = self.registry.find(deed.member, deed.app_id)
            settings = self.settings
            operator = bool(settings.member) and self._is(settings.member, deed.member)
            if before is None and sum(each.member == deed.member for each in self.registry.all) >= MOST_APPLICATIONS:
                raise Refused("PERM", "the member has too many applications")
            # What was approved for one member was not approved for all.
            kept = before is not None and before.approved and (before.multiuser or not deed.multiuser)
            application = Application(
                before.number if before is not None else await self._records.number(),
                deed.app_id, deed.name, deed.member, digest(app_key),
                approved=kept or (settings.approve and operator),
                multiuser=deed.multiuser,
                values={**(before.values if before is not None else {}), **_defaults(deed)},
            )
            await self._keep(application)
        finally:
            self._registering.release()
        return done(codes.REQUEST_PROCESSED, [{"AppId": deed.app_id, "AppKey": app_key}])

    async def admit(self, app_id: str, name: str) -> str:
        """Register an application of the same operator, approved, in nobody's name and without a password; its AppKey.

        For the bridge that this OCE is embedded in. Each call makes a new key and voids the one before. What it was
        under another AppId is forgotten, and what waits there waits here. Raises StoreError.
        """
        app_key = new_key(self._random(KEY_OCTETS))
        before = self.registry.find(name, app_id)
        await self._keep(Application(
            before.number if before is not None else await self._records.number(), app_id, name, name, digest(app_key),
            approved=True, values=before.values if before is not None else {},
        ))
        for other in self.registry.all:
            if other.member == name and other.app_id != app_id:
                await self.mailboxes.hand_over(other.queue, f"{app_id}/{name}")
                await self._records.forget(other)
                self.registry.remove(other)
        return app_key

    def _is(self, name: str, member: str) -> bool:
        user = self._members.login(name)
        return user is not None and user.name == member

    async def _keep(self, application: Application) -> None:
        await self._records.keep(application)
        self.registry.put(application)

    def approve(self, name: str, approved: bool = True) -> Deferred[tuple[Application, ...]]:
        """Approve applications, or take that back: those with the number, the AppId or the `AppId/member` given.

        Fires with them as they are now.
        """
        return Deferred.fromCoroutine(self._approve(name, approved))

    async def _approve(self, name: str, approved: bool) -> tuple[Application, ...]:
        for application in self.registry.named(name):
            await self._keep(evolve(application, approved=approved))
        return self.registry.named(name)

    def enrol(self, name: str, member: str, values: Mapping[str, str]) -> Deferred[tuple[Application, ...]]:
        """Set the values that a member (or `Default`) has in applications, as `osaAppPullCfg` gives them out."""
        return Deferred.fromCoroutine(self._enrol(name, member, values))

    async def _enrol(self, name: str, member: str, values: Mapping[str, str]) -> tuple[Application, ...]:
        for application in self.registry.named(name):
            await self._keep(evolve(application, values={**application.values, member: dict(values)}))
        return self.registry.named(name)

    def member(self, name: str) -> User | None:
        """The member of that name."""
        return self._members.login(name)

    def requests(self) -> Deferred[dict[str, str]]:
        """Who asked to become a member: JSON texts by login."""
        return Deferred.fromCoroutine(self._records.requests())

    def forget_request(self, login: str) -> Deferred[None]:
        """The operator has dealt with a request."""
        return Deferred.fromCoroutine(self._records.forget_request(login))

    # --- what cannot be delivered to another tribe --------------------------------------------------------------------

    async def _notice(self, message: Message, octets: bytes, recipient: str, why: str) -> Accept | None:
        assert self.tribe is not None
        self._log.info("message {id} for {recipient} was given up: {why}", id=message.queue_id, recipient=recipient,
                       why=why)
        told = understand(octets)
        copy = self.tribe.notice(told, recipient, why) if isinstance(told, USDS) else None
        if copy is None:
            return None
        return await self.mailboxes.accept(copy, _octets(copy), "")


def _nobody(queue: str) -> None:
    """Nobody wants to know."""


def _octets(copy: Copy) -> bytes:
    return strictjson.write(usds.write(copy.message))


def _written(deed: Send) -> list[tuple[Copy, bytes]]:
    return [(copy, _octets(copy)) for copy in deed.copies]


def _defaults(deed: Register) -> dict[str, Mapping[str, str]]:
    return {DEFAULT: deed.defaults} if deed.defaults else {}
