"""What is behind `start`, `stop` and `restart`: a bridge in the background, for hosts without a supervisor.

`lock` in the state folder is the pid file: it holds the process id, and is locked as long as that process lives, so it
is never out of date. What a supervisor runs is the supervisor's to stop. Exit code 0 means that it is now as was asked.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import frozen

import mailbridge
from mailbridge.admin.call import NotRunning
from mailbridge.admin.call_now import call_now
from mailbridge.admin.control import socket_path
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.supervision import remedy, unsupervised
from mailbridge.cli.options import config_path, show
from mailbridge.config.load import load
from mailbridge.config.model import Config
from mailbridge.errors import StartError

LOG = "mailbridge.log"
STARTING = "starting"
"""Locked by the command that starts it: until the bridge has the real lock nobody else would know of it."""
UP_SECONDS = 60.0
DOWN_SECONDS = 120.0
EX_FAILED = 1
_POLL = 0.05
_LAST_LINES = 12


@frozen
class Running:
    """The bridge that runs; `supervisor` is supervisord, systemd or empty."""

    pid: int
    supervisor: str


def start(args: argparse.Namespace) -> int:
    """Start it. Errors: ConfigError, StartError, OperationError."""
    path = config_path(args)
    config = load(path)
    running = find(config)
    if running is not None:
        raise OperationError(Kind.CONFLICT, f"it runs already, as process {running.pid}; `mailbridge reload` has it "
                                            "read a changed configuration")
    return _start(args, path, config)


def stop(args: argparse.Namespace) -> int:
    """Stop it. Errors: ConfigError, OperationError."""
    config = load(config_path(args))
    running = find(config)
    if running is None:
        show(args, {"running": False, "stopped": None}, "it was not running")
        return 0
    _stop(config, running)
    show(args, {"running": False, "stopped": running.pid}, f"process {running.pid} has stopped")
    return 0


def restart(args: argparse.Namespace) -> int:
    """Stop it if it runs, and start it. Errors: ConfigError, StartError, OperationError."""
    path = config_path(args)
    config = load(path)
    running = find(config)
    if running is not None:
        _stop(config, running)
    return _start(args, path, config)


def find(config: Config) -> Running | None:
    """The bridge with this state, None when none runs. Raises OperationError when one does not answer, or starts."""
    starter = lock_holder(config.state, STARTING)
    if starter is not None:
        raise OperationError(Kind.FAILED, f"it is being started by process {starter}: try again")
    try:
        told: dict[str, Any] = call_now(socket_path(config.state), "status")
        return Running(told["pid"], told["supervisor"])
    except NotRunning:
        holder = lock_holder(config.state)
        if holder is None:
            return None
        raise OperationError(Kind.FAILED, f"process {holder} uses {config.state} and does not answer: it may be "
                                          "starting or stopping, or a command; try again") from None


def lock_holder(state: Path, name: str = "lock") -> str | None:
    """The process that holds the lock of a state folder, None when nobody does."""
    try:
        descriptor = os.open(state / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperationError(Kind.FAILED, f"{state / name}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)


def _start(args: argparse.Namespace, path: Path, config: Config) -> int:
    try:
        config.state.mkdir(0o700, parents=True, exist_ok=True)
        descriptor = os.open(config.state / STARTING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(f"{config.state / STARTING}: cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode("ascii"))
        return _launch(args, path, config)
    except BlockingIOError:
        raise OperationError(Kind.FAILED, "another command is starting it: try again") from None
    finally:
        os.close(descriptor)


def _launch(args: argparse.Namespace, path: Path, config: Config) -> int:
    log = config.state / LOG
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(f"{log}: cannot be written: {error.strerror}") from None
    begin = os.fstat(output).st_size
    child = subprocess.Popen(
        [sys.executable, "-m", "twisted", "--log-format", "text", "mailbridge", "--config", str(path.absolute())],
        cwd=Path(mailbridge.__file__).parent.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True, env=unsupervised(),
    )
    os.close(output)
    until = time.monotonic() + UP_SECONDS
    while child.poll() is None and time.monotonic() < until:
        try:
            if call_now(socket_path(config.state), "status")["pid"] == child.pid:
                show(args, {"running": True, "pid": child.pid, "log": str(log)},
                     f"it runs as process {child.pid}; its log is {log}")
                return 0
        except NotRunning:
            pass
        time.sleep(_POLL)
    if child.poll() is None:
        raise OperationError(Kind.FAILED, f"process {child.pid} does not answer after {UP_SECONDS:g} seconds: "
                                          f"see {log}")
    raise StartError(f"it did not start (exit code {child.returncode}); the end of {log}:\n{_end_of(log, begin)}")


def _end_of(log: Path, begin: int) -> str:
    """The last lines of what was written since `begin`."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:])


def _stop(config: Config, running: Running) -> None:
    if running.supervisor:
        raise OperationError(Kind.CONFLICT, f"{running.supervisor} runs it (process {running.pid}) and would start it "
                                            f"again: `{remedy(running.supervisor)}`")
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise OperationError(Kind.FAILED, f"process {running.pid} belongs to another user: stop it as that user, or as "
                                          "root") from None
    until = time.monotonic() + DOWN_SECONDS
    while lock_holder(config.state) == str(running.pid):  # another may start in its place
        if time.monotonic() > until:
            raise OperationError(Kind.FAILED, f"process {running.pid} has not ended after {DOWN_SECONDS:g} seconds: "
                                              "see its log. `kill -9` loses no acknowledged mail")
        time.sleep(_POLL)
