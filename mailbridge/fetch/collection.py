"""Collecting one account: sessions, listings, many messages at once, and a delete only after the commit.

Retrieving, storing and deleting overlap: while the store syncs some messages, others are on the wire. What failed is
known when the session is over, when nothing is under way any more; so the ledger is always read after the last commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailbridge.errors import StoreError
from mailbridge.fetch.account import Account
from mailbridge.fetch.hand import Hand
from mailbridge.fetch.ledger import Entry, Ledger, content_key, uid_key
from mailbridge.fetch.plan import Action, Item, plan
from mailbridge.fetch.poison import Poison
from mailbridge.fetch.session import Opener, Session, both
from mailbridge.fetch.tally import Tally
from mailbridge.fetch.wayin import End, Fate, Known, Stop, WayIn
from mailbridge.interfaces import IStore
from mailbridge.limits import MIB
from mailbridge.pop3.failure import Kind, UpstreamError

WINDOW = 128
"""Messages between RETR and commit: enough to fill the time of a sync."""
MOST_RECONNECTS = 6
QUIT_TIME = 10.0
"""Seconds that a stop leaves to what is under way, and to QUIT."""


Note = Callable[[str, str], object]
"""Takes a line of a log: the letter of its level and its text (`logs.journal.Journal.note`)."""


class Collection:
    """One account over all its cycles. `told(fate)` hears what became of each message.

    `note(letter, text)` takes a line of the log for each, as a journal does; events of the process's own log would cost
    a tenth of the time.
    """

    log = Logger()

    def __init__(
        self, account: Account, opener: Opener, way: WayIn, store: IStore, clock: IReactorTime,
        told: Callable[[Fate], object], note: Note | None = None,
    ) -> None:
        self.account = account
        self.tally = Tally(account.name, str(account.upstream), account.user)
        self._opener = opener
        self._way = way
        self._store = store
        self._clock = clock
        self._told = told
        self._note = note
        self._ledger = Ledger(store, account.key)
        self._poison = Poison(clock.seconds)
        self._opening: Deferred[Any] | None = None
        self._session: Session | None = None
        self._error: Exception | None = None
        self._blamed: Item | None = None
        self._contents: set[str] = set()
        self._hand = Hand(self._broken)
        self._last_call: IDelayedCall | None = None
        self._stopping = False
        self._wire: DeferredLock | None = DeferredLock() if way.one_by_one else None
        """Held while a command is on its way, once commands may no longer be sent ahead of answers."""

    # --- from outside -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin nothing more; what is under way has 10 seconds to end well."""
        self._stopping = True
        if self._opening is not None:
            self._opening.cancel()
        if self._session is not None and self._last_call is None:
            self._last_call = self._clock.callLater(QUIT_TIME, self._session.abort)

    async def run(self) -> None:
        """Collect all there is. Raises UpstreamError, Stop or StoreError; what was done until then is done."""
        self._stopping = False
        self.tally.begin(self._clock.seconds())
        try:
            await self._sessions()
        except CancelledError:
            if not self._stopping:
                raise
        except (UpstreamError, Stop, StoreError) as error:
            self.tally.error = str(error)
            self.tally.count("failures")
            raise
        finally:
            self.tally.end(self._clock.seconds())
            self.log.info("{account}: {counts}", account=self.account.name, counts=self.tally.now.text)

    async def _sessions(self) -> None:
        """Session after session, while one was cut short on purpose or by one message."""
        reconnects = 0
        again = True
        while again and not self._stopping:
            ahead = self._wire is None
            try:
                again = await self._one_session()
            except UpstreamError as error:
                if ahead and self._wire is not None:
                    self.log.warn("{account}: {error}", account=self.account.name, error=str(error))
                    continue
                item = self._blamed
                if item is None or reconnects >= MOST_RECONNECTS or self._stopping:
                    raise
                reconnects += 1
                self._failure(item, error)

    # --- one session --------------------------------------------------------------------------------------------------

    async def _one_session(self) -> bool:
        """Whether there should be another one at once."""
        self._error = self._blamed = None
        await self._ledger.load()
        self._opening = self._opener(self.account)
        try:
            session: Session = await self._opening
        finally:
            self._opening = None
        self._session = session
        try:
            sizes, uids = await both(session.list(), session.uidl())
            self.tally.now.listed = max(len(sizes), len(uids or ()))
            more = await self._work(session, sizes, uids)
            if isinstance(self._error, UpstreamError):
                raise self._error
            await self._quit(session)
            if self._error is not None:
                raise self._error
            if not more and not self._stopping:
                await self._prune(sizes, uids)
            return more
        finally:
            self._session = None
            session.abort()
            call, self._last_call = self._last_call, None
            if call is not None and call.active():
                call.cancel()

    async def _work(self, session: Session, sizes: Mapping[int, int], uids: Mapping[int, str] | None) -> bool:
        """All messages of a listing, as many at once as the way in allows. Whether some are left for the next."""
        account, tally = self.account, self.tally
        window = 1 if self._way.one_by_one else WINDOW
        fetched = 0
        more = False
        self._contents = set()
        tally.now.left = tally.now.too_large = tally.now.poison = 0
        for item, action in plan(sizes, uids, self._ledger.get, account, self._clock.seconds(), self._poison):
            if self._stopping or self._error is not None:
                break
            if action is Action.FETCH:
                if account.expunge and fetched >= account.expunge:
                    more = True
                    break
                fetched += 1
                self._hand.begin(self._fetch(session, item))
            elif action is Action.DELETE:
                self._hand.begin(self._delete(session, item))
            else:
                self._leave(item, action)
            await self._hand.below(window)
        await self._hand.below(1)
        return more

    def _broken(self, failure: Failure) -> None:
        """Nothing but UpstreamError, Stop and StoreError should come here; a bug must not hang the session."""
        error = failure.value
        if not isinstance(error, UpstreamError | Stop | StoreError):
            self.log.failure("{account}: a fault on this side", failure, account=self.account.name)
            error = Stop(f"a fault on this side: {type(error).__name__}")
        if self._error is None:
            self._error = error

    # --- one message --------------------------------------------------------------------------------------------------

    async def _fetch(self, session: Session, item: Item) -> None:
        """RETR, commit, DELE."""
        now = self._clock.seconds()
        entries: list[tuple[str, Entry]] = []

        def change(digest: str) -> Any:
            entries[:] = [(item.key or content_key(digest), Entry(item.size, now, self.account.keep, digest))]
            return self._ledger.change(*entries[0])

        def already(digest: str) -> bool:
            if item.key is None:
                self._contents.add(content_key(digest))
            entry = self._ledger.get(item.key or content_key(digest))
            if entry is None or entry.digest != digest:
                return False
            change(digest)
            return True

        taking = self._way.take(self.account, Known(item.name, already, change))
        try:
            octets = await self._ask(session.retrieve, item.number, taking.write, self._limit(item))
            self._compare(session, item, octets)
            if not octets and item.size:  # a fault of its disk, perhaps: it is not deleted for that
                raise UpstreamError(Kind.REFUSED, f"RETR {item.number}: the server sent nothing of it")
        except UpstreamError as error:
            taking.abort()
            if error.kind is Kind.REFUSED:
                self._failure(item, error)
                return
            if self._error is None and error.kind is not Kind.CLOSED:
                self._blamed = item
            raise
        except BaseException:
            taking.abort()
            raise
        self._poison.clear(item.name)
        self.tally.count("fetched")
        self.tally.count("octets", octets)
        fate = await taking.finish()
        if fate.end is End.KNOWN and entries:
            await self._store.commit(self._ledger.change(*entries[0]))
        for key, entry in entries:
            self._ledger.add(key, entry)
        self._tell(item, fate)
        if fate.end is not End.LATER and not self.account.keep:
            await self._delete(session, item)

    async def _ask(self, question: Callable[..., Deferred[Any]], *arguments: Any) -> Any:
        """Ask the server: at once, or when it has answered everything before."""
        if self._wire is None:
            return await question(*arguments)
        return await self._wire.run(question, *arguments)

    def _compare(self, session: Session, item: Item, octets: int) -> None:
        """A message of another size than listed may be another message: the server may have left an answer out.

        Raises UpstreamError when commands were sent ahead; from then on they are not, and sizes do not matter.
        """
        if octets != item.size and self._wire is None and "PIPELINING" in session.capabilities:
            self._wire = DeferredLock()
            session.abort()
            raise UpstreamError(Kind.CLOSED, f"{item.name} has {octets} octets and was listed with {item.size}: once "
                                             "more, one command at a time")

    async def _delete(self, session: Session, item: Item) -> None:
        try:
            await self._ask(session.delete, item.number)
        except UpstreamError as error:
            if error.kind is not Kind.REFUSED:
                raise
            self.log.warn("{account}: {item} was delivered and could not be deleted: {error}",
                          account=self.account.name, item=item.name, error=str(error))
            return
        self.tally.count("deleted")

    def _tell(self, item: Item, fate: Fate) -> None:
        self.tally.ended_as(fate.end)
        if fate.end is End.DUD:
            self.log.error("{account}: {item}: {end}: {text}", account=self.account.name, item=item.name,
                           end=fate.end.value, text=fate.text)
        elif self._note is not None:
            self._note("I", f"{self.account.name}: {item.name}: {fate.end.value}: {fate.text}")
        self._told(fate)

    def _leave(self, item: Item, action: Action) -> None:
        name = {Action.LEAVE: "left", Action.TOO_LARGE: "too_large", Action.POISON: "poison"}[action]
        setattr(self.tally.now, name, getattr(self.tally.now, name) + 1)
        if action is not Action.LEAVE:
            self.log.warn("{account}: {item} is passed over: {why} ({size} octets)", account=self.account.name,
                          item=item.name, why=action.value, size=item.size)

    def _limit(self, item: Item) -> int:
        """Octets that may come: a message without end must end somewhere, also when LIST had no size for it."""
        if self.account.size_limit is not None:
            return self.account.size_limit
        return min(1024 * MIB, max(64 * MIB, 2 * item.size))

    def _failure(self, item: Item, error: UpstreamError) -> None:
        times = self._poison.add(item.name)
        self.tally.count("failures")
        self.tally.error = f"{item.name}: {error}"
        self.log.error("{account}: {item} could not be retrieved ({times} times by now): {error}",
                       account=self.account.name, item=item.name, times=times, error=str(error))

    # --- the end of a session -----------------------------------------------------------------------------------------

    async def _quit(self, session: Session) -> None:
        """QUIT makes the deletions true. Whether it does, the next listing shows; the ledger knows what was delivered.
        """
        try:
            await session.quit()
        except UpstreamError as error:
            self.log.warn("{account}: QUIT: {error}: what was delivered and is still there next time will be deleted "
                          "then", account=self.account.name, error=str(error))

    async def _prune(self, sizes: Any, uids: Any) -> None:
        """Forget what the server no longer has, where its lists agree with each other."""
        counts = self.tally.now
        if uids is None:
            kinds, keys = "c", self._contents
            agree = not (counts.too_large or counts.poison or counts.failures)
        else:
            kinds, keys = "uhc", self._contents.union(map(uid_key, uids.values()))
            agree = len(uids) == len(sizes) and not (getattr(sizes, "malformed", 0) or getattr(uids, "malformed", 0))
        if agree:
            await self._ledger.forget(self._ledger.prune(keys, self._clock.seconds(), kinds))
