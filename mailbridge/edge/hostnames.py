"""The host names on client lists, looked up: who `cxhlpsrv` is by now.

Promises: names are looked up forward only, each again every five minutes; the last good answer stays when a look-up
fails; a name that never had one is told in the log and matches nobody. At most `AT_ONCE` questions are asked at a time,
and none about a name whose last question is still open, because each takes one of the reactor's threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHostnameResolver, IReactorTime, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from mailbridge.routing.access import canonical
from mailbridge.routing.clients import Hosts

REFRESH = 300.0
"""Seconds between two look-ups of a name."""
PATIENCE = 30.0
"""Seconds after which a question counts as failed; an answer that comes later is still taken."""
AT_ONCE = 4


class HostNames:
    """Asks `resolver` and hands all that is known to `publish(hosts)` whenever it changes."""

    _log = Logger()

    def __init__(
        self, resolver: IHostnameResolver, clock: IReactorTime, publish: Callable[[Hosts], object]
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._publish = publish
        self._wanted: frozenset[str] = frozenset()
        self._known: dict[str, frozenset[str]] = {}
        self._failing: set[str] = set()
        self._waiting: dict[str, None] = {}
        self._open: dict[str, IDelayedCall] = {}
        self._late: set[str] = set()
        self._asking = False
        self._round: IDelayedCall | None = None
        self._told: list[Deferred[None]] = []

    def follow(self, names: Iterable[str]) -> Deferred[None]:
        """Look these names up from now on, all of them at once, and forget others: at the start and at each reload.

        Fires when each has an answer or has failed. Names are as in `ClientList.names`.
        """
        self._wanted = frozenset(names)
        gone = [name for name in self._known if name not in self._wanted]
        for name in gone:
            del self._known[name]
        self._failing &= self._wanted
        if gone:
            self._publish(self.hosts)
        self._ask_all()
        if self._is_quiet():
            return succeed(None)
        told: Deferred[None] = Deferred()
        self._told.append(told)
        return told

    @property
    def hosts(self) -> Hosts:
        """What is known now."""
        return MappingProxyType(dict(self._known))

    def stop(self) -> None:
        """Ask no more."""
        self._wanted = frozenset()
        self._waiting.clear()
        for timer in (self._round, *self._open.values()):
            if timer is not None and timer.active():
                timer.cancel()
        self._round = None
        self._finish()

    # --- asking -------------------------------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        if self._round is not None and self._round.active():
            self._round.cancel()
        self._round = self._clock.callLater(REFRESH, self._ask_all) if self._wanted else None
        asked = self._open.keys() | self._late
        self._waiting = dict.fromkeys(name for name in sorted(self._wanted) if name not in asked)
        for name in self._late:
            self._take(name, frozenset())
        self._ask()

    def _ask(self) -> None:
        if self._asking:  # an answer came at once: the loop below goes on
            return
        self._asking = True
        while self._waiting and len(self._open) < AT_ONCE:
            name = next(iter(self._waiting))
            del self._waiting[name]
            self._open[name] = self._clock.callLater(PATIENCE, self._give_up, name)
            try:
                self._resolver.resolveHostName(_Answer(name, self._answered), name)
            except Exception:  # a name that the resolver cannot even ask for
                self._answered(name, frozenset())
        self._asking = False

    def _give_up(self, name: str) -> None:
        del self._open[name]
        self._late.add(name)
        self._take(name, frozenset())
        self._go_on()

    def _answered(self, name: str, addresses: frozenset[str]) -> None:
        timer = self._open.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()
        self._late.discard(name)
        self._take(name, addresses)
        self._go_on()

    def _go_on(self) -> None:
        self._ask()
        if self._is_quiet():
            self._finish()

    def _is_quiet(self) -> bool:
        return not (self._waiting or self._open.keys() & self._wanted)

    def _finish(self) -> None:
        told, self._told = self._told, []
        for each in told:
            each.callback(None)

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _take(self, name: str, addresses: frozenset[str]) -> None:
        if name not in self._wanted:
            return
        known = self._known.get(name)
        if not addresses:
            if name not in self._failing:
                self._failing.add(name)
                rest = "its last addresses stay in use" if known else "it matches no client"
                self._log.warn("client lists: no address found for {name}; {rest}", name=name, rest=rest)
            addresses = known or addresses
        elif name in self._failing:
            self._failing.discard(name)
            self._log.info("client lists: {name} was found again", name=name)
        if addresses != known:
            self._known[name] = addresses
            self._publish(self.hosts)


@implementer(IResolutionReceiver)
class _Answer:
    """Gathers the addresses of one name."""

    def __init__(self, name: str, done: Callable[[str, frozenset[str]], None]) -> None:
        self._name = name
        self._done = done
        self._found: set[str] = set()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """See IResolutionReceiver."""

    def addressResolved(self, address: Any) -> None:
        """One address."""
        found = canonical(getattr(address, "host", ""))
        if found is not None:
            self._found.add(found)

    def resolutionComplete(self) -> None:
        """No more."""
        self._done(self._name, frozenset(self._found))
