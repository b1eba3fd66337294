"""The claims of this process, kept alive while their attempts run or wait for their turn.

A claim that could not be renewed in time is lost: whoever holds it on does not start an attempt with it any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailbridge.errors import StoreError
from mailbridge.interfaces import IStore
from mailbridge.store.changes import Delivery

TTL = 300.0
RENEW_EVERY = 100.0
SURE = 240.0  # seconds after which a claim that was not renewed is no longer relied on
AT_ONCE = 1000


class Claims:
    """Claims in the name of `owner`, random text that no other process has."""

    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, owner: str) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._held: dict[int, tuple[Delivery, float]] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._held)

    async def take(self, lane: int, limit: int) -> tuple[Delivery, ...]:
        """Claim due deliveries of a lane. Raises StoreError."""
        now = self._clock.seconds()
        claimed: tuple[Delivery, ...] = await self._store.claim(self._owner, lane, limit, TTL)
        self._held.update((delivery.id, (delivery, now)) for delivery in claimed)
        if self._held and self._timer is None:
            self._timer = self._clock.callLater(RENEW_EVERY, self._renew)
        return claimed

    def sure(self, delivery: Delivery) -> bool:
        """Whether the claim is ours without doubt."""
        held = self._held.get(delivery.id)
        return held is not None and held[0].fence == delivery.fence and self._clock.seconds() - held[1] < SURE

    def end(self, deliveries: Iterable[Delivery]) -> None:
        """These claims have ended."""
        for delivery in deliveries:
            held = self._held.get(delivery.id)
            if held is not None and held[0].fence == delivery.fence:
                del self._held[delivery.id]
        if not self._held:
            self.stop()

    def stop(self) -> None:
        """Renew no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _renew(self) -> None:
        self._timer = self._clock.callLater(RENEW_EVERY, self._renew)
        Deferred.fromCoroutine(self._renew_all()).addErrback(
            lambda failure: self._log.failure("claims could not be renewed", failure))

    async def _renew_all(self) -> None:
        deliveries = iter([delivery for delivery, _ in self._held.values()])
        while part := tuple(islice(deliveries, AT_ONCE)):
            await self._renew_some(part)

    async def _renew_some(self, part: Sequence[Delivery]) -> None:
        now = self._clock.seconds()
        try:
            kept: tuple[Delivery, ...] = await self._store.renew(self._owner, part, TTL)
        except StoreError as error:
            self._log.warn("claims were not renewed: {error}", error=error)
            return
        lost = {delivery.id for delivery in part} - {delivery.id for delivery in kept}
        for delivery in kept:
            if delivery.id in self._held:
                self._held[delivery.id] = delivery, now
        if lost:
            self.end(delivery for delivery in part if delivery.id in lost)
            self._log.warn("{count} claims had run out", count=len(lost))
