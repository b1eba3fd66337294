"""Rate from end to end: receive, commit and relay to smtp-sink, for one and for 100 destinations, beside Postfix.

    python bench/relay.py [--count 4000] [--rounds 3] [--size 2048] [--sessions 10] [--folder FOLDER] [--bridge-only]

The bridge and a private Postfix, both up all the time, take turns: 10 sessions of one client hand in `--count` messages
to one recipient each, and the time runs until smtp-sink has got every one. Three cases:

one       all messages for one domain, which has one smart host
domains   100 domains in turn, all by the same smart host
hosts     100 domains in turn, each with a host (127.0.1.1 to 127.0.1.100) and so with a lane of its own

Both have the same 20 connections for a destination at the most. The first round is not counted. Prints the median and
the range of the rates, the rate at which the messages were accepted, and the CPU time that a server's processes took
for a message, which other load on the machine changes least. Exit code 1 when the bridge is less than twice as fast as
Postfix in a case. Needs Postfix's programs (postfix, smtp-sink) and root. FOLDER (default: the temporary one) must be
on a real disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from bridge import HOST, Bridge, Lines, free_port, greets
from postfix import CONCURRENCY, Postfix

DESTINATIONS = 100
FACTOR = 2.0
PATIENCE = 120.0
HOSTS = [f"127.0.1.{number + 1}" for number in range(DESTINATIONS)]
CASES = {
    "one": (["dst.one.invalid"], [HOST]),
    "domains": ([f"d{number}.one.invalid" for number in range(DESTINATIONS)], [HOST]),
    "hosts": ([f"d{number}.invalid" for number in range(DESTINATIONS)], HOSTS),
}
"""Domains of the recipients, and where the sinks are."""
_TICK = os.sysconf("SC_CLK_TCK")


@define
class Measured:
    """What one server did in one case, round by round: messages a second, and CPU seconds for a message."""

    whole: list[float] = field(factory=list)
    accepted: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process and all below it, those that have ended included."""
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)], times[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    total, found = 0, [pid]
    while found:
        each = found.pop()
        total += times.get(each, 0)
        found += [child for child, parent in parents.items() if parent == each]
    return total / _TICK


def sinks(hosts: list[str], port: int, count: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """One smtp-sink for each host; it ends by itself when it has its share of the messages."""
    with (folder / "sinks").open("ab") as log:
        started = [
            subprocess.Popen(["smtp-sink", "-u", "nobody", "-M", str(count // len(hosts)), f"{host}:{port}", "1024"],
                             stderr=log)
            for host in hosts]
    end = time.monotonic() + PATIENCE
    for host in hosts:
        while not greets(port, host):
            if time.monotonic() > end:
                raise SystemExit("smtp-sink did not start")
            time.sleep(0.01)
    return started


def hand_in(port: int, domains: list[str], numbers: range, size: int, faults: list[BaseException]) -> None:
    """One session: a message to one recipient for each number."""
    content = b"From: <a@src.invalid>\r\nSubject: bench\r\n\r\n"
    content += b"".join([b"x" * 76 + b"\r\n"] * ((size - len(content)) // 78)) + b".\r\n"
    try:
        line = Lines(port)
        line.socket.sendall(b"EHLO src.invalid\r\n")
        while line.line()[3:4] == b"-":
            pass
        for number in numbers:
            line.socket.sendall(b"MAIL FROM:<a@src.invalid>\r\nRCPT TO:<b@%b>\r\nDATA\r\n"
                                % domains[number % len(domains)].encode())
            for _ in range(3):
                line.line()
            line.socket.sendall(content)
            line.line()
        line.quit()
    except (OSError, SystemExit) as error:
        faults.append(error)


def once(port: int, cpu: Callable[[], float], case: str, sink_port: int, options: argparse.Namespace,
         folder: Path) -> tuple[float, float, float]:
    """One run: messages a second in all, accepted a second, CPU seconds a message."""
    domains, hosts = CASES[case]
    started = sinks(hosts, sink_port, options.count, folder)
    faults: list[BaseException] = []
    sessions = [
        threading.Thread(target=hand_in, args=(port, domains, range(first, options.count, options.sessions),
                                               options.size, faults))
        for first in range(options.sessions)]
    try:
        before, begun = cpu(), time.perf_counter()
        for each in sessions:
            each.start()
        for each in sessions:
            each.join()
        accepted = time.perf_counter() - begun
        if faults:
            raise SystemExit(f"{case}: {faults[0]!r}")
        for sink in started:
            sink.wait(PATIENCE)
        whole = time.perf_counter() - begun
        return options.count / whole, options.count / accepted, (cpu() - before) / options.count
    finally:
        for sink in started:
            if sink.poll() is None:
                sink.terminate()
                sink.wait()


def bridge_of(folder: Path, sink_port: int) -> Bridge:
    """A bridge with one smart host for all, and one for each domain of `hosts`."""
    bridge = Bridge(folder)
    lines = [bridge.configuration.read_text().replace("[[smtp]]", '[[smtp]]\nclients = ["127.0.0.1"]')]
    relays = {"one": HOST} | dict(zip((f"d{number}" for number in range(DESTINATIONS)), HOSTS, strict=True))
    for name, host in relays.items():
        lines += [f"[relay.{name}]", f'servers = ["{host}:{sink_port}"]', 'tls = "off"', f"connections = {CONCURRENCY}",
                  f"default = {'true' if name == 'one' else 'false'}"]
        if name != "one":
            lines += ["[[route]]", f"recipient = '.*@{name}\\.invalid'", f'to = "relay:{name}"']
    bridge.configuration.write_text("\n".join(lines) + "\n")
    return bridge


def run(folder: Path, options: argparse.Namespace) -> int:
    """Everything; the exit code."""
    subprocess.run(["chattr", "+T", folder], stderr=subprocess.DEVNULL)  # a fresh part of an ext4 for each run
    sink_port = free_port()
    bridge = bridge_of(folder / "bridge", sink_port)
    hosts = {"": (HOST, sink_port)} | {
        domain: (host, sink_port) for domain, host in zip(*CASES["hosts"], strict=True)}
    postfix = Postfix(folder / "postfix", hosts)
    measured: dict[tuple[str, str], Measured] = {}
    try:
        bridge.start()
        assert bridge.process is not None
        servers = {"bridge": (bridge.ports["smtp"], bridge.process.pid)}
        if not options.bridge_only:
            postfix.start()
            servers["Postfix"] = postfix.port, postfix.pid
        for number in range(options.rounds + 1):
            for case in CASES:
                for name, (port, pid) in servers.items():
                    whole, accepted, cpu = once(port, lambda pid=pid: tree_cpu(pid), case, sink_port, options, folder)
                    if number:
                        found = measured.setdefault((case, name), Measured())
                        found.whole.append(whole)
                        found.accepted.append(accepted)
                        found.cpu.append(cpu)
    finally:
        bridge.stop()
        postfix.stop()
    print(f"{'case':<9}{'server':<9}{'messages/s':>11}{'range':>15}{'accepted/s':>12}{'CPU us each':>13}{'factor':>8}")
    slow = False
    for (case, name), found in measured.items():
        rate, beside = statistics.median(found.whole), measured.get((case, "Postfix"))
        factor = rate / statistics.median(beside.whole) if beside else 0.0
        slow = slow or (name == "bridge" and beside is not None and factor < FACTOR)
        spread = f"{min(found.whole):,.0f}-{max(found.whole):,.0f}"
        print(f"{case:<9}{name:<9}{rate:>11,.0f}{spread:>15}{statistics.median(found.accepted):>12,.0f}"
              f"{statistics.median(found.cpu) * 1e6:>13,.0f}{factor:>8.1f}")
    return 1 if slow else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--bridge-only", action="store_true")
    options = parser.parse_args()
    if options.count % DESTINATIONS:
        parser.error(f"--count: a multiple of {DESTINATIONS}")
    folder = Path(tempfile.mkdtemp(prefix="relay-", dir=options.folder))
    folder.chmod(0o755)  # Postfix and smtp-sink give up root
    code = run(folder, options)
    shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
