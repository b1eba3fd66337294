"""Fetched mail into the bridge itself: a sibling of `routing.intake` for mail that nobody can be refused.

The header decides (see `decision`); after it the octets go where they are wanted as they come. All copies of a message
and the ledger's entry are one commit, and a dud is on the disk before it: only after that may the message be deleted.
"""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredList, succeed

from mailbridge.content import Content
from mailbridge.envelope import Envelope
from mailbridge.errors import StoreError
from mailbridge.fetch import notice
from mailbridge.fetch.account import Account
from mailbridge.fetch.decision import Copy, Decider, Decision
from mailbridge.fetch.duds import Duds, DudWriter
from mailbridge.fetch.wayin import DIGEST, End, Fate, Known, Stop
from mailbridge.interfaces import IContentWriter
from mailbridge.message import header
from mailbridge.received import maildrop_size, received_header
from mailbridge.routing.intake import Intake
from mailbridge.routing.route import MAILDROP
from mailbridge.store.changes import Accept, Queued

MOST_PUT_OFF = 5
"""A recipient who cannot be served for now so many times counts as refused."""
MOST_REMEMBERED = 10_000


class BridgeWay:
    """The way in. `intake` lends its store, router, directory, names and limits; messages are fetched side by side."""

    one_by_one = False

    def __init__(self, intake: Intake, duds: Duds) -> None:
        self.intake = intake
        self.duds = duds
        self.put_off: dict[str, int] = {}

    def take(self, account: Account, known: Known) -> Arriving:
        """A message is coming."""
        return Arriving(self, account, known)

    def resume(self) -> Deferred[Fate | None]:
        """Nothing is ever left behind."""
        return succeed(None)

    def rest(self) -> Deferred[None]:
        """There are no connections."""
        return succeed(None)

    def cut(self) -> None:
        """A commit does not take long."""

    def wait(self, name: str) -> None:
        """A message is put off once more."""
        if name not in self.put_off and len(self.put_off) >= MOST_REMEMBERED:
            del self.put_off[next(iter(self.put_off))]
        self.put_off[name] = self.put_off.get(name, 0) + 1


@define
class _Written:
    """A copy on its way into the store."""

    copy: Copy
    queue_id: str
    writer: IContentWriter


class Arriving:
    """One message on its way in. The octets of its header, and a little of its body, are held until it is decided."""

    def __init__(self, way: BridgeWay, account: Account, known: Known) -> None:
        self._way = way
        self._account = account
        self._known = known
        self._decider = Decider(way.intake, account)
        self._digest = hashlib.sha256()
        self._held = b""
        self._searched = 0
        self._decision: Decision | None = None
        self._written: list[_Written] = []
        self._dud: DudWriter | None = None

    # --- the octets ---------------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> Deferred[Any] | None:
        """See Taking."""
        self._digest.update(octets)
        if self._decision is not None:
            return self._pass_on(octets)
        self._held += octets
        end = header.end_of_header(self._held, self._searched)
        most = self._way.intake.limits.header_size
        if end > most:
            end = -1
        if end < 0:
            self._searched = len(self._held)
            if len(self._held) <= most:
                return None
        elif len(self._held) - end < notice.PEEK:
            return None
        return self._decide(end, False)

    def _decide(self, end: int, whole: bool) -> Deferred[Any] | None:
        """Enough is there: decide, open what it goes to, and write what was held."""
        held, self._held = self._held, b""
        name = self._known.name
        final = self._way.put_off.get(name, 0) >= MOST_PUT_OFF
        self._decision = decision = self._decider.decide(held, end, whole, name, final)
        body = held[end + 2:] if end >= 0 else b""
        waiting = []
        try:
            for copy in decision.copies:
                written = self._open(copy)
                only = next(iter(copy.routes)) if len(copy.routes) == 1 else None
                intake = self._way.intake
                trace = received_header(self._decider.origin(False), intake.hostname, written.queue_id, only)
                waiting.append(written.writer.write(trace + copy.frame.before + body))
            if decision.fate.end is End.DUD:
                self._dud = self._way.duds.begin()
                self._dud.write(held)
        except (StoreError, OSError) as error:
            raise self._failed(error) from None
        return _all(waiting)

    def _open(self, copy: Copy) -> _Written:
        intake = self._way.intake
        self._written.append(_Written(copy, intake.queue_id(), intake.store.content()))
        return self._written[-1]

    def _pass_on(self, octets: bytes) -> Deferred[Any] | None:
        try:
            if self._dud is not None:
                self._dud.write(octets)
            if len(self._written) == 1:
                return self._written[0].writer.write(octets)
            return _all([written.writer.write(octets) for written in self._written])
        except (StoreError, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> Stop:
        self.abort()
        return Stop(f"a message could not be stored: {error}")

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> Deferred[Fate]:
        """See Taking."""
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> Fate:
        way = self._way
        digest = self._digest.hexdigest()[:DIGEST]
        if self._known.already(digest):
            self.abort()
            return Fate(End.KNOWN)
        behind = self._decide(header.end_of_header(self._held), True) if self._decision is None else None
        if behind is not None:
            await behind
        assert self._decision is not None
        fate = self._decision.fate
        if fate.end is End.LATER:
            way.wait(self._known.name)
            return fate
        try:
            accepts = [await self._accept(written) for written in self._written]
            if self._dud is not None:
                await self._dud.keep(self._account.name, fate.text)
            await way.intake.store.commit(*accepts, self._known.change(digest))
        except (StoreError, OSError) as error:
            raise self._failed(error) from None
        way.put_off.pop(self._known.name, None)
        return fate

    async def _accept(self, written: _Written) -> Accept:
        copy, writer = written.copy, written.writer
        behind = writer.write(copy.frame.after) if copy.frame.after else None
        if behind is not None:
            await behind
        finished = writer.finish()
        content = finished if isinstance(finished, Content) else await finished
        now = self._way.intake.clock.seconds()
        users: dict[int, None] = {}
        queued: dict[tuple[str, str, str], Queued] = {}
        for address, routes in copy.routes.items():
            for route in routes:
                if route.target == MAILDROP and route.user is not None:
                    users[route.user] = None
                else:
                    key = address.key, route.target, route.destination
                    queued.setdefault(key, Queued(address.text, route.target, route.destination, now))
        envelope = Envelope(written.queue_id, copy.sender, tuple(copy.routes), self._decider.origin(copy.trusted),
                            content, content.eight_bit, not copy.frame.before.isascii())
        size = maildrop_size(copy.sender, content)
        return Accept(envelope, tuple(users), tuple(queued.values()), maildrop_size=size)

    def abort(self) -> None:
        """See Taking."""
        for written in self._written:
            written.writer.abort()
        if self._dud is not None:
            self._dud.abort()


def _all(waiting: list[Deferred[None] | None]) -> Deferred[Any] | None:
    """One Deferred for those there are; what fails shows at the end of the content."""
    behind = [each for each in waiting if each is not None]
    return DeferredList(behind, consumeErrors=True) if behind else None
