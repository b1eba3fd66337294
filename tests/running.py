"""A bridge in a process of its own, for tests of the whole system over real loopback sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0

_LISTENS = re.compile(r"(?:Factory \(TLS\)|(?:SMTPServer|POP3Server|OCE)Factory) starting on (\d+)")

BASIC = """
hostname = "bridge.example.org"
state = "state"
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["example.org"]
"""


class RunningBridge:
    """`python -m twisted mailbridge` with a configuration in a folder; `ports` in the order of its listeners.

    `plugin` is another one of ours for `twist`.
    """

    def __init__(self, folder: Path, configuration: str = BASIC, plugin: str = "mailbridge") -> None:
        self.folder = folder
        self.plugin = plugin
        self.path = folder / "mailbridge.toml"
        self.path.write_text(configuration)
        self.ports: list[int] = []
        self.log = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it serves. AssertionError with its log when it does not."""
        self._process = spawn(self.path, self.plugin)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log += line
            found = _LISTENS.search(line)
            if found:
                self.ports.append(int(found.group(1)))
            if "Starting reactor" in line:
                return
        raise AssertionError(f"the bridge did not start:\n{self.log}")

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def ask(self, command: str, **arguments: Any) -> Any:
        """The result of a command over the control socket, or the error as text."""
        before = os.getcwd()
        os.chdir(self.folder / "state")  # a UNIX socket's path is short, a test's folder often not
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(PATIENCE)
                line.connect("control.sock")
                line.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
                answer = json.loads(line.makefile().readline())
        finally:
            os.chdir(before)
        return answer["result"] if answer["ok"] else answer["error"]

    def wait_for(self, words: str) -> None:
        """Read the log until a line has `words`."""
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            self.log += line
            if words in line:
                return
        raise AssertionError(f"the bridge ended without saying {words!r}:\n{self.log}")

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
        self.log += rest
        return process.returncode


def spawn(path: Path, plugin: str = "mailbridge") -> subprocess.Popen[str]:
    """The bridge as twist runs it, its log as text."""
    return subprocess.Popen(
        [sys.executable, "-m", "twisted", "--log-format", "text", plugin, "--config", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def short_folder() -> Path:
    """A new folder with a path short enough for a control socket."""
    return Path(tempfile.mkdtemp(prefix="mb-"))
