"""Measure the store by itself: group commits of 2 KiB messages, and deleting many beside small commits.

    python bench/store.py [FOLDER]

Prints messages a second and the CPU of the writer's thread per message at several numbers of commits in flight,
idle and beside a flood of commands on 4 connections; then the latency of single commits while 100,000 messages are
deleted and freed. FOLDER must be on the disk that is to be measured; the default is a temporary one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater, react
from twisted.protocols.basic import LineReceiver

from mailbridge.address import Address
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.store.changes import Accept, AddUser, Credentials, Unlink
from mailbridge.store.sqlite import open_store

SECONDS = 3.0
OCTETS = b"Subject: bench\r\n\r\n" + (b"x" * 76 + b"\r\n") * 26
ORIGIN = Origin("smtp[0]", "127.0.0.1", "bench", None, None, 1_763_730_000.0, "ESMTP")
BONNIE = Address("bonnie", "example.org")


def accept(user: int) -> Accept:
    """One 2 KiB message, made as a session makes it."""
    return Accept(Envelope("4f2a91c0d3", BONNIE, (BONNIE,), ORIGIN, Content.of(OCTETS)), (user,))


def thread_cpu(name: str) -> float:
    """CPU seconds of the thread with this name."""
    (thread,) = [thread for thread in threading.enumerate() if thread.name == name]
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


FLOOD = """
import socket, sys
connections = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(4)]
while True:
    for connection in connections:
        connection.sendall(b"NOOP\\r\\n" * 20)
    for connection in connections:
        connection.recv(65536)
"""


class Noop(LineReceiver):
    """Answers commands, a few microseconds each, as an SMTP session does."""

    def lineReceived(self, line: bytes) -> None:
        """One command, one reply."""
        verb = line.split(b" ", 1)[0].upper()
        self.sendLine(b"250 2.0.0 OK" if verb == b"NOOP" else b"500 what?")


class Busy:
    """A flood of commands from another process, on 4 connections, that keeps the reactor's thread busy."""

    def start(self) -> None:
        """Begin."""
        factory = Factory.forProtocol(Noop)
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.child = subprocess.Popen([sys.executable, "-c", FLOOD, str(self.port.getHost().port)],
                                      stderr=subprocess.DEVNULL)

    def stop(self) -> Any:
        """End."""
        self.child.kill()
        self.child.wait()
        return self.port.stopListening()


@inlineCallbacks
def stream(store: Any, user: int, end: float, latencies: list[float]) -> Generator[Deferred[Any], Any, None]:
    """Commit one message after the other."""
    while time.monotonic() < end:
        begun = time.perf_counter()
        yield store.commit(accept(user))
        latencies.append(time.perf_counter() - begun)


def quantile(values: list[float], part: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000


@inlineCallbacks
def commits(store: Any, user: int, busy: Busy) -> Generator[Deferred[Any], Any, None]:
    """The table of rates."""
    for beside in (False, True):
        for streams in (1, 20, 50):
            if beside:
                busy.start()
            latencies: list[float] = []
            cpu, begun = thread_cpu("store-writer"), time.monotonic()
            yield DeferredList([stream(store, user, begun + SECONDS, latencies) for _ in range(streams)])
            seconds, cpu = time.monotonic() - begun, thread_cpu("store-writer") - cpu
            if beside:
                yield busy.stop()
            count = len(latencies)
            print(f"{'flooded' if beside else 'idle'} reactor, {streams:2} in flight: "
                  f"{count / seconds:8,.0f} messages/s, "
                  f"writer {cpu / count * 1e6:5.1f} us a message, p50 {quantile(latencies, .5):.2f} ms, "
                  f"p99 {quantile(latencies, .99):.2f} ms", flush=True)


@inlineCallbacks
def deleting(store: Any, user: int, other: int) -> Generator[Deferred[Any], Any, None]:
    """Small commits beside the deletion of 100,000 messages and the purge after it."""
    uids = []
    for _ in range(200):
        receipts = yield store.commit(*[accept(user) for _ in range(500)])
        uids += [receipt.message for receipt in receipts]
    latencies: list[float] = []
    begun = time.monotonic()
    done: list[float] = []
    store.commit(Unlink(user, tuple(uids))).addCallback(lambda _: done.append(time.monotonic() - begun))
    while not done or store.messages(uids[-1:]):
        yield stream(store, other, time.monotonic() + 0.001, latencies)
        yield deferLater(reactor, 0.002, lambda: None)
    print(f"deleting 100,000: unlinked in {done[0]:.2f} s, freed in {time.monotonic() - begun:.2f} s; "
          f"{len(latencies)} commits beside it: p50 {quantile(latencies, .5):.2f} ms, "
          f"p99 {quantile(latencies, .99):.2f} ms, max {max(latencies) * 1000:.1f} ms", flush=True)


@inlineCallbacks
def main(_: Any) -> Generator[Deferred[Any], Any, None]:
    """Everything, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        store = open_store(Path(folder) / "state", reactor, on_death=print)
        user, other = yield store.commit(AddUser("bonnie", Credentials("", "")), AddUser("clyde", Credentials("", "")))
        yield commits(store, other, Busy())
        yield deleting(store, user, other)
        yield store.close()


if __name__ == "__main__":
    react(main)
