"""Bridges and OCEs in private processes, for `oce.py`: fixed ports of this host, a folder each, ended by their ids."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bridge import HOST, ROOT, free_port

sys.path.insert(0, str(ROOT))

from mailbridge import certificate

PASSWORD = "bench"
PATIENCE = 60.0
KEYS = {"home": "AAAA0000AAAA0000", "friends": "BBBB1111BBBB1111"}

COMMON = """hostname = "{name}.invalid"
state = "state"
[tls]
certificate = "cert.pem"
key = {{ file = "key.pem" }}
[limits]
connections_per_client = 1000
[users]
domains = ["{name}.invalid"]
[queue]
retry = "1 s"
longest_retry = "2 s"
pause = "1 s"
"""
LISTENERS = """[[smtp]]
listen = "tcp:{smtp}:interface=127.0.0.1"
[[pop3]]
listen = "tcp:{pop3}:interface=127.0.0.1"
"""


class Running:
    """One process in `folder`; `oce` is the text of its [oce]. Without mail it is `twist mailbridge-oce`."""

    def __init__(self, folder: Path, name: str, mail: bool = True) -> None:
        folder.mkdir(parents=True)
        self.folder, self.name, self.mail = folder, name, mail
        self.smtp, self.pop3, self.port = free_port(), free_port(), free_port()
        pair = certificate.make(("localhost", HOST), 30, time.time())
        certificate.write(pair, folder / "cert.pem", folder / "key.pem")
        self.pin = certificate.describe(pair.certificate).fingerprint.replace(":", "").lower()
        self.process: subprocess.Popen[bytes] | None = None

    def embedded(self, tls: bool = True) -> str:
        """An [oce] that is our own."""
        return (f'[oce]\nembedded = true\nname = "{self.name}"\nkey = "{KEYS[self.name]}"\nmember = "harold"\n'
                f'listen = "tcp:{self.port}:interface={HOST}"\ntls = {"true" if tls else "false"}\n')

    def tribe(self, other: Running, secret: str) -> str:
        """The lines by which another tribe is known here."""
        path = self.folder / f"{other.name}.secret"
        path.write_text(secret)
        path.chmod(0o600)
        return (f'[oce.tribes.{other.name}]\nkey = "{KEYS[other.name]}"\nurl = "https://localhost:{other.port}/"\n'
                f'pin = "{other.pin}"\nsecret = {{ file = "{path.name}" }}\n')

    def configure(self, oce: str) -> None:
        """Write the configuration."""
        listeners = LISTENERS.format(smtp=self.smtp, pop3=self.pop3) if self.mail else ""
        (self.folder / "mailbridge.toml").write_text(COMMON.format(name=self.name) + listeners + oce)

    def start(self) -> float:
        """Run it; the seconds until it answers commands. SystemExit when it does not."""
        begun = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twisted", "--log-format", "text", "mailbridge" if self.mail else
                 "mailbridge-oce", "--config", str(self.folder / "mailbridge.toml")],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() - begun < PATIENCE and self.process.poll() is None:
            try:
                self.ask("queue count", all=True)
                return time.monotonic() - begun
            except OSError:
                time.sleep(0.01)
        raise SystemExit(f"{self.name} did not start; see {self.folder / 'log'}")

    def ask(self, command: str, **arguments: Any) -> Any:
        """The result of a command. OSError when nobody listens, SystemExit when it is refused."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(os.path.relpath(self.folder / "state" / "control.sock"))  # such a path must be short
            line.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
            text = line.makefile().readline()
        if not text:
            raise ConnectionError("it has gone")
        answer = json.loads(text)
        if not answer["ok"]:
            raise SystemExit(f"{command}: {answer['error']}")
        return answer["result"]

    def add(self, *names: str) -> None:
        """Make users, all with PASSWORD."""
        for name in names:
            self.ask("user add", name=name, password=PASSWORD)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        """What all its processes have written."""
        return (self.folder / "log").read_text("utf-8", "replace")
