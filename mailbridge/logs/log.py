"""A whole log made of its plan: file, console and syslog under one journal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from twisted.internet.interfaces import IReactorTime

from mailbridge.logs.file import LogFile, dated
from mailbridge.logs.journal import Events, Journal
from mailbridge.logs.plan import LogPlan
from mailbridge.logs.sinks import Console, LocalSyslog, Sink, Syslog


class Log:
    """One log. Rooms write into `journal`; `events` is for `globalLogPublisher.addObserver`.

    `place` is the setting that names the file. `name` makes the file's name (`file.dated` or `file.always`); `but` are
    namespaces whose events are not this log's. `console` and `syslog` replace stdout and the daemon of this host.
    """

    def __init__(
        self,
        plan: LogPlan,
        clock: IReactorTime,
        place: str,
        name: Callable[[Path], Callable[[float], Path]] = dated,
        only: Sequence[str] = ("mailbridge",),
        but: Sequence[str] = (),
        console: TextIO | None = None,
        syslog: Callable[[bytes], object] | None = None,
    ) -> None:
        sinks: list[tuple[str, Sink]] = []
        self._file: LogFile | None = None
        self._syslog: LocalSyslog | None = None
        if plan.path is not None and plan.file:
            self._file = LogFile(name(plan.path), clock, place)
            sinks.append((plan.file, self._file))
        if plan.console:
            sinks.append((plan.console, Console(console or sys.stdout)))
        if plan.syslog:
            if syslog is None:
                syslog = self._syslog = LocalSyslog()
            sinks.append((plan.syslog, Syslog(syslog)))
        self.journal = Journal(clock, sinks, plan.with_data)
        self.events = Events(self.journal, only, but)

    def open(self) -> None:
        """Open the file. Raises StartError."""
        if self._file is not None:
            self._file.open()

    def reopen(self) -> None:
        """After somebody has moved the file away."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write what is gathered and close the file."""
        if self._file is not None:
            self._file.close()
        if self._syslog is not None:
            self._syslog.close()
