"""What `mailbridge pullinfo` tells: how the bridge and its OCE stand, as plain values and in words, without secrets."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from mailbridge.clock import rfc5322_date
from mailbridge.oce.client import OCEClient
from mailbridge.oce.collector import Collector, Counts

_SHOWN = 4


@frozen
class PullInfo:
    """Times are seconds since 1970, 0 for never. `results` has the last result of each kind of call in words.

    `app_key` is masked. `killed` says in words that the OCE told us to stop, `fault` why the last pull failed; both are
    empty when all is well. `waiting` is how much mail waits to go to the OCE.
    """

    registered: bool
    app_key: str
    app_id: str
    member: str
    url: str
    last_poll: float
    last_success: float
    next_poll: float
    interval: float
    results: dict[str, str]
    counts: Counts
    waiting: int
    killed: str
    fault: str

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people, `name: value` each."""
        counts = ", ".join(f"{number} {name}" for name, number in asdict(self.counts).items())
        stand = [
            ("registered", f"yes, as {self.app_id} with the key {self.app_key}" if self.registered else
             "no; do it with `mailbridge register NAME`"),
            ("member", self.member), ("OCE", self.url), ("last pull", _time(self.last_poll)),
            ("last success", _time(self.last_success)), ("next pull", _time(self.next_poll)), ("messages", counts),
            ("waiting to be sent", str(self.waiting)),
            *((f"last {kind}", result) for kind, result in sorted(self.results.items())),
        ]
        wrong = [("stopped", self.killed), ("fault", self.fault)]
        return [f"{name}: {value}" for name, value in stand + [pair for pair in wrong if pair[1]]]


def pullinfo(client: OCEClient, collector: Collector, url: str, waiting: int) -> PullInfo:
    """The record as of now."""
    key, identity = client.app_key, client.identity
    pulls = client.standings.get("pull")
    return PullInfo(
        registered=bool(key), app_key=masked(key), app_id=identity.app_id, member=client.member, url=url,
        last_poll=pulls.tried if pulls else 0.0, last_success=pulls.succeeded if pulls else 0.0,
        next_poll=collector.next, interval=collector.interval,
        results={kind: standing.result for kind, standing in client.standings.items()}, counts=collector.counts,
        waiting=waiting, killed=client.killed, fault=collector.fault,
    )


def masked(key: str) -> str:
    """The beginning of a long key, so that two can be told apart; nothing of a short one."""
    return f"{key[:_SHOWN]}..." if len(key) >= _SHOWN * _SHOWN else "..." if key else ""


def _time(seconds: float) -> str:
    return rfc5322_date(seconds) if seconds else "never"
