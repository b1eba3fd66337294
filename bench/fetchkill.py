"""Kills during a collection: each message of the POP3 server arrives in the bridge exactly once, whatever is killed.

    python bench/fetchkill.py [--kills N] [--messages N] [--only bridge|server] [--size OCTETS]

N messages (5,000) lie in a mailbox of a private Dovecot, behind a line so slow that collecting them takes as long as N
(100) starts. The bridge is killed with `kill -9` at a random moment of each of its collections and started again; then,
with as many new messages, all processes of Dovecot are, while the bridge goes on. At the end the maildrop is read by
POP3 and every message must be in it once, octet for octet below the lines that were added, and the mailbox over there
empty. Needs root and dovecot-pop3d; a quarter of an hour, `--kills 20 --messages 1000` for a short run.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bridge import HOST, ROOT, Bridge, Lines
from pop3_peers import PASSWORD, Dovecot, SlowLine, message, wire

sys.path.insert(0, str(ROOT))

from mailbridge import certificate

FETCH = """
[popfetch]
timer = "1 s"
retry_delay = "1 s"
wait = 0
log_level = "error"
[[popfetch.account]]
name = "far"
host = "{host}"
port = {port}
user = "{user}"
password = "{password}"
tls = "off"
"""
_ADDED = re.compile(rb"Return-Path: [^\r]*\r\n(?:Received: [^\r]*\r\n(?:[ \t][^\r]*\r\n)*)")


def below(octets: bytes) -> bytes:
    """What was fetched, without the lines that the bridge added."""
    match = _ADDED.match(octets)
    return octets[match.end():] if match else octets


def maildrop(bridge: Bridge, user: str) -> list[bytes]:
    """All messages of a user."""
    box = Lines(bridge.ports["pop3"])
    box.login(user, PASSWORD)
    found = [box.text(b"RETR %d" % number) for number in range(1, box.count() + 1)]
    box.quit()
    return found


def verdict(sent: list[bytes], found: list[bytes]) -> list[str]:
    """What is wrong."""
    expected, got = Counter(map(wire, sent)), Counter(map(below, found))
    lost, twice = expected - got, got - expected
    return [f"{sum(count.values())} {words}" for count, words in ((lost, "lost"), (twice, "twice or altered")) if count]


def killed_bridge(bridge: Bridge, dovecot: Dovecot, user: str, kills: int, chance: random.Random) -> int:
    """Kill the bridge while it collects; how many kills met a collection in progress."""
    met = 0
    for number in range(kills):
        bridge.start()
        time.sleep(chance.uniform(0.0, 0.8))
        account = bridge.control("fetch status")["accounts"][0]
        met += bool(account["running"])
        bridge.stop(kill=True)
        if number % 20 == 19:
            print(f"  {number + 1} kills, {account['last']['fetched']} fetched in the last one, "
                  f"{dovecot.left(user)} over there", flush=True)
    return met


def collecting(bridge: Bridge) -> bool:
    """Whether messages are coming."""
    account = bridge.control("fetch status")["accounts"][0]
    return bool(account["running"] and account["last"]["fetched"])


def killed_server(bridge: Bridge, dovecot: Dovecot, user: str, kills: int, chance: random.Random) -> int:
    """Kill Dovecot while it is collected from."""
    met = 0
    for number in range(kills):
        dovecot.start()
        deadline = time.monotonic() + 10
        while not collecting(bridge) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.6))
        met += bool(bridge.control("fetch status")["accounts"][0]["running"])
        dovecot.stop(signal.SIGKILL)
        if number % 20 == 19:
            print(f"  {number + 1} kills, {dovecot.left(user)} over there", flush=True)
        while bridge.control("fetch status")["accounts"][0]["running"]:
            time.sleep(0.02)
    return met


def main() -> int:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--size", type=int, default=5120)
    parser.add_argument("--only", choices=("bridge", "server"))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    chance = random.Random(args.seed)
    print(f"seed {args.seed}")
    folder = Path(tempfile.mkdtemp(prefix="mb-fk-"))
    folder.chmod(0o755)
    failed = False
    try:
        pem = folder / "cert.pem", folder / "key.pem"
        certificate.write(certificate.make(("localhost", HOST), 90, time.time()), *pem)
        for what in ("bridge", "server") if args.only is None else (args.only,):
            user = f"box-{what}"
            dovecot = Dovecot(folder / f"dovecot-{what}", *pem)
            sent = [message(number, args.size) for number in range(args.messages)]
            dovecot.fill(user, sent)
            line = SlowLine(dovecot.port, args.messages * (args.size + 200) / args.kills / 0.35)
            bridge = Bridge(folder / what, more="")
            bridge.configuration.chmod(0o600)
            bridge.start()
            bridge.control("user add", name="b", password=PASSWORD)
            bridge.stop()
            with bridge.configuration.open("a") as file:
                file.write(FETCH.format(host=HOST, port=line.port, user=user, password=PASSWORD))
            begun = time.monotonic()
            try:
                if what == "bridge":
                    dovecot.start()
                    met = killed_bridge(bridge, dovecot, user, args.kills, chance)
                    bridge.start()
                else:
                    bridge.start()
                    met = killed_server(bridge, dovecot, user, args.kills, chance)
                    dovecot.start()
                line.rate = 1e12
                told = bridge.control("fetch now")
                while dovecot.left(user) and time.monotonic() < begun + 1800 and not told["stopped"]:
                    told = bridge.control("fetch now")
                wrong = verdict(sent, maildrop(bridge, "b"))
                if dovecot.left(user):
                    wrong.append(f"{dovecot.left(user)} still over there: {told['accounts'][0]['error']}")
            finally:
                bridge.stop()
                dovecot.stop()
                line.stop()
            failed = failed or bool(wrong)
            result = ", ".join(wrong) or "each exactly once, octets equal"
            print(f"{args.kills} kills of the {what}, {met} of them during a collection: {args.messages} messages, "
                  f"{result}; {time.monotonic() - begun:.0f} s", flush=True)
        return int(failed)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
