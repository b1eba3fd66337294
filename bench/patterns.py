"""How long others wait while patterns that are slow elsewhere meet text that is made for them.

    python bench/patterns.py [--seconds 10] [--folder FOLDER]

`(a+)+$` and `.*.*.*.*.*ID:(\\d+)$` are patterns of addresses, of senders and of a `parse` setting. Eight sessions send,
for `--seconds`, mail whose subjects have 900 and 400 letters `a` and whose addresses have as many as an address may
have, while another client asks NOOP all the time. Prints the number of messages and the client's waits. Exit code 1
when one wait was 100 ms or longer, or when a job is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from bridge import Bridge, Lines

LIMIT = 0.1
SENDERS = 8
PATIENCE = 60.0
ASKED = 50
"""Times in a session: more commands without mail would be too many."""
SETTINGS = r"""
[application.slow]
output_folder = "out"
ctl_type = "json"
addresses = ['(a+)+$', '.*.*.*.*.*ID:(?P<number>\d+)$', '(?P<number>\+?\d+)@sms\.invalid']
from_disabled = ['(a+)+$', '.*.*.*.*.*ID:(\d+)$']
clients = ["127.0.0.1"]
[application.slow.ctl_settings]
"system|one|parse|subject" = '(a+)+$'
"system|two|parse|subject" = '.*.*.*.*.*ID:(\d+)$'
"system|three|parse|msg" = '(a+)+$'
"""
SUBJECTS = [b"a" * 900 + b"!", b"a" * 400]
LONGEST = b"a" * 240 + b"!@x.invalid"


def send(port: int, until: float, counts: list[int]) -> None:
    """One session's mail."""
    count = 0
    while time.monotonic() < until:
        line = Lines(port)
        line.ask(b"HELO x")
        line.ask(b"MAIL FROM:<%s>" % LONGEST)
        line.socket.sendall(b"RCPT TO:<%s>\r\n" % LONGEST)
        line.file.readline()  # refused, after every pattern has looked at it
        line.ask(b"RCPT TO:<+420603280030@sms.invalid>")
        line.ask(b"DATA")
        line.ask(b"Subject: %s\r\n\r\n%s\r\n." % (SUBJECTS[count % 2], b"a" * 900 + b"!"))
        line.socket.close()
        count += 1
    counts.append(count)


def waits(port: int, until: float) -> list[float]:
    """What another client waits for each answer, in seconds."""
    found = []
    while time.monotonic() < until:
        line = Lines(port)
        for _ in range(ASKED):
            begun = time.perf_counter()
            line.ask(b"NOOP")
            found.append(time.perf_counter() - begun)
            time.sleep(0.002)
        line.socket.close()
    return found


def measure(folder: Path, seconds: float) -> int:
    """Everything; the exit code."""
    bridge = Bridge(folder, more=SETTINGS)
    (folder / "out").mkdir()
    try:
        bridge.start()
        port = bridge.ports["smtp"]
        until = time.monotonic() + seconds
        counts: list[int] = []
        threads = [threading.Thread(target=send, args=(port, until, counts)) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        found = sorted(waits(port, until))
        for thread in threads:
            thread.join()
        end = time.monotonic() + PATIENCE
        while (jobs := len(list((folder / "out").glob("*.json")))) < sum(counts) and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        bridge.stop()
    print(f"{sum(counts)} messages, {jobs} jobs; another client waited {found[len(found) // 2] * 1e3:.1f} ms (median), "
          f"{found[len(found) * 99 // 100] * 1e3:.1f} ms (99 %), {found[-1] * 1e3:.1f} ms (longest of {len(found)})")
    return int(found[-1] >= LIMIT or jobs < sum(counts) or not counts)


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TMPDIR", tempfile.gettempdir())))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="patterns-", dir=options.folder))
    try:
        return measure(folder, options.seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
