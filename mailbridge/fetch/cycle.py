"""One cycle: what the last time left behind, then accounts in turn.

An account that fails never keeps another from its turn. Only Stop ends a cycle that feeds an SMTP server: then nothing
more can be delivered, and everything is closed until the next time. Never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.fetch.collection import QUIT_TIME, Collection
from mailbridge.fetch.wayin import Fate, Stop, WayIn
from mailbridge.pop3.failure import Kind, UpstreamError


class Cycle:
    """`collections` are collected in turn each time it runs. `told(fate)` hears of what was left from the last time."""

    log = Logger()

    def __init__(
        self, collections: Sequence[Collection], way: WayIn, clock: IReactorTime, wait: float,
        told: Callable[[Fate], object],
    ) -> None:
        self.collections = collections
        self._way = way
        self._clock = clock
        self._wait = wait
        self._told = told
        self._running = False
        self._cut: IDelayedCall | None = None
        self.begin()
        self._sleep: Deferred[None] | None = None

    def stop(self) -> None:
        """Begin nothing more; what is under way has 10 seconds to end well."""
        self._stopping = True
        if self._sleep is not None:
            self._sleep.cancel()
        for collection in self.collections:
            if collection.tally.running:
                collection.stop()
        if self._running and self._cut is None:
            self._cut = self._clock.callLater(QUIT_TIME, self._way.cut)

    def begin(self) -> None:
        """Forget that it was stopped."""
        self._stopping = self._waited = False

    async def run(self, due: Callable[[Collection], bool] = lambda _: True) -> bool:
        """Collect the accounts that are `due`. False when an extra cycle may help: no connection, or Stop."""
        self._running = True
        try:
            return await self._collect_all(due)
        except Exception:
            self.log.failure("a fault on this side ended a cycle")
            return False
        finally:
            await self._way.rest()
            self._running = False
            cut, self._cut = self._cut, None
            if cut is not None and cut.active():
                cut.cancel()

    def no_line(self) -> None:
        """There is no connection to the provider."""
        for collection in self.collections:
            collection.tally.error = "no connection: the dial command failed"

    async def _collect_all(self, due: Callable[[Collection], bool]) -> bool:
        well = True
        try:
            fate = await self._way.resume()
        except Stop as stop:
            self.log.error("what was left from the last time cannot be delivered yet: {stop}", stop=str(stop))
            return False
        if fate is not None:
            self._told(fate)
        for collection in self.collections:
            if self._stopping:
                break
            if not due(collection):
                continue
            try:
                await self._collect(collection)
            except (Stop, StoreError) as stop:
                self.log.error("{account}: stopped, nothing more can be delivered now: {stop}",
                               account=collection.account.name, stop=str(stop))
                return False
            except UpstreamError as error:
                well = well and error.kind is not Kind.CONNECT
                if not self._stopping:
                    self.log.error("{account}: {kind}: {error}", account=collection.account.name,
                                   kind=error.kind.value, error=str(error))
            except Exception as error:
                collection.tally.error = f"a fault on this side: {type(error).__name__}"
                self.log.failure("{account}: a fault on this side", account=collection.account.name)
        return well

    async def _collect(self, collection: Collection) -> None:
        """One account; when it cannot be reached, once more after a while: another program may be dialling still."""
        try:
            await collection.run()
            return
        except UpstreamError as error:
            if error.kind is not Kind.CONNECT or self._waited or self._stopping:
                raise
            self.log.info("{account}: cannot be reached, once more in {wait:g} seconds: {error}",
                          account=collection.account.name, wait=self._wait, error=str(error))
        self._waited = True
        self._sleep = Deferred()
        call = self._clock.callLater(self._wait, self._sleep.callback, None)
        try:
            await self._sleep
        except Exception:  # the stop cancelled it
            return
        finally:
            self._sleep = None
            if call.active():
                call.cancel()
        await collection.run()
