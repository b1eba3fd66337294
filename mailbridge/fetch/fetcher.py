"""The fetcher: when cycles run, how many at once, and what stops them. Plain methods for the operator's commands.

Into the bridge, each account has its own cycle and its own time, so that none ever waits for another; to an SMTP server
there is one cycle for all.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailbridge.fetch.account import Account
from mailbridge.fetch.collection import Collection, Note
from mailbridge.fetch.cycle import Cycle
from mailbridge.fetch.link import Link
from mailbridge.fetch.session import Opener
from mailbridge.fetch.turn import Times, Turn
from mailbridge.fetch.wayin import End, Fate, WayIn
from mailbridge.interfaces import IStore

DIAL_MINIMUM = 300.0
MAX_DUDS = "max_duds"


@frozen(kw_only=True)
class Settings:
    """Times in seconds. `period` from start to start, or with `is_interval` from end to start; at least five minutes
    when dialling.

    `wait` before the second try of a server that cannot be reached; `retry_delay` before an extra cycle after a
    failure (None: none). `max_duds` in a row stop the fetcher. At most `parallel` accounts are collected at once.
    """

    period: float
    is_interval: bool = False
    wait: float = 40.0
    retry_delay: float | None = None
    max_duds: int = 10
    parallel: int = 20


class Fetcher:
    """All accounts. `start` it once; `stop` gives a Deferred; nothing here raises for what a server does.

    `way` is the way in, `opener` logs in to an account, `link` is the line, `note` takes a line for each message.
    Raises ValueError for an account that is there twice: two collections of one mailbox would deliver it twice.
    """

    log = Logger()

    def __init__(
        self, accounts: Sequence[Account], settings: Settings, opener: Opener, way: WayIn, store: IStore,
        clock: IReactorTime, link: Link, note: Note | None = None,
    ) -> None:
        if len({account.key for account in accounts}) != len(accounts):
            raise ValueError("an account is there twice")
        self.settings = settings
        self.stopped = ""
        self.duds_in_a_row = 0
        self.duds = 0
        self._link = link
        self._running = False
        places = DeferredSemaphore(1 if way.one_by_one else settings.parallel)
        each = [Collection(account, opener, way, store, clock, self._told, note) for account in accounts]
        groups = [each] if way.one_by_one else [[one] for one in each]
        self._turns = [
            Turn(Cycle(group, way, clock, settings.wait, self._told), Times(self._period(group), settings.is_interval,
                 settings.retry_delay if not link.dials else None), link, clock, places)
            for group in groups if group
        ]

    def _period(self, group: Sequence[Collection]) -> float:
        """The shortest of the group's own intervals, and the common one where an account has none."""
        period = min(each.account.interval or self.settings.period for each in group)
        return max(period, DIAL_MINIMUM) if self._link.dials else period

    # --- start, stop, now ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The first cycles begin at once; when it is `stopped`, with `resume`."""
        self._running = True
        for turn in self._turns if not self.stopped else ():
            turn.start()

    def stop(self) -> Deferred[None]:
        """Fires when every session has ended; each has 10 seconds for it."""
        self._running = False
        return self._halt()

    def _halt(self) -> Deferred[None]:
        ending: Deferred[Any] = DeferredList([turn.stop() for turn in self._turns])
        return ending.addCallback(lambda _: None)

    def now(self, names: Container[str] | None = None) -> Deferred[dict[str, object]]:
        """Collect at once, all accounts or those named (the whole cycle they are in); fires with `status` at the end.

        A cycle that runs already is waited for. Does nothing while `stopped`.
        """
        if self.stopped:
            return succeed(self.status())
        turns = [turn for turn in self._turns if names is None or any(name in names for name in turn.names)]
        ended: Deferred[Any] = DeferredList([turn.now() for turn in turns])
        return ended.addCallback(lambda _: self.status())

    def resume(self) -> None:
        """Go on after max_duds: the operator has looked at duds.dat."""
        self.duds_in_a_row = 0
        if self.stopped:
            self.stopped = ""
            self.log.info("the fetcher goes on")
            if self._running:
                self.start()

    def _told(self, fate: Fate) -> None:
        """What became of a message: any delivery breaks a row of duds."""
        if fate.end in (End.DELIVERED, End.CARETAKER):
            self.duds_in_a_row = 0
        elif fate.end is End.DUD:
            self.duds += 1
            self.duds_in_a_row += fate.row
            if self.duds_in_a_row >= self.settings.max_duds and not self.stopped:
                self.stopped = MAX_DUDS
                self.log.error("{count} messages in a row went to duds.dat: the fetcher stops; look at them, then tell "
                               "it to go on", count=self.duds_in_a_row)
                self._halt()

    def status(self) -> dict[str, object]:
        """Everything as plain values; times are seconds since 1970, `next` is None when nothing is planned."""
        accounts = [
            {**each.tally.record(), "next": turn.next}
            for turn in self._turns for each in turn.cycle.collections
        ]
        return {
            "running": self._running and not self.stopped, "stopped": self.stopped, "duds": self.duds,
            "duds_in_a_row": self.duds_in_a_row, "max_duds": self.settings.max_duds, "accounts": accounts,
        }
