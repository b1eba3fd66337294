"""The OCE bridge: its rate through an OCE of another process, and kill -9 of two tribes that write to each other.

    python bench/oce.py rate [--counts 1000,10000] [--full] [--least 300] [--sessions 10] [--folder FOLDER]
    python bench/oce.py kill [--kills 50] [--messages 1000] [--seed N] [--folder FOLDER]

rate: sessions that are logged in hand in mails of 2 KiB for harold@oce by SMTP; the bridge stores them, pushes them to
the OCE of `twist mailbridge-oce`, another process with a store of its own, pulls them from there and stores them in the
maildrop. The time runs from the first mail to the last in the maildrop, which is counted by POP3. Shown are messages a
second and the CPU microseconds a message of both processes, for 1,000 and 10,000 messages in turn, with --full for
100,000 too. Exit code 1 when a rate is below --least, when the CPU for a message of the largest run is more than a
quarter above that of the smallest, or when a message is missing or doubled.

kill: two bridges with embedded OCEs, two tribes, HTTPS between them with pinned certificates and a shared secret.
--messages go each way, each with an attachment, while each bridge is killed --kills times at any moment and started
again. A session that is cut sends again under a new id. Exit code 1 when an acknowledged id does not arrive exactly
once, when any id arrives twice, when an attachment is altered, when anything is left, or a log has a traceback.

What is left in FOLDER (default: the temporary one, which must be on a real disk) is removed if all is well.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import hashlib
import os
import poplib
import random
import shutil
import smtplib
import sys
import tempfile
import threading
import time
from base64 import b64encode, encodebytes
from collections import Counter
from pathlib import Path

from attrs import define, field
from bridge import HOST, Lines
from oce_processes import PASSWORD, PATIENCE, Running

SIZE = 2048
FLAT = 1.25
QUIET_SECONDS = 600.0
_TICK = os.sysconf("SC_CLK_TCK")


# --- rate -------------------------------------------------------------------------------------------------------------


def cpu(process: Running) -> float:
    """CPU seconds of a process and of its children that have ended."""
    assert process.process is not None
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICK


def hand_in(port: int, numbers: range, faults: list[BaseException]) -> None:
    """One session: a mail for each number."""
    try:
        line = Lines(port)
        line.socket.sendall(b"EHLO bench.invalid\r\n")
        while line.line()[3:4] == b"-":
            pass
        line.ask(b"AUTH PLAIN " + b64encode(b"\0bonnie\0" + PASSWORD.encode()))
        for number in numbers:
            content = (b"From: bonnie@oce\r\nTo: harold@oce\r\nSubject: number %d\r\nMessage-ID: <%d@bench.invalid>\r\n"
                       b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\n" % (number, number))
            content += b"".join([b"x" * 76 + b"\r\n"] * ((SIZE - len(content)) // 78)) + b".\r\n"
            line.socket.sendall(b"MAIL FROM:<bonnie@oce>\r\nRCPT TO:<harold@oce>\r\nDATA\r\n")
            for _ in range(3):
                line.line()
            line.socket.sendall(content)
            line.line()
        line.quit()
    except (OSError, SystemExit) as error:
        faults.append(error)


def once(bridge: Running, oce: Running, count: int, sessions: int, before: int) -> dict[str, float]:
    """One run; what it measured."""
    faults: list[BaseException] = []
    threads = [threading.Thread(target=hand_in, args=(bridge.smtp, range(first, count, sessions), faults))
               for first in range(sessions)]
    used, used_oce, begun = cpu(bridge), cpu(oce), time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    accepted = time.monotonic() - begun
    if faults:
        raise SystemExit(f"a session failed: {faults[0]}")
    stored = -1
    while stored < before + count:
        if time.monotonic() - begun > QUIET_SECONDS:
            raise SystemExit(f"{before + count - stored} messages have not arrived")
        time.sleep(0.05)
        stored = bridge.ask("oce pullinfo")["counts"]["stored"]
    whole = time.monotonic() - begun
    return {"rate": count / whole, "accepted": count / accepted, "bridge": (cpu(bridge) - used) / count * 1e6,
            "oce": (cpu(oce) - used_oce) / count * 1e6}


def emptied(bridge: Running, count: int) -> int:
    """How many messages were in the maildrop, by POP3; `count` of them are deleted."""
    reader = Lines(bridge.pop3)
    reader.login("harold@oce", PASSWORD)
    found = reader.count()
    reader.delete(min(found, count))
    reader.quit()
    return found


def rate(folder: Path, options: argparse.Namespace) -> int:
    """Everything about the rate; the exit code."""
    oce, bridge = Running(folder / "oce", "home", mail=False), Running(folder / "bridge", "friends")
    oce.configure(oce.embedded(tls=False))
    bridge.configure(f'[oce]\nurl = "http://{HOST}:{oce.port}/"\ninterval = "1 s"\n')
    try:
        for each in (oce, bridge):
            each.start()
            each.add("bonnie", "harold")
        bridge.ask("oce register", member="harold", password=PASSWORD)
        counts = [int(each) for each in options.counts.split(",")] + ([100_000] if options.full else [])
        once(bridge, oce, 500, options.sessions, 0)  # to warm up
        done, results = 500, []
        emptied(bridge, 500)
        print(f"{'messages':>9} {'a second':>9} {'accepted':>9} {'CPU us':>8} {'bridge':>8} {'OCE':>8}  in maildrop")
        for count in counts:
            told = once(bridge, oce, count, options.sessions, done)
            done += count
            found = emptied(bridge, count)
            results.append((count, told, found))
            print(f"{count:>9} {told['rate']:>9.0f} {told['accepted']:>9.0f} {told['bridge'] + told['oce']:>8.0f} "
                  f"{told['bridge']:>8.0f} {told['oce']:>8.0f}  {found}", flush=True)
    finally:
        bridge.stop()
        oce.stop()
    first, last = (told["bridge"] + told["oce"] for _, told, _ in (results[0], results[-1]))
    faults = [f"{count} messages: only {told['rate']:.0f} a second" for count, told, _ in results
              if told["rate"] < options.least]
    faults += [f"{found} of {count} messages" for count, _, found in results if found != count]
    if last > first * FLAT:
        faults.append(f"CPU for a message grows from {first:.0f} to {last:.0f} us")
    faults += [f"a traceback in {each.folder / 'log'}" for each in (oce, bridge) if "Traceback" in each.log()]
    return report(faults)


# --- kill -------------------------------------------------------------------------------------------------------------


@define(eq=False)
class Way:
    """One direction. `allowed` is how many may have been sent by now; `acknowledged` ids got their 250."""

    source: Running
    recipient: str
    wanted: int
    allowed: int = 0
    acknowledged: dict[str, str] = field(factory=dict)
    cut: int = 0


def attachment(ident: str) -> bytes:
    """The octets that go with an id: 1 to 200 KiB."""
    draw = random.Random(ident)
    return draw.randbytes(draw.choice((1, 5, 20, 200)) * 1024)


def mail(ident: str, recipient: str) -> bytes:
    """A mail with an attachment."""
    octets = encodebytes(attachment(ident)).replace(b"\n", b"\r\n")
    return (f"From: bonnie@oce\r\nTo: {recipient}\r\nSubject: {ident}\r\nMessage-ID: <{ident}@bench.invalid>\r\n"
            'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_b"\r\n\r\n--=_b\r\n'
            f"Content-Type: text/plain\r\n\r\nThis is {ident}.\r\n--=_b\r\nContent-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f'Content-Disposition: attachment; filename="{ident}.bin"\r\n\r\n').encode() + octets + b"\r\n--=_b--\r\n"


def send(way: Way, end: threading.Event) -> None:
    """Send as many as are allowed until all are acknowledged; another id for each try."""
    tries = 0
    while len(way.acknowledged) < way.wanted and not end.is_set():
        try:
            with smtplib.SMTP(HOST, way.source.smtp, timeout=PATIENCE) as client:
                client.login("bonnie@oce", PASSWORD)
                while len(way.acknowledged) < way.wanted and not end.is_set():
                    if len(way.acknowledged) >= way.allowed:
                        time.sleep(0.01)
                        continue
                    tries += 1
                    ident = f"{way.source.name}-{tries}"
                    refused = client.sendmail("bonnie@oce", [way.recipient], mail(ident, way.recipient))
                    if not refused:
                        way.acknowledged[ident] = way.recipient
        except (OSError, smtplib.SMTPException):
            way.cut += 1
            time.sleep(0.02)


def shoot(way: Way, kills: int, draw: random.Random, starts: list[float], faults: list[str]) -> None:
    """Kill the source of a way again and again while it works."""
    try:
        for number in range(1, kills + 1):
            way.allowed = way.wanted * number // kills
            time.sleep(draw.random() * draw.choice((0.05, 0.5, 1.5)))
            way.source.kill()
            starts.append(way.source.start())
    except BaseException as error:
        faults.append(f"{way.source.name}: {error}")
    finally:
        way.allowed = way.wanted


def taken(bridge: Running, counts: Counter[str], faults: list[str]) -> None:
    """Read and delete all of edgar's or harold's maildrop, counting ids."""
    box = poplib.POP3(HOST, bridge.pop3, timeout=PATIENCE)
    box.user("harold")
    box.pass_(PASSWORD)
    for number in range(1, box.stat()[0] + 1):
        octets = b"\r\n".join(box.retr(number)[1]) + b"\r\n"
        message = email.message_from_bytes(octets, policy=email.policy.SMTP)
        ident = str(message["Subject"])
        counts[ident] += 1
        parts = [part.get_content() for part in message.iter_attachments()] if message.is_multipart() else []
        body = message.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        if f"This is {ident}." not in text:
            faults.append(f"no mail that was sent: {octets[:600]!r}")
        elif [hashlib.sha256(part).digest() for part in parts] != [hashlib.sha256(attachment(ident)).digest()]:
            faults.append(f"{ident}: the attachment was altered")
        box.dele(number)
    box.quit()


def kill(folder: Path, options: argparse.Namespace) -> int:
    """Everything about kills; the exit code."""
    begun = time.monotonic()
    home, friends = Running(folder / "home", "home"), Running(folder / "friends", "friends")
    for own, other in ((home, friends), (friends, home)):
        own.configure(own.embedded() + own.tribe(other, "a secret of both"))
    ways = (Way(home, "harold@friends.oce", options.messages), Way(friends, "harold@home.oce", options.messages))
    faults: list[str] = []
    starts: list[float] = []
    counts: Counter[str] = Counter()
    end = threading.Event()
    try:
        for each in (home, friends):
            each.start()
            each.add("bonnie", "harold")
        senders = [threading.Thread(target=send, args=(way, end)) for way in ways]
        guns = [threading.Thread(target=shoot, args=(way, options.kills, random.Random(options.seed + number), starts,
                                                     faults)) for number, way in enumerate(ways)]
        for each in senders + guns:
            each.start()
        for each in guns:
            each.join()
        loaded = time.monotonic() - begun
        for each in senders:
            each.join(QUIET_SECONDS)
        wanted = {ident for way in ways for ident in way.acknowledged}
        deadline = time.monotonic() + QUIET_SECONDS
        left = 1
        while (left or wanted - counts.keys()) and time.monotonic() < deadline and not faults:
            time.sleep(0.5)
            left = sum(each.ask("queue count", all=True)["count"] for each in (home, friends))
            for each in (home, friends):
                taken(each, counts, faults)
        time.sleep(2)  # what comes twice may come late
        for each in (home, friends):
            taken(each, counts, faults)
    finally:
        end.set()
        home.stop()
        friends.stop()
    missing = wanted - counts.keys()
    twice = [ident for ident, count in counts.items() if count > 1]
    faults += [f"missing: {len(missing)}, {sorted(missing)[:5]}"] if missing else []
    faults += [f"more than once: {len(twice)}, {sorted(twice)[:5]}"] if twice else []
    faults += [f"{left} deliveries are left"] if left else []
    faults += [f"a traceback in {each.folder / 'log'}" for each in (home, friends) if "Traceback" in each.log()]
    for name, value in {
        "kill -9, each side": options.kills, "acknowledged": len(wanted), "arrived once": len(counts) - len(twice),
        "arrived more than once": len(twice), "missing": len(missing),
        "arrived though their 250 was not read": len(counts.keys() - wanted),
        "sessions cut": sum(way.cut for way in ways), "start, seconds: slowest": f"{max(starts, default=0):.2f}",
        "time under kills, seconds": f"{loaded:.0f}", "time in all, seconds": f"{time.monotonic() - begun:.0f}",
    }.items():
        print(f"{name:<45}{value:>10}")
    return report(faults)


def report(faults: list[str]) -> int:
    """Say what is wrong; the exit code."""
    for fault in faults[:20]:
        print("VIOLATION:", fault)
    print(f"{len(faults)} violations" if faults else "no violations")
    return 1 if faults else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rate", "kill"))
    parser.add_argument("--counts", default="1000,10000")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--least", type=float, default=300.0)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mb-oce-", dir=options.folder))
    code = 1
    try:
        code = rate(folder, options) if options.what == "rate" else kill(folder, options)
    finally:
        if code:
            print(f"everything is kept in {folder}")
        else:
            shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
