"""What a new connection to the provider is used for besides collecting: ETRN, and the mail that waits for relays.

The line is kept until nothing is being relayed any more, ten minutes at most, whoever else hangs up.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mailbridge.config.fetching import FetchPlan
from mailbridge.errors import StoreError
from mailbridge.fetch.etrn import send_etrn
from mailbridge.fetch.link import Link
from mailbridge.waysout import WaysOut

LOOK = 1.0
QUIET = 3
"""So many looks without an attempt: the queue has nothing more to do."""
LONGEST = 600.0

_log = Logger(namespace="mailbridge.fetch.connected")  # so that it is in popfetch.log


class Connected:
    """`begin` is called each time the line has come up."""

    def __init__(self, link: Link, plan: FetchPlan, reactor: Any, ways: WaysOut | None) -> None:
        self._link = link
        self._plan = plan
        self._reactor = reactor
        self._ways = ways
        self._using: Deferred[None] | None = None

    def begin(self) -> None:
        """Use the line, beside those for whom it was made."""
        if self._using is None:
            self._using = Deferred.fromCoroutine(self._use())
            self._using.addErrback(self._failed).addBoth(self._ended)

    def stop(self) -> None:
        """Do no more."""
        if self._using is not None:
            self._using.cancel()

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            _log.failure("what should follow a connection failed", failure)

    def _ended(self, _: object) -> None:
        self._using = None

    async def _use(self) -> None:
        if not await self._link.take():
            return
        try:
            if self._plan.etrn is not None:
                await send_etrn(self._reactor, self._plan.etrn, self._plan.hostname, self._plan.domains)
            if self._ways is not None:
                await self._relay(self._ways)
        finally:
            await self._link.give_back()

    async def _relay(self, ways: WaysOut) -> None:
        try:
            count = await ways.try_relays()
        except StoreError as error:
            _log.error("what waits for relays could not be made due: {error}", error=str(error))
            return
        if not count:
            return
        _log.info("{count} deliveries that waited for relays are tried", count=count)
        end, quiet = self._reactor.seconds() + LONGEST, 0
        while quiet < QUIET and self._reactor.seconds() < end:
            await deferLater(self._reactor, LOOK)
            quiet = 0 if ways.busy else quiet + 1
