"""kill -9 of a bridge that makes SMS jobs, again and again: does the reader get each acknowledged message once?

    python bench/applications.py kill [--kills 100] [--messages 5000] [--sessions 50] [--seed N] [--folder FOLDER]
                                      [--break early|forget|restage]

Sessions of a listed client hand in SMS messages until `--messages` are acknowledged; a reader in a process of its own
(`job_reader.py`) polls for control files, reads both files of a job and deletes them. What was not acknowledged is
handed in again with another mark in its text. Again and again the bridge is killed, and started again at once:

writing    a `.writing` has just been made
renamed    a control file has just got its name: its delivery is not settled, which the store is asked for afterwards
dot        a session has just sent the final dot
sometime   at any moment

Exit code 1 when an acknowledged message is missing, when a job comes twice, when the reader finds a control file
without its complete data file, when a message comes whose final dot was never sent, when something is left in the
folder (data files without a `.writing` are only counted: a crash between the two leaves them) or in the store, when the
log shows a traceback, or when `mailbridge check --store` finds anything. `--break` (see broken.py) runs a bridge that
is broken on purpose: the script must find it out.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import apsw
from attrs import define, field
from job_reader import END
from kill_bridge import COMMAND, Bridge, broken

PHASES = ("writing", "renamed", "dot", "sometime")
PATIENCE = 120.0
CONFIGURATION = """hostname = "bench.invalid"
state = "state"
[limits]
connections_per_client = 1000
[[smtp]]
listen = "tcp:{smtp}:interface=127.0.0.1"
[users]
domains = ["local.invalid"]
[queue]
retry = "1s"
longest_retry = "2s"
[application.sms]
output_folder = "out"
ctl_type = "sms"
addresses = ['(?P<number>\\+?\\d+)@sms\\.invalid']
clients = ["127.0.0.1"]
"""
_IN_CREATE, _IN_MOVED_TO = 0x100, 0x80
_EVENT = struct.Struct("iIII")


class Marksman:
    """Kills a process when it comes to a phase. Watches `folder` in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(0)
        if self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_CREATE | _IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._lock = threading.Lock()
        self._phase, self._pid, self._skip = "", 0, 0
        self.done = threading.Event()
        self.counts: Counter[str] = Counter()
        threading.Thread(target=self._watch, daemon=True).start()

    def aim(self, phase: str, pid: int, skip: int) -> None:
        """Kill `pid` at the next `phase`, after `skip` of them."""
        with self._lock:
            self.done.clear()
            self._phase, self._pid, self._skip = phase, pid, skip

    def met(self, phase: str) -> None:
        """The phase has come."""
        if phase != self._phase:
            return
        with self._lock:
            if phase != self._phase:
                return
            if self._skip:
                self._skip -= 1
                return
            os.kill(self._pid, signal.SIGKILL)
            self._phase = ""
            self.counts[phase] += 1
            self.done.set()

    def _watch(self) -> None:
        while True:
            octets = os.read(self._descriptor, 65536)
            while octets:
                _, mask, _, length = _EVENT.unpack_from(octets)
                name = octets[_EVENT.size:_EVENT.size + length].rstrip(b"\0")
                octets = octets[_EVENT.size + length:]
                if mask & _IN_CREATE and name.endswith(b".writing"):
                    self.met("writing")
                elif mask & _IN_MOVED_TO and name.endswith(b".CTL"):
                    self.met("renamed")


@define
class Ledger:
    """What was handed in: the mark of each attempt, and how far it came: cut, open (the dot was sent) or taken.

    Sessions rest while `allowed` are acknowledged, so that the reader is never far behind.
    """

    marks: dict[str, str] = field(factory=dict)
    acknowledged: int = 0
    allowed: float = 0.0
    closing: bool = False
    violations: list[str] = field(factory=list)

    def fault(self, text: str) -> None:
        """Note a violation."""
        self.violations.append(text)


async def session(number: int, port: int, ledger: Ledger, marksman: Marksman, messages: int) -> None:
    """Hand in messages until enough are acknowledged, over as many connections as it takes."""
    count = 0
    while not ledger.closing or ledger.acknowledged < messages:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        try:
            await answer(reader)
            await say(reader, writer, b"EHLO c.invalid\r\n")
            while not ledger.closing or ledger.acknowledged < messages:
                if ledger.acknowledged >= ledger.allowed:
                    await asyncio.sleep(0.01)
                    continue
                count += 1
                mark = f"s{number}.{count}"
                ledger.marks[mark] = "cut"
                await say(reader, writer, b"MAIL FROM:<lamp@plant.invalid>\r\n")
                await say(reader, writer, b"RCPT TO:<+420603280030@sms.invalid>\r\n")
                await say(reader, writer, b"DATA\r\n")
                writer.write(f"Subject: Alarm\r\n\r\n{mark}\r\n{'x' * 60}\r\n{END}\r\n".encode())
                await writer.drain()
                ledger.marks[mark] = "open"
                writer.write(b".\r\n")
                await writer.drain()
                marksman.met("dot")
                await answer(reader)
                ledger.marks[mark] = "taken"
                ledger.acknowledged += 1
        except (OSError, EOFError):
            pass  # the bridge was killed
        finally:
            writer.close()


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> None:
    """A command and its positive answer."""
    writer.write(command)
    await answer(reader)


async def answer(reader: asyncio.StreamReader) -> None:
    """Read an answer. Raises EOFError when the connection is cut, OSError for a negative one."""
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        if line[:1] not in b"23":
            raise OSError(line.decode())
        if line[3:4] != b"-":
            return


def staged(bridge: Bridge) -> list[str]:
    """The control files that the store of a bridge that does not run has staged, read from a copy."""
    copy = bridge.folder / "copy"
    copy.mkdir(exist_ok=True)
    for name in ("mail.db", "mail.db-wal"):
        path = bridge.folder / "state" / name
        if path.exists():
            shutil.copy(path, copy / name)
    connection = apsw.Connection(str(copy / "mail.db"))
    found = [str(value) for (value,) in connection.execute("SELECT value FROM remembered WHERE key >= 'staged:' AND "
                                                           "key < 'staged;'")]
    connection.close()
    shutil.rmtree(copy)
    return found


async def shoot(bridge: Bridge, ledger: Ledger, marksman: Marksman, options: argparse.Namespace) -> tuple[int, float]:
    """Kill and start again; (kills after which a control file had its name but its delivery no end, slowest start)."""
    draw = random.Random(options.seed)
    shots = [PHASES[number % len(PHASES)] for number in range(options.kills)]
    draw.shuffle(shots)
    between, slowest = 0, 0.0
    out = bridge.folder / "out"
    for number, phase in enumerate(shots):
        wanted = options.messages * (number + draw.random() / 2) / options.kills
        ledger.allowed = max(ledger.allowed, options.messages * (number + 1) / options.kills)
        await wait_until(lambda wanted=wanted: ledger.acknowledged >= wanted, "messages to be acknowledged")
        assert bridge.process is not None
        marksman.aim(phase, bridge.process.pid, draw.randrange(10))
        if phase == "sometime":
            await asyncio.sleep(draw.random() * 0.3)
            while not marksman.done.is_set():
                marksman.met(phase)
        begun = time.monotonic()
        while not await asyncio.to_thread(marksman.done.wait, 0.5):
            ledger.allowed += options.sessions  # the phase has not come with those
            if time.monotonic() - begun > PATIENCE:
                raise RuntimeError(f"waited {PATIENCE:.0f} s for {phase}")
        code = await asyncio.to_thread(bridge.ended)
        if code != -signal.SIGKILL:
            ledger.fault(f"the bridge ended by itself, with {code}")
        unsettled = [name for value in await asyncio.to_thread(staged, bridge)
                     if not (out / (name := value.split('"')[1]).replace(".CTL", ".writing")).exists()]
        between += bool(unsettled)
        slowest = max(slowest, await asyncio.to_thread(bridge.start))
    return between, slowest


async def wait_until(true: object, what: str) -> None:
    """Poll. RuntimeError when it does not come true."""
    end = time.monotonic() + PATIENCE
    while not true():  # type: ignore[operator]
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for {what}")
        await asyncio.sleep(0.005)


def judge(record: Path, ledger: Ledger) -> dict[str, object]:
    """Compare what the reader took with what was handed in."""
    names: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    for line in record.read_text().splitlines():
        name, _, rest = line.partition(" ")
        names[name] += 1
        if rest.startswith("BROKEN"):
            ledger.fault(line)
        else:
            marks[rest] += 1
    for name, count in names.items():
        if count > 1:
            ledger.fault(f"{name} was published {count} times")
    for mark, count in marks.items():
        if count > 1:
            ledger.fault(f"message {mark} became {count} jobs")
        if ledger.marks.get(mark, "cut") == "cut":
            ledger.fault(f"message {mark} became a job, though its final dot was never sent")
    missing = [mark for mark, state in ledger.marks.items() if state == "taken" and mark not in marks]
    for mark in missing:
        ledger.fault(f"message {mark} is acknowledged and missing")
    states = Counter(ledger.marks.values())
    return {
        "messages acknowledged": states["taken"],
        "  missing": len(missing),
        "messages cut after the final dot": states["open"],
        "  that became jobs all the same": sum(ledger.marks.get(mark) == "open" for mark in marks),
        "messages cut before it": states["cut"],
        "jobs that the reader took": sum(marks.values()),
        "  twice": sum(count > 1 for count in marks.values()),
        "  without complete files": len([each for each in ledger.violations if "BROKEN" in each]),
    }


def consume(out: Path, record: Path) -> subprocess.Popen[bytes]:
    """Start the reader."""
    return subprocess.Popen([sys.executable, str(Path(__file__).with_name("job_reader.py")), str(out), str(record)],
                            stdin=subprocess.PIPE)


async def test(folder: Path, options: argparse.Namespace) -> int:
    """Everything; the exit code."""
    begun = time.monotonic()
    bridge = Bridge(folder, broken(options.broken) if options.broken else COMMAND)
    bridge.configuration.write_text(CONFIGURATION.format(smtp=bridge.smtp))
    out, record = folder / "out", folder / "record"
    out.mkdir()
    record.touch()
    ledger, marksman = Ledger(), Marksman(out)
    reader = await asyncio.to_thread(consume, out, record)
    assert reader.stdin is not None
    await asyncio.to_thread(bridge.start)
    try:
        sessions = [asyncio.create_task(session(number, bridge.smtp, ledger, marksman, options.messages))
                    for number in range(options.sessions)]
        between, slowest = await shoot(bridge, ledger, marksman, options)
        ledger.closing = True
        ledger.allowed = math.inf
        done, late = await asyncio.wait(sessions, timeout=PATIENCE)
        for each in done:
            each.result()
        if late:
            raise RuntimeError("sessions do not come to an end")
        left = -1
        end = time.monotonic() + PATIENCE
        while left and time.monotonic() < end:
            await asyncio.sleep(0.2)
            left = (await asyncio.to_thread(bridge.ask, "queue count", all=True))["count"]
        if left:
            ledger.fault(f"{left} deliveries are left in the queue")
        code = await asyncio.to_thread(bridge.terminate)
        if code not in (0, -signal.SIGTERM):
            ledger.fault(f"the bridge ended with {code} on SIGTERM")
        reader.stdin.close()
        if await asyncio.to_thread(reader.wait, PATIENCE):
            ledger.fault("the reader failed")
    finally:
        if reader.poll() is None:
            reader.kill()
        if bridge.process is not None and bridge.process.poll() is None:
            bridge.process.kill()
    rows = {f"kill -9 in phase {phase}": marksman.counts[phase] for phase in PHASES} | {
        "kill -9, all": marksman.counts.total(),
        "  with jobs renamed whose delivery was not settled": between,
        **judge(record, ledger),
    }
    lying = sorted(os.listdir(out))
    for name in lying:
        if name.endswith((".CTL", ".writing")):
            ledger.fault(f"{name} is left in the folder")
    kept = staged(bridge)
    if kept:
        ledger.fault(f"the store still has staged jobs: {kept}")
    if between < options.kills // 10:
        ledger.fault(f"only {between} kills came between a rename and the end of its delivery")
    if "Traceback" in bridge.log():
        ledger.fault(f"there is a traceback in {folder / 'log'}")
    checked, said = await asyncio.to_thread(bridge.check)
    if checked:
        ledger.fault(f"mailbridge check --store: {said}")
    rows |= {"data files left without a control file": len(lying), "slowest restart, seconds": f"{slowest:.2f}",
             "time in all, seconds": f"{time.monotonic() - begun:.0f}"}
    for name, value in rows.items():
        print(f"{name:<58}{value!s:>10}")
    for violation in ledger.violations[:20]:
        print("VIOLATION:", violation)
    print(f"{len(ledger.violations)} violations" if ledger.violations else "no violations")
    return 1 if ledger.violations else 0


def run(folder: Path, options: argparse.Namespace) -> int:
    """`applications.py kill`; the exit code."""
    return asyncio.run(test(folder, options))
