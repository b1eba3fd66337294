"""Mail that becomes SMS jobs: how many a second beside Postfix, and what is left of them after kill -9.

    python bench/applications.py rate [--count 5000] [--rounds 5] [--size 2048] [--sessions 50] [--folder FOLDER]
                                      [--bridge-only]
    python bench/applications.py kill [--kills 100] [--messages 5000] [--sessions 50] [--seed N] [--folder FOLDER]
                                      [--break early|forget|restage]

`rate`: the bridge and a private Postfix, both up all the time, take turns: `--sessions` sessions of smtp-source hand in
`--count` messages for one recipient each, and the time runs until the last control file is published, or Postfix has
delivered the last one to a maildir. What a run leaves is put aside. The first round is not counted. Prints
the median and the range of the rates, the rate at which the messages were accepted, and the CPU time that a server's
processes took for a message. Exit code 1 when the bridge is slower than Postfix. Needs Postfix's programs (postfix,
smtp-source) and root. FOLDER (default: the temporary one) must be on a real disk.

`kill` is described in `application_kill.py`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import application_kill
from attrs import define, field
from bridge import HOST, Bridge
from postfix import Postfix
from relay import tree_cpu

DOMAIN = "sms.invalid"
RECIPIENT = f"+420603280030@{DOMAIN}"
FACTOR = 1.0
PATIENCE = 300.0
APART = 0.05
SETTINGS = """
[application.sms]
output_folder = "out"
ctl_type = "sms"
cmd_tags = "sms"
addresses = ['(?P<number>\\+?\\d+)@sms\\.invalid']
clients = ["127.0.0.1"]
"""


@define
class Measured:
    """What one server did, round by round: messages a second, in all and accepted, and CPU seconds for a message."""

    whole: list[float] = field(factory=list)
    accepted: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)


@define
class Server:
    """One of the two: its port, its process, the folder that fills, what the names of finished messages end in."""

    port: int
    pid: int
    folder: Path
    suffix: str

    def done(self) -> int:
        """How many messages lie there, finished."""
        if not self.folder.is_dir():
            return 0
        with os.scandir(self.folder) as entries:
            return sum(entry.name.endswith(self.suffix) for entry in entries)

    def clear(self, aside: Path) -> None:
        """Put them aside. They are not deleted: ext4 is slow to give out inodes for minutes after many were."""
        aside.mkdir()
        if self.folder.is_dir():
            for path in list(self.folder.iterdir()):
                path.rename(aside / path.name)


def once(server: Server, options: argparse.Namespace, aside: Path) -> tuple[float, float, float]:
    """One run: messages a second in all, accepted a second, CPU seconds a message."""
    server.clear(aside)
    os.sync()
    before, begun = tree_cpu(server.pid), time.perf_counter()
    subprocess.run(
        ["smtp-source", "-s", str(options.sessions), "-m", str(options.count), "-l", str(options.size), "-f",
         "lamp@plant.invalid", "-t", RECIPIENT, "-S", "bench", f"{HOST}:{server.port}"], check=True, timeout=PATIENCE)
    accepted = time.perf_counter() - begun
    while server.done() < options.count:
        if time.perf_counter() - begun > PATIENCE:
            raise SystemExit(f"only {server.done()} of {options.count} messages came")
        time.sleep(APART)
    whole = time.perf_counter() - begun
    return options.count / whole, options.count / accepted, (tree_cpu(server.pid) - before) / options.count


def rate(folder: Path, options: argparse.Namespace) -> int:
    """Everything; the exit code."""
    subprocess.run(["chattr", "+T", folder], stderr=subprocess.DEVNULL)  # a fresh part of an ext4 for each run
    bridge = Bridge(folder / "bridge", more=SETTINGS)
    (bridge.folder / "out").mkdir()
    postfix = Postfix(folder / "postfix", {}, DOMAIN)
    measured: dict[str, Measured] = {}
    try:
        bridge.start()
        assert bridge.process is not None
        servers = {"bridge": Server(bridge.ports["smtp"], bridge.process.pid, bridge.folder / "out", ".CTL")}
        if not options.bridge_only:
            postfix.start()
            servers["Postfix"] = Server(postfix.port, postfix.pid, postfix.maildir / "new", "")
        for number in range(options.rounds + 1):
            for name, server in servers.items():
                found = once(server, options, folder / f"{name}.{number}")
                if number:
                    rounds = measured.setdefault(name, Measured())
                    for values, value in zip((rounds.whole, rounds.accepted, rounds.cpu), found, strict=True):
                        values.append(value)
    finally:
        bridge.stop()
        postfix.stop()
    print(f"{'server':<9}{'messages/s':>11}{'range':>15}{'accepted/s':>12}{'CPU us each':>13}")
    for name, rounds in measured.items():
        print(f"{name:<9}{statistics.median(rounds.whole):>11,.0f}"
              f"{f'{min(rounds.whole):,.0f}-{max(rounds.whole):,.0f}':>15}{statistics.median(rounds.accepted):>12,.0f}"
              f"{statistics.median(rounds.cpu) * 1e6:>13,.0f}")
    if options.bridge_only:
        return 0
    factor = statistics.median(measured["bridge"].whole) / statistics.median(measured["Postfix"].whole)
    print(f"{factor:.2f} times Postfix")
    return 1 if factor < FACTOR else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    measuring = kinds.add_parser("rate")
    measuring.add_argument("--count", type=int, default=5000)
    measuring.add_argument("--rounds", type=int, default=5)
    measuring.add_argument("--size", type=int, default=2048)
    measuring.add_argument("--bridge-only", action="store_true")
    measuring.set_defaults(run=rate)
    killing = kinds.add_parser("kill")
    killing.add_argument("--kills", type=int, default=100)
    killing.add_argument("--messages", type=int, default=5000)
    killing.add_argument("--seed", type=int, default=1)
    killing.add_argument("--break", dest="broken", choices=("early", "forget", "restage"))
    killing.set_defaults(run=application_kill.run)
    for each in (measuring, killing):
        each.add_argument("--sessions", type=int, default=50)
        each.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    run: Callable[[Path, argparse.Namespace], int] = options.run
    folder = Path(tempfile.mkdtemp(prefix="applications-", dir=options.folder))
    folder.chmod(0o755)  # Postfix gives up root
    code = run(folder, options)
    if code:
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
