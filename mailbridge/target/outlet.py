"""Where the jobs of an application go, as plain values that cross to its worker: a folder or a program."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen
class FolderOutlet:
    """A folder that a reader polls for control files, whose names end in `suffix` (`output_folder`, `ctl_suffix`)."""

    path: Path
    suffix: str = ".CTL"


@frozen
class CommandOutlet:
    """A program that is run once a job, without a shell (`command`).

    It may take `timeout` seconds; `concurrency` run at once.
    """

    command: tuple[str, ...]
    timeout: float = 60.0
    concurrency: int = 4


Outlet = FolderOutlet | CommandOutlet
