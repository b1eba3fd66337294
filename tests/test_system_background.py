"""A bridge in the background: started, found, stopped and restarted by commands that tell the truth."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.supervision import supervisor
from mailbridge.cli.background import STARTING
from tests.running import BASIC, ROOT, short_folder


class BackgroundTests(SynchronousTestCase):
    """`mailbridge start`, `stop`, `restart` as processes."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "mailbridge.toml"
        self.path.write_text(BASIC)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Stop what a failed test left."""
        lock = self.folder / "state" / "lock"
        if lock.exists() and self.run_command("stop")[0] != 0:
            os.kill(int(lock.read_text()), signal.SIGKILL)

    def run_command(self, *words: str, **environ: str) -> tuple[int, str]:
        """(exit code, what it said)."""
        program = "import sys; from mailbridge.cli.main import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", program, "--config", str(self.path), *words], cwd=ROOT, text=True,
                              capture_output=True, timeout=120, check=False, env={**os.environ, **environ})
        return done.returncode, done.stdout + done.stderr

    def pid(self) -> int:
        """The process that runs, as `status` says."""
        return int(json.loads(self.run_command("status", "--json")[1])["pid"])

    def test_life(self) -> None:
        """Start, a second start is refused, restart is another process, stop ends it, a second stop is fine."""
        code, said = self.run_command("start")
        self.assertEqual((code, "it runs as process" in said), (0, True), said)
        first = self.pid()
        self.assertEqual(Path(f"/proc/{first}").exists() or sys.platform == "darwin", True)
        code, said = self.run_command("start")
        self.assertEqual((code, "it runs already" in said), (1, True), said)
        self.assertEqual(self.run_command("restart")[0], 0)
        self.assertNotEqual(self.pid(), first)
        self.assertEqual(self.run_command("stop")[0], 0)
        code, said = self.run_command("stop")
        self.assertEqual((code, said.strip()), (0, "it was not running"))

    def test_while_it_is_being_started(self) -> None:
        """While one command starts it, no other starts it too, and none says that it has stopped it."""
        (self.folder / "state").mkdir(0o700)
        with open(self.folder / "state" / STARTING, "w", encoding="ascii") as file:
            file.write("4711")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            for word in ("start", "stop", "restart"):
                code, said = self.run_command(word)
                self.assertEqual((code, "being started by process 4711" in said), (1, True), said)
        code, said = self.run_command("stop")
        self.assertEqual((code, said.strip()), (0, "it was not running"))

    def test_historic_line(self) -> None:
        """As on fauSMTP's page: a setting and an action in one call; restart starts what was not running."""
        code, said = self.run_command("-usefromsmtp", "1", "restart")
        self.assertEqual(code, 0, said)
        settings = json.loads(self.run_command("settings", "--json")[1])
        self.assertEqual(settings["switches"]["usefromsmtp"], 1)

    def test_cannot_start(self) -> None:
        """What keeps it from starting is told, with the exit code of a start that failed."""
        (self.folder / "state").mkdir(0o700)
        (self.folder / "state" / "mail.db").write_bytes(b"no data base" * 1000)
        code, said = self.run_command("start")
        self.assertEqual(code, 78, said)
        self.assertIn("mail.db", said)

    def test_supervised(self) -> None:
        """What a supervisor runs is left to the supervisor."""
        process = subprocess.Popen(
            [sys.executable, "-m", "twisted", "mailbridge", "--config", str(self.path)], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "SUPERVISOR_ENABLED": "1"},
        )
        assert process.stdout is not None
        try:
            while "Starting reactor" not in process.stdout.readline():
                self.assertIsNone(process.poll())
            for command in ("stop", "restart"):
                code, said = self.run_command(command)
                self.assertEqual((code, "supervisorctl stop mailbridge" in said), (1, True), said)
            self.assertIsNone(process.poll())
        finally:
            process.terminate()
            process.communicate(timeout=60)


class SupervisorTests(SynchronousTestCase):
    """`supervisor`."""

    def test_supervisor(self) -> None:
        """supervisord marks its processes, systemd names them; what merely inherits the marks of systemd is not its."""
        self.assertEqual(supervisor({"SUPERVISOR_ENABLED": "1"}, 7), "supervisord")
        self.assertEqual(supervisor({"SYSTEMD_EXEC_PID": "7"}, 7), "systemd")
        self.assertEqual(supervisor({"SYSTEMD_EXEC_PID": "7", "INVOCATION_ID": "x"}, 8), "")
        self.assertEqual(supervisor({}, 7), "")
