"""Log files: names, days, disks that are full."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from time import localtime, strftime
from unittest import skipUnless

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StartError
from mailbridge.logs.file import MOST_GATHERED, LogFile, always, dated

NOON = 1_795_262_400.0
DAY = 86_400.0


class NameTests(SynchronousTestCase):
    """The date in the name."""

    def test_dated(self) -> None:
        """The local date of the event stands before the extension."""
        for path, expected in [
            ("/log/smtp.log", "/log/smtp_{}.log"), ("/log/smtp", "/log/smtp_{}"), ("/l.o/a.b.txt", "/l.o/a.b_{}.txt"),
        ]:
            for seconds in (NOON, NOON + DAY):
                date = strftime("%y%m%d", localtime(seconds))
                self.assertEqual(dated(Path(path))(seconds), Path(expected.format(date)))

    def test_always(self) -> None:
        """Or there is none."""
        self.assertEqual(always(Path("/log/popfetch.log"))(NOON), Path("/log/popfetch.log"))


class LogFileTests(SynchronousTestCase):
    """Writing."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = NOON
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.log = LogFile(dated(self.folder / "smtp.log"), self.clock, "receiver.logging_file_name")
        self.addCleanup(self.log.close)

    def today(self, seconds: float = NOON) -> Path:
        return dated(self.folder / "smtp.log")(seconds)

    def test_once_a_second(self) -> None:
        """Lines are gathered for a second, then they are in the file, with date and letter."""
        self.log.open()
        self.log.write(NOON, "I", "one")
        self.log.write(NOON + 0.5, "W", "žwei")
        self.assertEqual(self.today().read_bytes(), b"")
        self.clock.advance(1)
        self.assertEqual(self.today().read_text("utf-8"), "2026-11-21T12:00:00Z I one\n2026-11-21T12:00:00Z W žwei\n")
        self.log.write(NOON + 1, "I", "three")
        self.clock.advance(1)
        self.assertTrue(self.today().read_text("utf-8").endswith("2026-11-21T12:00:01Z I three\n"))

    def test_errors_at_once(self) -> None:
        """An error is in the file at once, and what was before it."""
        self.log.open()
        self.log.write(NOON, "I", "before")
        self.log.write(NOON, "E", "bad")
        self.assertEqual(len(self.today().read_text().splitlines()), 2)

    def test_bounded(self) -> None:
        """Very many lines do not wait in memory."""
        self.log.open()
        for _ in range(10):
            self.log.write(NOON, "T", "x" * (MOST_GATHERED // 4))
        self.assertGreater(self.today().stat().st_size, MOST_GATHERED)

    def test_midnight(self) -> None:
        """The first event of another day begins another file; what belongs to the old day is in the old one."""
        self.log.open()
        self.log.write(NOON, "I", "old")
        self.log.write(NOON + DAY, "I", "new")
        self.log.close()
        self.assertIn(" I old\n", self.today().read_text())
        self.assertNotIn("new", self.today().read_text())
        self.assertIn(" I new\n", self.today(NOON + DAY).read_text())

    def test_appends(self) -> None:
        """A restart goes on in the file of the day; others than the group may not read it."""
        self.today().write_text("before\n")
        self.log.open()
        self.log.write(NOON, "E", "after")
        self.assertTrue(self.today().read_text().startswith("before\n"))
        self.today().unlink()
        self.log.reopen()
        self.log.write(NOON, "E", "x")
        self.assertEqual(stat.S_IMODE(self.today().stat().st_mode) & 0o027, 0)

    def test_moved_away(self) -> None:
        """After `reopen` lines go to a new file of that name, none is lost."""
        self.log.open()
        self.log.write(NOON, "I", "one")
        moved = self.folder / "old"
        self.today().rename(moved)
        self.log.reopen()
        self.log.write(NOON, "E", "two")
        self.assertIn("one", moved.read_text())
        self.assertEqual(self.today().read_text().count("\n"), 1)

    def test_cannot_be_opened(self) -> None:
        """What cannot be written stops the start: a folder that is not there, a folder, a FIFO nobody reads."""
        (self.folder / "fifo").mkdir()
        os.mkfifo(dated(self.folder / "fifo" / "x")(NOON))
        dated(self.folder / "taken.log")(NOON).mkdir()
        for path in (self.folder / "no" / "smtp.log", self.folder / "taken.log", self.folder / "fifo" / "x"):
            log = LogFile(dated(path), self.clock, "receiver.logging_file_name")
            with self.assertRaises(StartError) as caught:
                log.open()
            self.assertRegex(str(caught.exception), r"\Areceiver\.logging_file_name: cannot write .*: .+")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """Nothing ticks after the end."""
        self.log.open()
        self.log.write(NOON, "I", "last")
        self.log.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIn("last", self.today().read_text())

    def told(self) -> list[str]:
        """What the process's own log hears from now on."""
        texts: list[str] = []

        def observe(event: LogEvent) -> None:
            texts.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return texts

    def test_lost_folder(self) -> None:
        """While the file cannot be written lines are lost, told once; when it can be again, the file says how many."""
        self.log.open()
        told = self.told()
        self.log.reopen()
        self.today().unlink()
        self.folder.rmdir()
        for text in ("one", "two", "three"):
            self.log.write(NOON, "E", text)
        self.assertEqual(len(told), 1)
        self.assertIn("receiver.logging_file_name", told[0])
        self.folder.mkdir()
        self.log.write(NOON, "E", "four")
        self.log.write(NOON, "E", "five")
        lines = self.today().read_text().splitlines()
        self.assertEqual([line[23:] for line in lines], ["up to 3 lines were lost here", "four", "five"])

    @skipUnless(os.path.exists("/dev/full"), "this system has no /dev/full")
    def test_full_disk(self) -> None:
        """A full disk costs lines of the log and nothing else."""
        log = LogFile(always(Path("/dev/full")), self.clock, "receiver.logging_file_name")
        log.open()
        told = self.told()
        for _ in range(3):
            log.write(NOON, "I", "x")
            self.clock.advance(1)
        self.assertEqual(len(told), 1)
        log.close()
