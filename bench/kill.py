"""kill -9, again and again, under load: is each acknowledged message there, once, unaltered; do deleted ones stay away?

    python bench/kill.py [--kills 100] [--messages 20000] [--senders 20] [--seed N] [--folder FOLDER]
                         [--break early|unlink]

20 sessions send messages of 2 KiB, 50 KiB and 1 MiB by SMTP, in lockstep, pipelined and by BDAT, to 8 maildrops; four
of these are read meanwhile by POP3 clients who delete a part. Again and again a session that is just in the wanted
phase kills the bridge, which is then started again:

MAIL    the session has sent MAIL (and RCPT), and no content
DATA    it has sent a part of the content
commit  it has sent the final octet of the message and got no reply
reply   it has just read the 250
QUIT    it has sent QUIT after DELEs and got no reply; "QUIT answered": it has just read that reply

A kill is counted for the phase it really met: who aimed at `commit` and could still read a 250 has met `reply`. The
script goes on until each phase has its share. A message that was cut off is sent again with the same Message-ID. At the
end everything is fetched by POP3. Exit code 1 when an acknowledged message is missing or altered, when one is there
twice though no session of it was cut between its final octet and the reply, when one is back that an acknowledged QUIT
had deleted, when one is gone that nobody deleted, when the log shows a traceback, or when `mailbridge check --store`
finds anything. Uses loopback only. FOLDER (default: the temporary one) must be on a real disk; what the run leaves
there is removed if all is well. `--break` (see broken.py) runs a bridge that is broken on purpose: the script must find
it out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kill_bridge import COMMAND, Bridge, broken
from kill_clients import PHASES, Cut, Ledger, Line, Marksman, Reader, Sender, fetch_all

KEPT = ["kept0", "kept1", "kept2", "kept3"]
READ = ["read0", "read1", "read2", "read3"]
PATIENCE = 60.0


def shoot(bridge: Bridge, ledger: Ledger, marksman: Marksman, kills: int, draw: random.Random) -> list[float]:
    """Kill and start again until each phase has its share; the seconds each start took."""
    share = {phase: kills // len(PHASES) + (index < kills % len(PHASES)) for index, phase in enumerate(PHASES)}
    apart = ledger.messages / kills
    starts = []
    while open_ := [phase for phase in PHASES if marksman.counts[phase] < share[phase]]:
        wanted = ledger.acknowledged + apart * draw.uniform(0.6, 1.4)
        wait_until(lambda wanted=wanted: ledger.acknowledged >= wanted, "messages to be acknowledged")
        phase = draw.choice(open_)
        marksman.aim(phase)
        if not marksman.done.wait(PATIENCE):
            raise RuntimeError(f"no session came to {phase} in {PATIENCE:.0f} s")
        code = bridge.ended()
        if code != -signal.SIGKILL:
            ledger.fault(f"the bridge ended by itself, with {code}")
        starts.append(bridge.start())
    return starts


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Poll. RuntimeError after a minute."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.01)


def fetch_everything(bridge: Bridge, ledger: Ledger, readers: list[Reader]) -> set[tuple[str, bytes]]:
    """Compare what the readers know, then read all maildrops; (user, unique id) of what is there."""
    for reader in readers:
        line = Line(bridge.pop3, ledger)
        reader.compare(line)
        line.ok(b"QUIT\r\n")
        line.close()
    return {(user, uid) for user in KEPT + READ for uid in fetch_all(user, bridge, ledger)}


def judge(ledger: Ledger) -> dict[str, int]:
    """Count what was found of what was acknowledged, by message and recipient; faults go to the ledger."""
    counts = dict.fromkeys(("acknowledged", "copies due", "found", "missing", "explained", "unexplained"), 0)
    for letter in ledger.letters:
        counts["acknowledged"] += letter.acknowledged
        numbers = [len(ledger.copies.get((letter.number, user), ())) for user in letter.users]
        if len(set(numbers)) > 1:
            ledger.fault(f"message {letter.number} is {numbers} times in the maildrops of {letter.users}")
        for user, number in zip(letter.users, numbers, strict=True):
            counts["copies due"] += letter.acknowledged
            counts["found"] += min(number, letter.acknowledged)
            if number < letter.acknowledged:
                counts["missing"] += 1
                ledger.fault(f"message {letter.number} ({letter.size} octets) for {user} is acknowledged and missing")
            extra = max(0, number - letter.acknowledged)
            counts["explained"] += min(extra, letter.open_ends)
            if extra > letter.open_ends:
                counts["unexplained"] += 1
                ledger.fault(f"message {letter.number} for {user} is there {number} times, acknowledged "
                             f"{letter.acknowledged}, cut between end and reply {letter.open_ends}")
    return counts


def show(rows: list[tuple[str, object]]) -> None:
    """Print a table."""
    for name, value in rows:
        print(f"{name:<58}{value:>12}")


def run(folder: Path, command: Sequence[str], kills: int, messages: int, senders: int, seed: int) -> int:
    """Everything; the exit code."""
    begun = time.monotonic()
    draw = random.Random(seed)
    bridge = Bridge(folder, command)
    ledger = Ledger(messages, KEPT, READ, seed)
    marksman = Marksman(bridge)
    halt = threading.Event()
    first_start = bridge.start()
    try:
        bridge.add_users(KEPT + READ)
        readers = [Reader(user, bridge, ledger, marksman, halt, draw.random()) for user in READ]
        clients = [Sender(bridge, ledger, marksman, halt, draw.random()) for _ in range(senders)] + readers
        for client in clients:
            client.start()
        starts = shoot(bridge, ledger, marksman, kills, draw)
        ledger.closing = True
        wait_until(ledger.finished, "the last messages")
        loaded = time.monotonic() - begun
        halt.set()
        for client in clients:
            client.join(PATIENCE)
        there = fetch_everything(bridge, ledger, readers)
        code = bridge.terminate()
    except (Cut, RuntimeError):
        print(f"given up after {time.monotonic() - begun:.0f} s; {dict(marksman.counts)}, "
              f"{ledger.acknowledged} acknowledged; log of the bridge:\n{bridge.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        if bridge.process is not None and bridge.process.poll() is None:
            bridge.process.kill()
    if code not in (0, -signal.SIGTERM):
        ledger.fault(f"the bridge ended with {code} on SIGTERM")
    counts = judge(ledger)
    if "Traceback" in bridge.log():
        ledger.fault(f"there is a traceback in {folder / 'log'}")
    checked, said = bridge.check()
    if checked:
        ledger.fault(f"mailbridge check --store: {said}")
    sizes = [letter.size for letter in ledger.letters]
    show([
        *((f"kill -9 in phase {phase}", marksman.counts[phase]) for phase in PHASES),
        ("kill -9, all", marksman.counts.total()),
        *((f"messages of {size // 1024} KiB", sizes.count(size)) for size in sorted(set(sizes))),
        ("sessions cut before the final octet of a message", ledger.counts.pop("cut before the end", 0)),
        ("sessions cut between the final octet and the reply", ledger.counts.pop("cut after the end", 0)),
        ("acknowledged messages", counts["acknowledged"]),
        ("  copies of them due (some have two recipients)", counts["copies due"]),
        ("  found, octet for octet the same", counts["found"]),
        ("  missing", counts["missing"]),
        ("  doubled, session was cut between final octet and reply", counts["explained"]),
        ("  doubled, unexplained", counts["unexplained"]),
        ("deleted by an acknowledged QUIT", ledger.counts.pop("deleted", 0)),
        ("  resurrected", ledger.counts.pop("resurrected", 0)),
        ("in maildrops at the end", len(there)),
        *sorted(ledger.counts.items()),
        ("first start, seconds", f"{first_start:.2f}"),
        ("restart, seconds: median", f"{sorted(starts)[len(starts) // 2]:.2f}"),
        ("restart, seconds: slowest", f"{max(starts):.2f}"),
        ("time under load, seconds", f"{loaded:.0f}"),
        ("time in all, seconds", f"{time.monotonic() - begun:.0f}"),
    ])
    print(f"mailbridge check --store: exit code {checked}: {said.splitlines()[-1] if said else ''}")
    for violation in ledger.violations[:20]:
        print("VIOLATION:", violation)
    print(f"{len(ledger.violations)} violations" if ledger.violations else "no violations")
    return 1 if ledger.violations else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--senders", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--break", dest="broken", choices=("early", "unlink"))
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)  # a shot must not wait for the other sessions
    folder = Path(tempfile.mkdtemp(prefix="kill-", dir=options.folder))
    command = broken(options.broken) if options.broken else COMMAND
    code = run(folder, command, options.kills, options.messages, options.senders, options.seed)
    if code:
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
