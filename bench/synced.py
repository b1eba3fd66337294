"""Each 250 after the content of a message, paired with the sync that covers it: none earlier. Needs strace.

    python bench/synced.py [--messages 400] [--sessions 8] [--folder FOLDER] [--break early|wal|segment]

Runs the bridge under `strace -f`, sends messages of 2 KiB, 50 KiB and 1 MiB by DATA and BDAT over several sessions,
and follows each message by its queue id, which stands in the reply ("250 2.0.0 Stored as QUEUEID") and in the Received
line:

small   its octets are written to the write-ahead log, in pages whose transaction ends with a commit frame; a sync of
        the log begins after that was written, and has returned before the reply is sent
large   its octets are written to a segment file; a sync of that file begins afterwards, and has returned before the row
        that names these very octets is written to the log; the log is synced as above; and the segment's folder was
        synced after the file was made

"Before" is the order of strace's lines (see strace.py). That the octets are the message is checked against what was
sent. Exit code 1 when a reply is not covered. `--break` (see broken.py) runs a bridge that is broken on purpose: the
script must find it out.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import smtplib
import sys
import tempfile
import threading
from bisect import bisect_left
from collections import Counter
from pathlib import Path

from attrs import define, field
from kill_bridge import COMMAND, DOMAIN, Bridge, broken
from strace import CALLS, Call, read_trace

SIZES = (2 * 1024, 50 * 1024, 1024 * 1024)
WEIGHTS = (60, 30, 10)
SHOWN_OCTETS = 8400  # of a call: a page of the data base is 8 KiB
FRAME_HEADER = 24  # octets before each page in a write-ahead log: page number, size after commit or 0, salts, sums

_STORED = re.compile(rb"250 2\.0\.0 Stored as ([!-~]+)\r\n")


class Uncovered(Exception):
    """Why a reply is not covered."""


# --- what is sent -----------------------------------------------------------------------------------------------------


def make_message(number: int, size: int, draw: random.Random) -> bytes:
    """A message that is like no other."""
    head = b"Message-ID: <%d@synced.invalid>\r\nSubject: synced\r\n\r\n" % number
    text = draw.randbytes((size - len(head)) // 2).hex().encode()
    return head + b"".join(text[at:at + 76] + b"\r\n" for at in range(0, len(text), 76))


def send(bridge: Bridge, numbers: range, sent: dict[str, bytes]) -> None:
    """One session: messages by DATA and BDAT in turn; queue ids as replied go to `sent` with the octets."""
    draw = random.Random(numbers.start)
    with smtplib.SMTP("127.0.0.1", bridge.smtp, timeout=60) as client:
        client.ehlo("synced")
        for number in numbers:
            octets = make_message(number, draw.choices(SIZES, WEIGHTS)[0], draw)
            client.mail("a@src.invalid")
            client.rcpt(f"b@{DOMAIN}")
            if number % 2:
                code, text = client.data(octets)
            else:
                client.send(b"BDAT %d LAST\r\n%b" % (len(octets), octets))
                code, text = client.getreply()
            if code != 250:
                raise RuntimeError(f"the bridge refused a message: {code} {text!r}")
            sent[text.split()[-1].decode("ascii")] = octets


# --- what was traced --------------------------------------------------------------------------------------------------


@define
class Frame:
    """A page in the write-ahead log; `commit` when its header says that a transaction ends with it."""

    header: Call
    page: Call
    commit: bool


@define
class Chain:
    """What covers a reply, in order: (what, call)."""

    links: list[tuple[str, Call]] = field(factory=list)


class Trace:
    """The calls of a run, sorted by what they are for."""

    def __init__(self, path: Path, state: Path) -> None:
        self.state = state
        self.frames: list[Frame] = []
        self.log_syncs: list[Call] = []
        self.segment_writes: dict[str, list[Call]] = {}
        self.segment_syncs: dict[str, list[Call]] = {}
        self.made: dict[str, Call] = {}
        self.folder_syncs: list[Call] = []
        self.replies: list[tuple[str, Call]] = []
        header: Call | None = None
        log, segments = f"{state}/mail.db-wal", f"{state}/segments"
        for call in read_trace(path):
            if call.name == "openat":
                name = call.path.partition(" ")[0]
                if "O_CREAT" in call.path and name.startswith(segments + "/"):
                    self.made[name] = call
            elif call.path.startswith("TCP:"):
                self.replies += [(found.decode(), call) for found in _STORED.findall(call.octets)]
            elif call.name in ("fsync", "fdatasync"):
                if call.result == 0:
                    self._synced(call, log, segments)
            elif call.path == log and call.result == FRAME_HEADER and len(call.octets) == FRAME_HEADER:
                header = call
            elif call.path == log and header is not None and call.offset == header.offset + FRAME_HEADER:
                self.frames.append(Frame(header, call, any(header.octets[4:8])))
            elif call.path.startswith(segments + "/"):
                self.segment_writes.setdefault(call.path, []).append(call)

    def _synced(self, call: Call, log: str, segments: str) -> None:
        if call.path == log:
            self.log_syncs.append(call)
        elif call.path == segments:
            self.folder_syncs.append(call)
        elif call.path.startswith(segments + "/"):
            self.segment_syncs.setdefault(call.path, []).append(call)

    def cover(self, queue_id: str, reply: Call, octets: bytes) -> Chain:
        """What covers this reply. Raises Uncovered."""
        name = queue_id.encode()
        row = next((index for index, frame in enumerate(self.frames) if name in frame.page.octets), None)
        if row is None:
            raise Uncovered("its row is never written to the log")
        last = next((index for index in range(row, len(self.frames)) if self.frames[index].commit), None)
        if last is None:
            raise Uncovered("its transaction has no commit frame")
        first = row
        while first and not self.frames[first - 1].commit:
            first -= 1
        # A page that SQLite has split keeps stale octets of rows that went to its neighbour: look where the content is.
        named = [frame.page for frame in self.frames[row:last + 1] if name in frame.page.octets]
        page = next((each for each in named if octets in each.octets), named[0])
        chain = Chain()
        if octets in page.octets:
            chain.links.append(("row with content to the log", page))
        else:
            self._cover_segments(name, octets, page, chain)
            chain.links.append(("row that names it to the log", page))
        written = max((frame.page for frame in self.frames[first:last + 1]), key=lambda call: call.ended)
        sync = first_after(self.log_syncs, written.ended)
        chain.links.append(("last page of the commit", written))
        if sync is None:
            raise Uncovered("no sync of the log after its commit frame")
        chain.links += [("sync of the log returned", sync), ("250 sent", reply)]
        if sync.ended >= reply.begun:
            raise Uncovered(f"the reply is on line {reply.begun} of the trace, its sync returned on line {sync.ended}")
        return chain

    def _cover_segments(self, name: bytes, octets: bytes, row: Call, chain: Chain) -> None:
        """The extents that the row names: written, synced, made known to the folder, all before the row was written."""
        extents = self._extents(row.octets[row.octets.index(name) + len(name):])
        if not extents:
            raise Uncovered("its content is neither in its row nor named there")
        content = b""
        for path, offset, length in extents:
            writes = self._writes(path, offset, length)
            if not content and name not in writes[0].octets:
                raise Uncovered("what is written to the segment does not begin with its queue id")
            written = max(writes, key=lambda call: call.ended)
            sync = first_after(self.segment_syncs.get(path, []), written.ended)
            if sync is None or sync.ended >= row.begun:
                raise Uncovered(f"{path} is not synced between the content and the row that names it")
            made = self.made.get(path)
            known = first_after(self.folder_syncs, made.ended) if made else None
            if known is None or known.ended >= row.begun:
                raise Uncovered(f"the folder of {path} is not synced before the row that names it")
            with open(path, "rb") as segment:
                segment.seek(offset)
                content += segment.read(length)
        if not content.startswith(b"Received: ") or name not in content[:400] or not content.endswith(octets):
            raise Uncovered("the extents that its row names do not hold the message")
        chain.links += [("last of the content to the segment", written), ("sync of the segment returned", sync)]

    def _writes(self, path: str, offset: int, length: int) -> list[Call]:
        """The calls that wrote an extent, by offset. Raises Uncovered when they leave a hole."""
        writes = sorted((call for call in self.segment_writes[path]
                         if call.offset < offset + length and offset < call.offset + call.result),
                        key=lambda call: call.offset)
        at = offset
        for call in writes:
            if call.offset > at:
                break
            at = call.offset + call.result
        if at < offset + length:
            raise Uncovered(f"octet {at} of {path} is not written")
        return writes

    def _extents(self, row: bytes) -> list[tuple[str, int, int]]:
        """The extents named behind a queue id: (file, offset, length). A number before may end in digits by chance."""
        found = re.search(rb"(\d+:\d+:\d+)(,\d+:\d+:\d+)*", row)
        if found is None:
            return []
        text = found[0].decode()
        for start in range(text.index(":")):
            extents = []
            for part in text[start:].split(","):
                segment, offset, length = map(int, part.split(":"))
                extents.append((f"{self.state}/segments/{segment:012x}", offset, length))
            if all(path in self.segment_writes for path, _, _ in extents):
                return extents
        return []


def first_after(calls: list[Call], line: int) -> Call | None:
    """The first to return of the calls that began after a line of the trace; `calls` are in the order of their ends."""
    start = bisect_left(calls, line, key=lambda call: call.ended)
    return next((call for call in calls[start:] if call.begun > line), None)


# --- the whole --------------------------------------------------------------------------------------------------------


def run(folder: Path, command: tuple[str, ...], messages: int, sessions: int) -> tuple[Trace, dict[str, bytes]]:
    """Run the bridge under strace and send; the trace, and what was sent by queue id."""
    strace = ("strace", "-f", "-ttt", "-T", "-yy", "-xx", "-s", str(SHOWN_OCTETS), "--seccomp-bpf",
              "-e", "trace=" + ",".join(CALLS), "-e", "signal=none", "-o", str(folder / "trace"))
    bridge = Bridge(folder, (*strace, *command))
    sent: dict[str, bytes] = {}
    try:
        bridge.start()
        bridge.add_users(["b"])
        share = -(-messages // sessions)
        clients = [threading.Thread(target=send, args=(bridge, range(start, min(start + share, messages)), sent))
                   for start in range(0, messages, share)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    finally:
        if bridge.process is not None and bridge.process.poll() is None:
            # strace itself ignores SIGTERM; the bridge has noted its own number.
            os.kill(int((folder / "state" / "lock").read_text()), signal.SIGTERM)
            bridge.ended()
    return Trace(folder / "trace", folder / "state"), sent


def judge(trace: Trace, sent: dict[str, bytes], messages: int) -> int:
    """Pair, print, count; the exit code."""
    violations: list[str] = []
    covered: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    examples: dict[str, tuple[str, Chain]] = {}
    log_syncs, segment_syncs, gaps = set(), set(), []
    for queue_id, reply in trace.replies:
        octets = sent.pop(queue_id, None)
        if octets is None:
            violations.append(f"{queue_id}: a reply that no client read, or the second one")
            continue
        size = f"{min(SIZES, key=lambda size: abs(size - len(octets))) // 1024} KiB"
        replies[size] += 1
        try:
            chain = trace.cover(queue_id, reply, octets)
        except Uncovered as error:
            violations.append(f"{queue_id} ({size}): {error}")
            continue
        covered[size] += 1
        examples.setdefault(size, (queue_id, chain))
        log_syncs.add(chain.links[-2][1])
        segment_syncs |= {call for what, call in chain.links if what.startswith("sync of the segment")}
        gaps.append(reply.at - chain.links[-2][1].until)
    violations += [f"{queue_id}: a client read this reply, and the trace does not have it" for queue_id in sent]
    if replies.total() < messages:
        violations.append(f"{messages} messages were to be sent, {replies.total()} replies are in the trace")
    for size, (queue_id, chain) in examples.items():
        print(f"{size}, {queue_id}:")
        begun = chain.links[0][1].at
        for what, call in chain.links:
            place = call.path.removeprefix(f"{trace.state}/")
            at = call.until if "returned" in what else call.at
            print(f"  {(at - begun) * 1000:9.3f} ms  line {call.ended:<7} {call.name:<9} fd {call.descriptor:<3} "
                  f"{place:<40} {what}")
    print(f"{'250 after content':<30}" + "".join(f"{size:>12}" for size in [*replies, "all"]))
    for what, counts in (("replies", replies), ("covered", covered)):
        print(f"{what:<30}" + "".join(f"{counts[size]:>12}" for size in replies) + f"{counts.total():>12}")
    print(f"{'violations':<30}" + "".join(f"{replies[size] - covered[size]:>12}" for size in replies)
          + f"{len(violations):>12}")
    print(f"they share {len(log_syncs)} syncs of the log and {len(segment_syncs)} of segments"
          + (f"; shortest time from sync to reply {min(gaps) * 1e6:.0f} us" if gaps else ""))
    for violation in violations[:10]:
        print("VIOLATION:", violation)
    return 1 if violations else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--break", dest="broken", choices=("early", "wal", "segment"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="synced-", dir=options.folder)).resolve()
    trace, sent = run(folder, broken(options.broken) if options.broken else COMMAND, options.messages, options.sessions)
    code = judge(trace, sent, options.messages)
    if code:
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
