"""A whole log, from its plan."""

from __future__ import annotations

import io
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StartError
from mailbridge.logs.file import always
from mailbridge.logs.log import Log
from mailbridge.logs.plan import LogPlan


class LogTests(SynchronousTestCase):
    """File, console and syslog."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.console = io.StringIO()
        self.sent: list[bytes] = []

    def log(self, plan: LogPlan) -> Log:
        log = Log(plan, Clock(), "receiver.logging_file_name", always, console=self.console, syslog=self.sent.append)
        log.open()
        self.addCleanup(log.close)
        return log

    def test_places(self) -> None:
        """Each place gets its own levels, of lines of rooms and of events alike."""
        log = self.log(LogPlan(self.path, "EWI", "EW", "E"))
        for letter in "EWIT":
            log.journal.note(letter, f"line {letter}")
        Logger("mailbridge.x", observer=log.events).error("event")
        log.close()
        self.assertEqual([line[21:] for line in self.path.read_text().splitlines()],
                         ["E line E", "W line W", "I line I", "E event"])
        self.assertEqual(len(self.console.getvalue().splitlines()), 3)
        self.assertEqual(len(self.sent), 2)

    def test_moved_away(self) -> None:
        """`reopen` reaches the file; where there is none it means nothing."""
        log = self.log(LogPlan(self.path))
        self.path.unlink()
        log.reopen()
        log.journal.note("E", "x")
        self.assertTrue(self.path.exists())
        self.log(LogPlan(console="E")).reopen()

    def test_cannot_be_opened(self) -> None:
        """A file that cannot be opened stops the start."""
        with self.assertRaises(StartError):
            self.log(LogPlan(self.path / "no" / "file"))

    def test_silent(self) -> None:
        """A plan in which nothing goes anywhere says so; no file is made for it."""
        for plan, silent in [
            (LogPlan(), True), (LogPlan(self.path, ""), True), (LogPlan(self.path), False),
            (LogPlan(console="E"), False), (LogPlan(syslog="E"), False),
        ]:
            self.assertEqual(plan.silent, silent)
        self.log(LogPlan(self.path, ""))
        self.assertFalse(self.path.exists())

    def test_data(self) -> None:
        """Content is told where the file has the trace."""
        for plan, data in [
            (LogPlan(self.path, "EWIT", data=True), True), (LogPlan(self.path, "EWI", data=True), False),
            (LogPlan(self.path, "EWIT"), False), (LogPlan(None, "EWIT", data=True), False),
        ]:
            self.assertEqual(self.log(plan).journal.data, data)
