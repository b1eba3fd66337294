"""Who looks after a process of ours: a supervisor would start again what an operator stops behind its back."""

from __future__ import annotations

import os
from collections.abc import Mapping

_INHERITED = ("SUPERVISOR_ENABLED", "SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME", "SUPERVISOR_SERVER_URL",
              "SYSTEMD_EXEC_PID", "INVOCATION_ID", "NOTIFY_SOCKET")


def supervisor(environ: Mapping[str, str], pid: int) -> str:
    """`supervisord`, `systemd`, or nothing, for the process `pid` with this environment.

    systemd names the process it started, so that children which inherit the environment are told apart.
    """
    if environ.get("SUPERVISOR_ENABLED"):
        return "supervisord"
    return "systemd" if environ.get("SYSTEMD_EXEC_PID") == str(pid) else ""


def remedy(supervised_by: str) -> str:
    """The command that stops it for good."""
    return "systemctl stop mailbridge" if supervised_by == "systemd" else "supervisorctl stop mailbridge"


def unsupervised(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a process that nobody looks after."""
    return {name: value for name, value in environ.items() if name not in _INHERITED}
