"""Starts that fail: one line that names the thing and the remedy, exit 64 or 78, no traceback."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.running import BASIC, PATIENCE, RunningBridge, short_folder, spawn


class StartTests(SynchronousTestCase):
    """Each with a process of its own, as an operator sees it."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)

    def failed_start(self, configuration: str, code: int) -> str:
        """The output of a start that ends with `code`; one line of it is the bridge's."""
        path = self.folder / "mailbridge.toml"
        path.write_text(configuration)
        process = spawn(path)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, output)
        self.assertNotIn("Traceback", output)
        return output

    def start_line(self, configuration: str) -> str:
        """The one line of a start that ends with 78."""
        lines = [line for line in self.failed_start(configuration, 78).splitlines() if line.startswith("mailbridge: ")]
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_all_faults_of_the_configuration(self) -> None:
        """Every fault of the file is told at once, with its place, and the exit code is 64."""
        output = self.failed_start(BASIC.replace("hostname", "hostnam") + "postmaster = 3\n", 64)
        self.assertIn("hostnam", output)
        self.assertIn("hostname", output)
        self.assertIn("users.postmaster", output)

    def test_port_in_use(self) -> None:
        """A port that is taken is named with the listener it was for."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            line = self.start_line(BASIC.replace("tcp:0", f"tcp:{port}", 1))
        self.assertIn(f"tcp:{port}", line)
        self.assertIn("choose another port", line)

    def test_certificate_that_is_none(self) -> None:
        """A certificate file with something else in it is named."""
        for name in ("cert.pem", "key.pem"):
            (self.folder / name).write_text("not a certificate")
            (self.folder / name).chmod(0o600)
        tls = '[tls]\ncertificate = "cert.pem"\nkey = { file = "key.pem" }\n'
        self.assertIn("cert.pem", self.start_line(BASIC + tls))

    def test_state_that_cannot_be_written(self) -> None:
        """A state folder that cannot be made is named."""
        (self.folder / "file").write_text("in the way")
        line = self.start_line(BASIC.replace('"state"', '"file/state"'))
        self.assertIn("file/state", line)

    def test_second_daemon(self) -> None:
        """A second daemon on one state says which process has it."""
        bridge = RunningBridge(self.folder)
        self.addCleanup(bridge.stop)
        bridge.start()
        line = self.start_line(BASIC)
        self.assertIn(str(bridge.pid), line)

    def test_schema_of_the_future(self) -> None:
        """A store written by a later version is left alone."""
        bridge = RunningBridge(self.folder)
        bridge.start()
        bridge.stop()
        data_base = self.folder / "state" / "mail.db"
        with sqlite3.connect(data_base) as connection:
            connection.execute("PRAGMA user_version = 9999")
        connection.close()
        line = self.start_line(BASIC)
        self.assertIn("mail.db", line)
        self.assertIn("9999", line)

    def test_not_a_data_base(self) -> None:
        """A file that is no store is left alone."""
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        (state / "mail.db").write_bytes(b"x" * 100_000)
        self.assertIn("mail.db", self.start_line(BASIC))
        self.assertEqual((state / "mail.db").read_bytes(), b"x" * 100_000)

    def test_key_that_others_may_read(self) -> None:
        """A private key that others may read is a fault of the configuration."""
        for name in ("cert.pem", "key.pem"):
            (self.folder / name).write_text("x")
            (self.folder / name).chmod(0o644)
        tls = '[tls]\ncertificate = "cert.pem"\nkey = { file = "key.pem" }\n'
        self.assertIn("chmod 600", self.failed_start(BASIC + tls, 64))

    def test_state_path_too_long(self) -> None:
        """A state folder whose control socket would have too long a name is refused before anything listens."""
        line = self.start_line(BASIC.replace('"state"', f'"{"s" * 150}"'))
        self.assertIn("shorter", line)

    def test_little_room(self) -> None:
        """A start with hardly room for mail succeeds, and says in the log that mail will be refused."""
        bridge = RunningBridge(self.folder, BASIC + '[store]\nmin_free = "900 TiB"\n')
        self.addCleanup(bridge.stop)
        bridge.start()
        self.assertIn("free on its file system: new mail is refused below", bridge.log)

    def test_no_configuration(self) -> None:
        """Without any configuration the places that were looked at are named."""
        process = spawn(Path(os.devnull))
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 64, output)
