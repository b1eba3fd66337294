"""What a log is set to: which levels go where."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

LETTERS = "EWIT"
"""Error (and critical), warning, information, trace (debug)."""


@frozen
class LogPlan:
    """Letters of `LETTERS` for each place; none: nothing goes there. `path` gets the date before its extension.

    `data` puts the content of messages into the trace, where the file has the trace (`log_rcv_data`).
    """

    path: Path | None = None
    file: str = LETTERS
    console: str = ""
    syslog: str = ""
    data: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing goes anywhere."""
        return not (self.console or self.syslog or (self.path is not None and self.file))

    @property
    def with_data(self) -> bool:
        """Whether content is to be seen."""
        return self.data and self.path is not None and "T" in self.file
