"""A private bridge for a measurement: free loopback ports, a folder of its own, ended by its process id.

Used by the scripts beside it; never touches a bridge that it did not start.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
DOMAIN = "dst.invalid"
START_SECONDS = 30.0
STOP_SECONDS = 30.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def greets(port: int, host: str = HOST) -> bool:
    """Whether an SMTP server answers there."""
    try:
        with socket.create_connection((host, port), 1.0) as probe:
            return probe.recv(512).startswith(b"220")
    except OSError:
        return False


class Bridge:
    """A bridge with its configuration, state and log in `folder`; `ports` has the listeners smtp and pop3.

    `more` is text to add to the configuration.
    With `tls`, the files of a certificate and its key, smtps and pop3s too, and smtp-tls and pop3-tls, which take
    nothing before STARTTLS.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None, more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        listeners = {"smtp": "", "pop3": ""}
        if tls:
            listeners |= {"smtps": "tls = true", "pop3s": "tls = true", "smtp-tls": 'starttls = "require"',
                          "pop3-tls": 'starttls = "require"'}
        self.ports = {name: free_port() for name in listeners}
        self.process: subprocess.Popen[bytes] | None = None
        lines = ['hostname = "bridge.dst.invalid"', 'state = "state"']
        if tls:
            certificate, key = (json.dumps(str(path)) for path in tls)
            lines += ["[tls]", f"certificate = {certificate}", f"key = {{ file = {key} }}"]
        lines += ["[limits]", "connections_per_client = 1000", "[users]", f'domains = ["{DOMAIN}"]']
        for name, port in self.ports.items():
            lines += [f"[[{name[:4]}]]", f'listen = "tcp:{port}:interface={HOST}"', listeners[name]]
        self.configuration = folder / "mailbridge.toml"
        self.configuration.write_text("\n".join([*lines, more]) + "\n")

    def start(self) -> float:
        """Start it; the seconds until it greeted on SMTP. Raises SystemExit when it does not."""
        begun = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twisted", "--log-format", "text", "mailbridge", "--config",
                 str(self.configuration)], cwd=ROOT, stdout=log, stderr=log)
        while time.monotonic() < begun + START_SECONDS and self.process.poll() is None:
            if greets(self.ports["smtp"]):
                return time.monotonic() - begun
            time.sleep(0.005)
        self.stop()
        raise SystemExit(f"the bridge did not start; see {self.folder / 'log'}")

    def stop(self, kill: bool = False) -> None:
        """End it as an operator would, or by force."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.kill() if kill else process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def control(self, command: str, **arguments: Any) -> Any:
        """The result of an operator's command. Raises SystemExit when it is refused."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.state / "control.sock"))
            connection.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if "result" not in answer:
            raise SystemExit(f"{command}: {answer}")
        return answer["result"]


class Lines:
    """A connection that is spoken to in lines, with what a measurement needs of POP3 on top."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), 60.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 18)
        self.line()

    def line(self) -> bytes:
        """The next line, which must be a positive answer."""
        line = self.file.readline()
        if line[:1] not in (b"+", b"2", b"3"):
            raise SystemExit(f"unexpected answer: {line!r}")
        return line

    def ask(self, command: bytes) -> bytes:
        """Send a command, read a line."""
        self.socket.sendall(command + b"\r\n")
        return self.line()

    def text(self, command: bytes) -> bytes:
        """Send a command with a multi-line answer: its octets, without the dots."""
        self.ask(command)
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                raise SystemExit("the connection was cut")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def login(self, user: str, password: str) -> None:
        """USER and PASS."""
        self.ask(b"USER " + user.encode())
        self.ask(b"PASS " + password.encode())

    def count(self) -> int:
        """Messages in the maildrop."""
        return int(self.ask(b"STAT").split()[1])

    def delete(self, count: int) -> None:
        """DELE the first `count` messages, many at a time; they go at QUIT."""
        for start in range(1, count + 1, 1000):
            numbers = range(start, min(start + 1000, count + 1))
            self.socket.sendall(b"".join(b"DELE %d\r\n" % number for number in numbers))
            for _ in numbers:
                self.line()

    def quit(self) -> None:
        """QUIT, and hang up."""
        self.ask(b"QUIT")
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()
