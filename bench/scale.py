"""Does the cost of the work grow with what is stored? 1,000,000 messages in 1,000 maildrops beside 1,000 in one.

    python bench/scale.py [--state FOLDER] [--messages N] [--maildrops N] [--rounds N] [--receive N]

Fills two states through the store itself, runs a bridge on each and takes turns between them, on loopback:

    receive   smtp-source (of Postfix), 50 sessions that keep their connection, 2 KiB, into one maildrop that is empty
              at first; it is emptied again after each round
    login     PASS until its answer: the password is known from the login before, the maildrop of 1,000 is opened
    LIST      until the end of its 1,000 lines
    QUIT      with 1,000 deletions; the large state has a fresh maildrop for each round, the small one is filled again

then, on the large state only, the start until the SMTP greeting (after a stop and after a kill -9), and NOOP and whole
messages of another session while one session deletes a maildrop of 100,000, in QUIT and in the purge that follows.
Every figure is a median of the rounds, the ratio of medians for the first four. With --state the large state is kept
in FOLDER and filled up again at the next run; it takes about 2 GB. Exit code 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import apsw
from bridge import DOMAIN, HOST, ROOT, Bridge, Lines

sys.path.insert(0, str(ROOT))

PASSWORD = "scale-of-the-store"
EACH = 1000
HEAP = 100_000
FRESH, HEAP_USER = "fresh", "heap"
OCTETS = b"Subject: scale\r\n\r\n" + (b"x" * 70 + b"\r\n") * 10
AT_ONCE = 1000  # Accepts of one commit
IN_FLIGHT = 4
READS = 20  # in a round
QUITS = 3
LIMIT_RECEIVE, LIMIT_RATIO, LIMIT_START, LIMIT_P99 = 0.7, 1.4, 5.0, 0.100
QUIET_SECONDS = 3.0
DELETIONS = 3
PHASES = ("nothing", "DELE and QUIT", "purge")
KINDS = ("NOOP", "message")


# --- filling ----------------------------------------------------------------------------------------------------------


def fill(state: Path, wanted: dict[str, int]) -> None:
    """Make each user of `wanted` and put messages into the maildrops, one each in turn, until each has its number.

    Runs in a process of its own, which it ends.
    """
    from twisted.internet.defer import Deferred, DeferredList
    from twisted.internet.task import react

    from mailbridge.accounts.passwords import make_credentials
    from mailbridge.address import Address
    from mailbridge.content import Content
    from mailbridge.envelope import Envelope, Origin
    from mailbridge.store.changes import Accept, AddUser
    from mailbridge.store.sqlite import open_store

    bonnie = Address("bonnie", "example.org")
    envelope = Envelope("scale", bonnie, (bonnie,), Origin("smtp[0]", HOST, "scale", None, None, time.time(), "ESMTP"),
                        Content.of(OCTETS))

    async def top_up(store: Any) -> None:
        credentials = make_credentials(PASSWORD, False)
        known = {user.name: user.id for user in store.people_now().users}
        for name in wanted.keys() - known.keys():
            (known[name],) = await store.commit(AddUser(name, credentials))
        missing = {}
        for name, number in wanted.items():
            missing[known[name]] = number - len((await store.snapshot(known[name])).uids)
        todo = sum(max(0, number) for number in missing.values())
        accepts = (Accept(envelope, (user,)) for user in in_turn(missing))
        begun = time.monotonic()

        async def stream() -> None:
            while some := tuple(islice(accepts, AT_ONCE)):
                await store.commit(*some)

        await DeferredList([Deferred.fromCoroutine(stream()) for _ in range(IN_FLIGHT)], fireOnOneErrback=True)
        seconds = time.monotonic() - begun
        if todo > EACH:
            print(f"filled {todo:,} messages in {seconds:.0f} s, {todo / seconds:,.0f} a second", flush=True)

    async def main(reactor: Any) -> None:
        store = open_store(state, reactor, on_death=print)
        try:
            await top_up(store)
        finally:
            await store.close()

    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))


def in_turn(missing: dict[int, int]) -> Iterator[int]:
    """Each user as often as something is missing, in turn, so that maildrops lie mixed as they do in life."""
    turn = 0
    while users := [user for user, number in missing.items() if number > turn]:
        yield from users
        turn += 1


def in_process(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work` in a process of its own. Raises SystemExit when it fails."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


# --- one bridge -------------------------------------------------------------------------------------------------------


class Side:
    """A filled state with a bridge on it; `quitters` are the maildrops that QUIT is measured with, in turn."""

    def __init__(self, name: str, folder: Path, quitters: list[str], tested: str) -> None:
        self.name = name
        self.bridge = Bridge(folder)
        self.quitters = quitters
        self.tested = tested
        self.figures: dict[str, list[float]] = {}

    def note(self, figure: str, value: float) -> None:
        """One more value of a figure."""
        self.figures.setdefault(figure, []).append(value)

    def median(self, figure: str) -> float:
        """Of all rounds."""
        return median(self.figures[figure])

    def pop3(self, user: str) -> Lines:
        """A session that is logged in."""
        session = Lines(self.bridge.ports["pop3"])
        session.login(user, PASSWORD)
        return session

    def send(self, user: str, count: int, size: int, sessions: int) -> float:
        """Send with smtp-source; the seconds it took."""
        begun = time.monotonic()
        subprocess.run(["smtp-source", "-d", "-s", str(sessions), "-l", str(size), "-m", str(count), "-f",
                        f"bonnie@{DOMAIN}", "-t", f"{user}@{DOMAIN}", f"{HOST}:{self.bridge.ports['smtp']}"],
                       check=True, timeout=300)
        return time.monotonic() - begun

    def cpu(self) -> float:
        """CPU seconds of the bridge so far."""
        assert self.bridge.process is not None
        fields = Path(f"/proc/{self.bridge.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def empty(self, user: str) -> float:
        """Delete all of a maildrop and wait for the purge; the seconds that QUIT took."""
        session = self.pop3(user)
        session.delete(session.count())
        begun = time.monotonic()
        session.quit()
        seconds = time.monotonic() - begun
        self.wait_for_purge()
        return seconds

    def wait_for_purge(self) -> None:
        """Until nothing deleted waits to be freed."""
        connection = apsw.Connection(str(self.bridge.state / "mail.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        while connection.execute("SELECT EXISTS (SELECT 1 FROM garbage)").get:
            time.sleep(0.02)
        connection.close()

    def receive(self, count: int) -> None:
        """One run of receiving."""
        cpu = self.cpu()
        self.note("receive", count / self.send(FRESH, count, 2048, 50))
        self.note("receive cpu", (self.cpu() - cpu) / count)
        self.empty(FRESH)

    def read(self) -> None:
        """One login and LIST."""
        session = Lines(self.bridge.ports["pop3"])
        session.ask(b"USER " + self.tested.encode())
        begun = time.monotonic()
        session.ask(b"PASS " + PASSWORD.encode())
        self.note("login", time.monotonic() - begun)
        begun = time.monotonic()
        listed = session.text(b"LIST")
        self.note("LIST", time.monotonic() - begun)
        session.quit()
        if (count := listed.count(b"\n")) != EACH:
            raise SystemExit(f"{self.name}: {count} messages in the maildrop, not {EACH}")

    def delete(self) -> None:
        """One QUIT with deletions."""
        user = self.quitters.pop(0)
        self.note("QUIT", self.empty(user))
        if user == self.tested:
            self.send(user, EACH, len(OCTETS), 10)
            self.quitters.append(user)


def rounds(small: Side, big: Side, count: int, receive: int) -> None:
    """Every figure, the two in turn and each first as often as the other: a noisy machine is noisy for both."""
    for side in (small, big):
        side.bridge.start()
        side.empty(FRESH)
        side.pop3(side.tested).quit()
    orders = ((small, big), (big, small))
    for number in range(count):
        for side in orders[number % 2]:
            side.receive(receive)
        time.sleep(1.0)
        for repeat in range(READS):
            for side in orders[repeat % 2]:
                side.read()
        for repeat in range(QUITS):
            for side in orders[(number + repeat) % 2]:
                side.delete()


# --- another session --------------------------------------------------------------------------------------------------


def probe(port: int, pipe: Connection) -> None:
    """NOOP and whole messages in turn, until told to end; sends back (kind, begun, seconds) of each."""
    session = Lines(port)
    session.ask(b"EHLO probe.invalid")
    while session.line()[3:4] == b"-":
        pass
    samples = []
    while not pipe.poll():
        for _ in range(3):
            begun = time.monotonic()
            session.ask(b"NOOP")
            samples.append(("NOOP", begun, time.monotonic() - begun))
            time.sleep(0.001)
        begun = time.monotonic()
        session.ask(b"MAIL FROM:<bonnie@%b>" % DOMAIN.encode())
        session.ask(b"RCPT TO:<%b@%b>" % (FRESH.encode(), DOMAIN.encode()))
        session.ask(b"DATA")
        session.ask(OCTETS + b".")
        samples.append(("message", begun, time.monotonic() - begun))
    pipe.send(samples)


def stalls(side: Side) -> Iterable[tuple[str, str, list[float]]]:
    """(phase, kind, latencies) while the heap is deleted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=probe, args=(side.bridge.ports["smtp"], theirs), daemon=True)
    session = side.pop3(HEAP_USER)
    count = session.count()
    process.start()
    time.sleep(1 + QUIET_SECONDS)
    marks = [time.monotonic()]
    session.delete(count)
    marks.append(time.monotonic())
    session.quit()
    marks.append(time.monotonic())
    side.wait_for_purge()
    marks.append(time.monotonic())
    ours.send("end")
    samples = ours.recv()
    process.join()
    print(f"{count:,} deleted: DELE {marks[1] - marks[0]:.2f} s, QUIT {marks[2] - marks[1]:.2f} s, "
          f"purge {marks[3] - marks[2]:.2f} s more", flush=True)
    for phase, begin, end in zip(PHASES, (0.0, marks[0], marks[2]), (marks[0], marks[2], marks[3]), strict=True):
        for kind in KINDS:
            yield phase, kind, [took for what, at, took in samples if what == kind and begin < at + took and at < end]


def quantile(values: list[float], part: float) -> float:
    """By rank."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


# --- the table --------------------------------------------------------------------------------------------------------


class Table:
    """Prints rows as they come and remembers whether one missed its limit."""

    def __init__(self) -> None:
        self.missed = False
        print(f"{'what':36} {'small':>12} {'big':>12} {'figure':>10} {'limit':>10}")

    def row(self, what: str, small: str, big: str, figure: str, limit: str = "", held: bool = True) -> None:
        """One line."""
        self.missed |= not held
        verdict = "" if not limit else "pass" if held else "MISSED"
        print(f"{what:36} {small:>12} {big:>12} {figure:>10} {limit:>10} {verdict}", flush=True)


def compare(table: Table, small: Side, big: Side) -> None:
    """The rows of the two states."""
    rates = small.median("receive"), big.median("receive")
    ratio = rates[1] / rates[0]
    table.row("receive, 2 KiB, 50 sessions", f"{rates[0]:,.0f}/s", f"{rates[1]:,.0f}/s", f"{ratio:.2f}",
              f">= {LIMIT_RECEIVE}", ratio >= LIMIT_RECEIVE)
    cpu = small.median("receive cpu"), big.median("receive cpu")
    table.row("  CPU a message", f"{cpu[0] * 1e6:.0f} us", f"{cpu[1] * 1e6:.0f} us", f"{cpu[1] / cpu[0]:.2f}")
    for figure, what in (("login", "login"), ("LIST", "LIST of 1,000"), ("QUIT", "QUIT with 1,000 deletions")):
        times = small.median(figure), big.median(figure)
        ratio = times[1] / times[0]
        table.row(what, f"{times[0] * 1000:.2f} ms", f"{times[1] * 1000:.2f} ms", f"{ratio:.2f}", f"<= {LIMIT_RATIO}",
                  ratio <= LIMIT_RATIO)


def starts(table: Table, big: Side, rounds: int) -> None:
    """The rows of starting; the bridge runs afterwards."""
    for what, kill in (("start after a stop", False), ("start after kill -9", True)):
        times = []
        for _ in range(rounds):
            big.bridge.stop(kill)
            times.append(big.bridge.start())
        worst = max(times)
        table.row(what, "", f"{median(times):.2f} s", f"{worst:.2f} s", f"< {LIMIT_START:.0f} s", worst < LIMIT_START)


def deletions(table: Table, big: Side) -> None:
    """The rows of the other session, over several deletions."""
    latencies: dict[tuple[str, str], list[float]] = {(phase, kind): [] for phase in PHASES for kind in KINDS}
    for _ in range(DELETIONS):
        for phase, kind, some in stalls(big):
            latencies[phase, kind] += some
        big.bridge.stop()
        in_process(fill, big.bridge.state, {HEAP_USER: HEAP})
        big.bridge.start()
        big.empty(FRESH)
    for (phase, kind), values in latencies.items():
        p99 = quantile(values, 0.99)
        judged = phase != PHASES[0]
        table.row(f"{kind} beside {phase}, p99 of {len(values):,}", "", f"max {max(values) * 1000:.1f}",
                  f"{p99 * 1000:.1f} ms", f"< {LIMIT_P99 * 1000:.0f} ms" if judged else "",
                  not judged or p99 < LIMIT_P99)


def main() -> int:
    """The whole table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, help="keep the large state in this folder, for the next run")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--maildrops", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--receive", type=int, default=10_000, help="messages of one receive run")
    args = parser.parse_args()
    if shutil.which("smtp-source") is None:
        raise SystemExit("smtp-source is missing: install Postfix (it need not run)")
    if args.messages != args.maildrops * EACH or args.maildrops <= args.rounds * QUITS:
        raise SystemExit(f"--messages must be {EACH} times --maildrops, and --maildrops over {QUITS} times --rounds")
    folder = Path(tempfile.mkdtemp(prefix="scale.", dir=args.state.parent if args.state else None))
    names = [f"u{number}" for number in range(args.maildrops)]
    small = Side("small", folder / "small", ["u0"], "u0")
    big = Side("big", args.state or folder / "big", random.sample(names[:-1], args.rounds * QUITS),
               names[-1])  # at random: those of an earlier run were filled up again and lie together now
    print(f"load at the start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    try:
        in_process(fill, small.bridge.state, {"u0": EACH, FRESH: 0})
        in_process(fill, big.bridge.state, dict.fromkeys(names, EACH) | {FRESH: 0, HEAP_USER: HEAP})
        rounds(small, big, args.rounds, args.receive)
        table = Table()
        compare(table, small, big)
        starts(table, big, 3)
        deletions(table, big)
    finally:
        small.bridge.stop()
        big.bridge.stop()
        shutil.rmtree(folder)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
