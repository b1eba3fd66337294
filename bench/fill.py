"""Fills the maildrops u0, u1, ... of a running bridge: CLIENTS MESSAGES BYTES, as a POP3 benchmark calls it.

    python3 bench/fill.py --smtp 2525 --control state/control.sock 50 200 5120

Users that are missing are made with the password `bench`; the mail goes in by pipelined SMTP, and what is in a
maildrop already stays there. Loopback only; ends by itself.
"""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path

HOST = "127.0.0.1"
DOMAIN = "dst.invalid"
PASSWORD = "bench"
BATCH = 20  # transactions of one segment: far below what a session buffers


def ask(control: Path, command: str, **arguments: object) -> object:
    """The answer to a command on the control socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(control))
        line.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
        return json.loads(line.makefile().readline())


def message(number: int, size: int) -> bytes:
    """A message of about `size` octets."""
    head = (
        f"From: a@src.invalid\r\nTo: b@{DOMAIN}\r\nSubject: message {number}\r\nMessage-ID: <{number}@src.invalid>\r\n"
        "Date: Sat, 01 Jan 2022 00:00:00 +0000\r\n\r\n"
    ).encode()
    return head + (b"x" * 76 + b"\r\n") * max(1, (size - len(head)) // 78)


def fill(port: int, user: str, count: int, size: int) -> None:
    """Send `count` messages to a user over one connection."""
    with socket.create_connection((HOST, port)) as wire:
        answers = wire.makefile("rb")
        answers.readline()
        wire.sendall(b"HELO bench.invalid\r\n")
        answers.readline()
        for start in range(0, count, BATCH):
            batch = range(start, min(start + BATCH, count))
            wire.sendall(b"".join(
                b"MAIL FROM:<a@src.invalid>\r\nRCPT TO:<%s@%s>\r\nDATA\r\n%s.\r\n"
                % (user.encode(), DOMAIN.encode(), message(number, size)) for number in batch
            ))
            for _ in batch:
                codes = [answers.readline()[:3] for _ in range(4)]
                if codes != [b"250", b"250", b"354", b"250"]:
                    raise SystemExit(f"the bridge did not take a message for {user}: {codes}")
        wire.sendall(b"QUIT\r\n")


def main() -> None:
    """Parse the command line and fill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smtp", type=int, required=True, help="the port of an [[smtp]] listener on loopback")
    parser.add_argument("--control", type=Path, required=True, help="the control socket of the bridge")
    parser.add_argument("clients", type=int)
    parser.add_argument("messages", type=int)
    parser.add_argument("bytes", type=int)
    given = parser.parse_args()
    for number in range(given.clients):
        name = f"u{number}"
        ask(given.control, "user add", name=name, password=PASSWORD)  # a conflict says that he is there
        fill(given.smtp, name, given.messages, given.bytes)


if __name__ == "__main__":
    main()
