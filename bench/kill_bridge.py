"""One bridge in a process that is killed and started again, for `kill.py` and `synced.py`.

Everything it owns lies in one folder: configuration, state, log. Never listens on anything but 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
COMMAND = (sys.executable, "-m", "twisted")
PASSWORD = "bench"
DOMAIN = "dst.invalid"

CONFIGURATION = """hostname = "bench.invalid"
state = "state"
[limits]
connections_per_client = 1000
[[smtp]]
listen = "tcp:{smtp}:interface=127.0.0.1"
[[pop3]]
listen = "tcp:{pop3}:interface=127.0.0.1"
[users]
domains = ["{domain}"]
"""


class Bridge:
    """The bridge of `folder`, run by `command`. `smtp` and `pop3` are its ports, the same after each start."""

    def __init__(self, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self.folder = folder
        self._command = command
        self.configuration = folder / "mailbridge.toml"
        self.smtp, self.pop3 = free_port(), free_port()
        self.configuration.write_text(CONFIGURATION.format(smtp=self.smtp, pop3=self.pop3, domain=DOMAIN))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Run it; the seconds until it greets. RuntimeError with the end of its log if it does not."""
        begun = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--log-format", "text", "mailbridge", "--config", str(self.configuration)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() - begun < PATIENCE:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.smtp), 5) as connection:
                    if connection.recv(100).startswith(b"220 "):
                        return time.monotonic() - begun
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"the bridge did not start in {time.monotonic() - begun:.1f} s, exit code "
                           f"{self.process.poll()}:\n" + self.log()[-2000:])

    def ended(self) -> int:
        """Wait for the end of the process; its exit code, negative for a signal."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.ended()

    def log(self) -> str:
        """What all its processes have written."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def ask(self, command: str, **arguments: Any) -> Any:
        """The result of a command over the control socket. RuntimeError when it is refused."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(os.path.relpath(self.folder / "state" / "control.sock"))  # such a path must be short
            line.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
            answer = json.loads(line.makefile().readline())
        if not answer["ok"]:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer["result"]

    def add_users(self, names: Sequence[str]) -> None:
        """Make users, all with PASSWORD."""
        for name in names:
            self.ask("user add", name=name, password=PASSWORD)

    def check(self) -> tuple[int, str]:
        """`mailbridge check --store`: its exit code and what it says."""
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from mailbridge.cli.main import main; sys.exit(main())",
             "check", "--store", "--config", str(self.configuration)],
            cwd=ROOT, capture_output=True, text=True, timeout=600)
        return done.returncode, (done.stdout + done.stderr).strip()


def broken(fault: str) -> tuple[str, ...]:
    """The command of a bridge with a fault of `broken.py`."""
    return sys.executable, str(Path(__file__).with_name("broken.py")), fault


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
