"""kill -9 of a bridge that relays, again and again: is each acknowledged message delivered, and what comes twice?

    python bench/relaykill.py [--kills 200] [--messages 20000] [--senders 10] [--slow 0.3] [--refuse 0.02]
                              [--seed N] [--folder FOLDER] [--break early|forget|late]

Sessions of a listed client send messages of 2 and 100 KiB to one to four recipients; the bridge relays them, by two
relays, to an SMTP server in this script that records what it takes and is slow at the dot for a part (`--slow`), up to
a second, and refuses a part of the recipients for now (`--refuse`). Again and again a transaction of that server, when
it comes to the wanted phase, kills the bridge, which is started again at once:

connected   the bridge has just connected
MAIL        it has sent MAIL, and by pipelining RCPT and DATA
content     a part of the content has come
dot         the final dot has come, there is no reply yet
answered    the 250 has just been written: the bridge may or may not know, and may or may not have written it down

The senders go on until the last kill, with at least `--messages` in all, about evenly between the kills. Each attempt
has a Message-ID of its own, so the bridge owes each acknowledged one to each of its recipients once. A second copy for
a recipient is explained by a kill when the copy before it was in flight as the bridge died: its dot had come to a
connection of that process, and the 250 had not been written, or only within the time the bridge needs to read it and
commit what it says (`SETTLING`); there are never more of those than the relays have connections.

Exit code 1 when an acknowledged message misses a recipient; when a message is altered, or is none that was sent (a
notice, say); when a copy has another queue id than the copies before it or the 250 of the bridge said, or one of
another message; when a repeat is not explained; when deliveries are left, the log shows a traceback, or `mailbridge
check --store` finds anything. Uses loopback only; what it leaves in FOLDER (default: the temporary one, which must be
on a real disk) is removed if all is well. `--break` (see broken.py) runs a bridge that is broken on purpose: the script
must find it out.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kill_bridge import COMMAND, Bridge, broken
from relaykill_peers import PHASES, Copy, Ledger, Marksman, Sink, send

SETTLING = 0.25  # seconds; a tenth of that is what it takes, but the machine may be busy
CONNECTIONS = 10
RELAYS = 2
PATIENCE = 60.0
REST_PATIENCE = 180.0
CONFIGURATION = """hostname = "bench.invalid"
state = "state"
[limits]
connections_per_client = 1000
[[smtp]]
listen = "tcp:{smtp}:interface=127.0.0.1"
clients = ["127.0.0.1"]
[users]
domains = ["local.invalid"]
[queue]
retry = "1s"
longest_retry = "5s"
[relay.first]
servers = ["127.0.0.1:{sink}"]
tls = "off"
connections = {connections}
default = true
[relay.second]
servers = ["127.0.0.1:{sink}"]
tls = "off"
connections = {connections}
[[route]]
recipient = '.*@b\\.invalid'
to = "relay:second"
"""


async def wait_until(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Poll. RuntimeError when it does not come true."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {patience:.0f} s for {what}")
        await asyncio.sleep(0.01)


async def shoot(bridge: Bridge, ledger: Ledger, marksman: Marksman, kills: int, messages: int) -> list[float]:
    """Kill and start again, each phase its share; the seconds each start took."""
    shots = [PHASES[number % len(PHASES)] for number in range(kills)]
    ledger.draw.shuffle(shots)
    starts = []
    for phase in shots:
        wanted = ledger.transactions + messages / kills * ledger.draw.uniform(0.6, 1.4)
        await wait_until(lambda wanted=wanted: ledger.transactions >= wanted, "messages to be relayed")
        assert bridge.process is not None
        marksman.aim(phase, bridge.process.pid)
        await asyncio.wait_for(marksman.done.wait(), PATIENCE)
        code = await asyncio.to_thread(bridge.ended)
        if code != -signal.SIGKILL:
            ledger.fault(f"the bridge ended by itself, with {code}")
        await asyncio.sleep(0.02)  # what the dead process had connected is accepted in its life, not in the next one
        ledger.killed.append(marksman.shot)
        starts.append(await asyncio.to_thread(bridge.start))
    return starts


def in_flight(copy: Copy, ledger: Ledger) -> str | None:
    """How far a copy's transaction was when the process died that sent it; None when it was over."""
    if copy.life >= len(ledger.killed):
        return None
    if copy.replied is None:
        return "no 250 was written"
    return "250 written, not yet settled" if ledger.killed[copy.life] - copy.replied < SETTLING else None


def judge(ledger: Ledger) -> dict[str, object]:
    """Count; faults go to the ledger."""
    owner: dict[str, int] = {}
    explained = dict.fromkeys(("no 250 was written", "250 written, not yet settled"), 0)
    unexplained, longest, kept = 0, 0.0, 0
    repeated: dict[int, set[int]] = {life: set() for life in range(len(ledger.killed))}
    for letter in ledger.letters:
        copies = ledger.copies.get(letter.number, [])
        ids = {copy.queue_id for copy in copies} | ({letter.queue_id} if letter.queue_id else set())
        if len(ids) > 1:
            ledger.fault(f"message {letter.number} has the queue ids {sorted(ids)}")
        for id in ids:
            if owner.setdefault(id, letter.number) != letter.number:
                ledger.fault(f"queue id {id} stands for messages {owner[id]} and {letter.number}")
        if copies and not letter.ended:
            ledger.fault(f"message {letter.number} was delivered, though its content never ended")
        kept += bool(copies and not letter.queue_id)
        for recipient in letter.recipients:
            mine = [copy for copy in copies if recipient in copy.recipients]
            for before, after in zip(mine, mine[1:], strict=False):
                why = in_flight(before, ledger) if after.life > before.life else None
                if why is None:
                    unexplained += 1
                    end = ledger.killed[before.life] if before.life < len(ledger.killed) else time.monotonic()
                    since = f"{end - before.replied:.3f} s before its end" if before.replied else "not answered"
                    ledger.fault(f"message {letter.number} for {recipient} came in life {before.life} ({since}) and "
                                 f"again in life {after.life}")
                    continue
                explained[why] += 1
                repeated[before.life].add(letter.number)
                if before.replied is not None:
                    longest = max(longest, ledger.killed[before.life] - before.replied)
    missing = list(ledger.missing())
    for letter, recipient in missing:
        ledger.fault(f"message {letter.number} ({letter.queue_id}) for {recipient} is acknowledged and missing")
    most = max(map(len, repeated.values()), default=0)
    if most > RELAYS * CONNECTIONS:
        ledger.fault(f"{most} messages came again after one kill, more than {RELAYS * CONNECTIONS} connections carry")
    unanswered = sum(copy.replied is None for copies in ledger.copies.values() for copy in copies)
    due = sum(len(letter.recipients) for letter in ledger.letters if letter.queue_id)
    return {
        "messages acknowledged": ledger.acknowledged,
        "  deliveries due: all their recipients": due,
        "  missing": len(missing),
        "messages without 250 (sender was cut) that were delivered": kept,
        "messages delivered, octet for octet the same": len(ledger.copies),
        "transactions of the sink with a final dot": ledger.transactions,
        "  killed between the dot and the 250": unanswered,
        "messages that came again after a kill": sum(map(len, repeated.values())),
        f"  most after one kill ({RELAYS * CONNECTIONS} connections)": most,
        **{f"  deliveries repeated, explained: {why}": count for why, count in explained.items()},
        "  deliveries repeated, unexplained": unexplained,
        "  oldest 250 of a repeat, milliseconds before the kill": f"{longest * 1000:.0f}",
    }


async def run(folder: Path, options: argparse.Namespace) -> int:
    """Everything; the exit code."""
    begun = time.monotonic()
    ledger = Ledger(random.Random(options.seed))
    marksman = Marksman(random.Random(options.seed + 1))
    sink = Sink(ledger, marksman, options.slow, options.refuse)
    await sink.start()
    bridge = Bridge(folder, broken(options.broken) if options.broken else COMMAND)
    bridge.configuration.write_text(
        CONFIGURATION.format(smtp=bridge.smtp, sink=sink.port, connections=CONNECTIONS))
    first_start = await asyncio.to_thread(bridge.start)
    try:
        senders = [asyncio.create_task(send(bridge.smtp, ledger, options.messages)) for _ in range(options.senders)]
        starts = await shoot(bridge, ledger, marksman, options.kills, options.messages)
        ledger.closing = True
        done, late = await asyncio.wait(senders, timeout=REST_PATIENCE)
        for each in done:
            each.result()
        if late:
            raise RuntimeError("senders do not come to an end")
        loaded = time.monotonic() - begun
        left = await drained(bridge)
        code = await asyncio.to_thread(bridge.terminate)
    finally:
        sink.close()
        if bridge.process is not None and bridge.process.poll() is None:
            bridge.process.kill()
    if left:
        ledger.fault(f"{left} deliveries are left in the queue")
    if code not in (0, -signal.SIGTERM):
        ledger.fault(f"the bridge ended with {code} on SIGTERM")
    if "Traceback" in bridge.log():
        ledger.fault(f"there is a traceback in {folder / 'log'}")
    found = judge(ledger)
    checked, said = await asyncio.to_thread(bridge.check)
    if checked:
        ledger.fault(f"mailbridge check --store: {said}")
    rows = {
        **{f"kill -9 in phase {phase}": marksman.counts[phase] for phase in PHASES},
        "kill -9, all": marksman.counts.total(),
        **found,
        **dict(sorted(ledger.counts.items())),
        "first start, seconds": f"{first_start:.2f}",
        "restart, seconds: median": f"{sorted(starts)[len(starts) // 2]:.2f}",
        "restart, seconds: slowest": f"{max(starts):.2f}",
        "time under load, seconds": f"{loaded:.0f}",
        "time in all, seconds": f"{time.monotonic() - begun:.0f}",
    }
    for name, value in rows.items():
        print(f"{name:<62}{value:>10}")
    print(f"mailbridge check --store: exit code {checked}: {said.splitlines()[-1] if said else ''}")
    for violation in ledger.violations[:20]:
        print("VIOLATION:", violation)
    print(f"{len(ledger.violations)} violations" if ledger.violations else "no violations")
    return 1 if ledger.violations else 0


async def drained(bridge: Bridge) -> int:
    """Wait until nothing is left in the queue; how much is."""
    end = time.monotonic() + REST_PATIENCE
    left = -1
    while left and time.monotonic() < end:
        await asyncio.sleep(0.2)
        left = (await asyncio.to_thread(bridge.ask, "queue count", all=True))["count"]
    return left


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--senders", type=int, default=10)
    parser.add_argument("--slow", type=float, default=0.3)
    parser.add_argument("--refuse", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--break", dest="broken", choices=("early", "forget", "late"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="relaykill-", dir=options.folder))
    code = asyncio.run(run(folder, options))
    if code:
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
