"""Console and syslog."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.logs.sinks import LONGEST_DATAGRAM, Console, LocalSyslog, Syslog

NOON = 1_795_262_400.0


class ConsoleTests(SynchronousTestCase):
    """The console."""

    def test_line(self) -> None:
        """A line is there at once."""
        stream = io.StringIO()
        Console(stream).write(NOON, "I", "text")
        self.assertEqual(stream.getvalue(), "2026-11-21T12:00:00Z I text\n")

    def test_gone(self) -> None:
        """A console that is closed, or cannot show a letter, hurts nobody."""
        closed = io.StringIO()
        closed.close()
        Console(closed).write(NOON, "I", "text")
        Console(io.TextIOWrapper(io.BytesIO(), "ascii")).write(NOON, "I", "ž")


class SyslogTests(SynchronousTestCase):
    """Syslog."""

    def test_form(self) -> None:
        """A datagram has the facility mail, the severity of the letter, date, name and process."""
        sent: list[bytes] = []
        syslog = Syslog(sent.append, 42)
        for letter, priority in (("E", 19), ("W", 20), ("I", 22), ("T", 23)):
            syslog.write(NOON, letter, "text")
            date = rb"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d"
            self.assertRegex(sent[-1], rb"\A<%d>%b mailbridge\[42\]: text\Z" % (priority, date))

    def test_long(self) -> None:
        """What is too long is cut between letters."""
        sent: list[bytes] = []
        Syslog(sent.append).write(NOON, "I", "ž" * 5000)
        self.assertLessEqual(len(sent[0]), LONGEST_DATAGRAM + 3)
        self.assertTrue(sent[0].decode("utf-8").endswith("ž..."))

    def test_local(self) -> None:
        """Lines reach the daemon's socket, also after the daemon was started anew; without one they are lost."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(lambda: os.rmdir(folder))
        path = str(folder / "log")
        send = LocalSyslog((path,))
        self.addCleanup(send.close)
        send(b"nobody there")
        for _ in range(2):
            daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            daemon.bind(path)
            daemon.setblocking(False)
            send(b"line")
            self.assertEqual(daemon.recv(100), b"line")
            daemon.close()
            os.unlink(path)

    def test_slow(self) -> None:
        """A daemon that does not read holds nobody up."""
        folder = Path(tempfile.mkdtemp())
        path = str(folder / "log")
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(lambda: (daemon.close(), os.unlink(path), os.rmdir(folder)))
        daemon.bind(path)
        send = LocalSyslog((path,))
        self.addCleanup(send.close)
        for _ in range(5000):
            send(b"x" * 1000)
