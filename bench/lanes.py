"""Measure the queue: 100,000 deliveries that wait for a dead host, and what a live one gets beside them.

    python bench/lanes.py [FOLDER] [DELIVERIES]

In a process of its own: the CPU of the idle process over 20 seconds with the dead lane backed off, its memory, then the
rate of deliveries to a live lane through a target that answers at once, alone and beside the dead lane; at the end what
it costs to look through the whole dead lane and to hold, release and select in it. FOLDER must be on the disk that is
to be measured; the default is a temporary one.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.task import deferLater, react

from mailbridge.address import Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.outcome import Delivered, TransientFailure
from mailbridge.queue.runner import Runner
from mailbridge.queue.schedule import Schedule
from mailbridge.reply import Reply
from mailbridge.routing.route import Route
from mailbridge.store.changes import Accept, Hold, Queued, RetryNow, Selection, Unhold
from mailbridge.store.sqlite import open_store

IDLE_SECONDS = 20.0
LIVE = 20_000
OCTETS = b"Subject: bench\r\n\r\n" + (b"x" * 76 + b"\r\n") * 26
BONNIE = Address("bonnie", "example.org")
DOWN = TransientFailure(Reply(451, "4.4.1", "no connection"), unreachable=True)
DEAD = Selection(target="relay:x", destination="dead.example")


class Target:
    """Answers at once: `dead.example` cannot be reached, everybody else has it delivered."""

    name = "relay:x"

    def __init__(self) -> None:
        self.delivered = self.refused = 0

    def concurrency(self, lane: Any) -> int:
        """As a relay has it."""
        return 10

    def attempt(self, message: Any, deliveries: Any, lane: Any) -> Any:
        """One attempt."""
        if lane.destination == "dead.example":
            self.refused += 1
            return succeed({each.id: DOWN for each in deliveries})
        self.delivered += len(deliveries)
        return succeed({each.id: Delivered("250 OK") for each in deliveries})


class Router:
    """Everything to its domain."""

    def route(self, recipient: Any, sender: Any, origin: Any) -> Any:
        """One relay."""
        return (Route("relay:x", None, recipient.domain),)


class Bounce:
    """Nobody is told."""

    def failed(self, message: Any, results: Any) -> Any:
        """Nobody."""
        return succeed(None)

    delayed = delivered = failed


def accept(number: int, domain: str) -> Accept:
    """One 2 KiB message to one recipient."""
    origin = Origin("smtp[0]", "127.0.0.1", "bench", None, None, time.time(), "ESMTP", True)
    envelope = Envelope(f"{number:010x}", BONNIE, (BONNIE,), origin, Content.of(OCTETS))
    return Accept(envelope, (), (Queued(f"user{number % 977}@{domain}", "relay:x", domain, time.time()),))


@inlineCallbacks
def fill(store: Any, count: int, domain: str) -> Generator[Deferred[Any], Any, None]:
    """Accept so many messages, 500 a commit."""
    for start in range(0, count, 500):
        yield store.commit(*[accept(number, domain) for number in range(start, min(count, start + 500))])


@inlineCallbacks
def live(store: Any, target: Target, title: str) -> Generator[Deferred[Any], Any, None]:
    """The rate to a live lane: filled while held, then let go."""
    selection = Selection(target="relay:x", destination="live.example")
    before = target.delivered
    filling = time.monotonic()
    yield fill(store, LIVE, "live.example")
    while target.delivered - before < LIVE:
        yield deferLater(reactor, 0.01, lambda: None)
    seconds = time.monotonic() - filling
    left = yield store.queue(selection, 0, 10)
    print(f"{title}: {LIVE:,} accepted and delivered at {LIVE / seconds:,.0f}/s, {len(left)} left", flush=True)


def memory() -> float:
    """Resident memory in MB, now."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


@inlineCallbacks
def timed(title: str, deferred: Deferred[Any]) -> Generator[Deferred[Any], Any, None]:
    """How long it takes, and the longest that the reactor was away."""
    begun, longest, done = time.monotonic(), 0.0, []
    deferred.addCallback(lambda result: done.append(result))
    while not done:
        before = time.monotonic()
        yield deferLater(reactor, 0.001, lambda: None)
        longest = max(longest, time.monotonic() - before)
    print(f"{title}: {time.monotonic() - begun:.2f} s, longest turn {longest * 1000:.0f} ms", flush=True)


@inlineCallbacks
def main(_: Any) -> Generator[Deferred[Any], Any, None]:
    """Everything, in a folder of its own."""
    waiting = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        store = open_store(Path(folder) / "state", reactor, on_death=print)
        target = Target()
        # The waits are made long by the schedule, so that the lane stays backed off while we measure.
        runner = Runner(store, Router(), {"relay:x": target}, Bounce(), reactor, lambda: 0.5, os.urandom(8).hex(),
                        Schedule(retry=3600.0))
        runner.start()
        print(f"memory at the start: {memory():.0f} MB")
        yield live(store, target, "a live lane alone")
        yield fill(store, waiting, "dead.example")
        yield deferLater(reactor, 3.0, lambda: None)
        lanes = yield store.lanes()
        (dead,) = (lane for lane in lanes if lane.destination == "dead.example")
        print(f"dead lane: {dead.waiting:,} waiting, tried {target.refused} times, again in "
              f"{dead.not_before - time.time():.0f} s; memory {memory():.0f} MB")
        cpu, begun = time.process_time(), time.monotonic()
        yield deferLater(reactor, IDLE_SECONDS, lambda: None)
        seconds = time.monotonic() - begun
        idle = (time.process_time() - cpu) / seconds
        print(f"idle: {idle * 100:.3f} % of a core over {seconds:.0f} s; memory {memory():.0f} MB", flush=True)
        yield live(store, target, f"a live lane beside {waiting:,} for the dead one")
        yield timed("hold all of the dead lane", store.commit(Hold(DEAD)))
        yield timed("release it", store.commit(Unhold(DEAD)))
        yield timed("search all for a recipient", store.queue(Selection(recipient="nobody@dead.example"), 0, 1000))
        yield timed("search all for a sender", store.queue(Selection(sender="nobody@example.org"), 0, 1000))
        yield timed("one queue id", store.queue(Selection(queue_id=f"{waiting // 2:010x}"), 0, 1000))
        # Everything is late by now, for this schedule: the next attempt looks through the whole lane.
        runner.schedule = Schedule(retry=3600.0, delay_notice=0.001)
        cpu, refused = time.process_time(), target.refused
        yield timed("the dead lane tried again", store.commit(RetryNow(DEAD)))
        while True:
            lanes = yield store.lanes()
            (dead,) = (lane for lane in lanes if lane.destination == "dead.example")
            if target.refused > refused and dead.not_before > time.time():
                break
            yield deferLater(reactor, 0.2, lambda: None)
        print(f"looked through: {dead.waiting:,} waiting, {target.refused - refused} attempts, "
              f"{time.process_time() - cpu:.1f} s of CPU; memory {memory():.0f} MB, at most "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB", flush=True)
        yield runner.stop()
        yield store.close()
        if idle > 0.01:
            raise SystemExit("the idle process used more than 1 % of a core")


if __name__ == "__main__":
    react(main)
