"""The walk-through of fauSMTP's page, command by command and switch by switch, with an OCE of another process."""

from __future__ import annotations

import json
import poplib
import shutil
import smtplib
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.settings import historic
from mailbridge.config.load import load
from tests.oce_bridges import ALONE, command
from tests.running import PATIENCE, RunningBridge, short_folder

CONFIGURATION = """# the bridge of the tribe
hostname = "bridge.example.org"
state = "state"

[[smtp]]  # fauSMTP: -smtpport
listen = "tcp:20001:interface=127.0.0.1"

[[pop3]]
listen = "tcp:20002:interface=127.0.0.1"

[oce]
url = "http://127.0.0.1:1895/"
interval = "1 s"
"""
PASSWORD = "MyVisiblePassword"


class PageTests(SynchronousTestCase):
    """`fauSMTP.pl [opts] <action>`, as `mailbridge [opts] <action>`."""

    def setUp(self) -> None:
        self.folder, oce_folder = short_folder(), short_folder()
        for each in (self.folder, oce_folder):
            self.addCleanup(shutil.rmtree, each, True)
        self.path = self.folder / "mailbridge.toml"
        self.path.write_text(CONFIGURATION)
        self.oce = RunningBridge(oce_folder, ALONE + 'member = "Harold"\n', "mailbridge-oce")
        self.addCleanup(self.oce.stop)
        self.oce.start()
        self.addCleanup(self.run_command, "stop")
        for name in ("Harold", "bonnie"):
            self.oce.ask("user add", name=name, password=PASSWORD)

    def run_command(self, *words: str) -> tuple[int, str]:
        """(exit code, what it said)."""
        return command(self.path, *words)

    def done(self, line: str) -> str:
        """What a command line says that succeeds."""
        code, said = self.run_command(*line.split())
        self.assertEqual(code, 0, f"{line}: {said}")
        return said

    def shown(self) -> dict[str, object]:
        """fauSMTP's settings, as the file has them."""
        return historic(load(self.path))

    def free_ports(self) -> tuple[int, int]:
        """Two ports that nobody uses now, for -smtpport and -pop3port, which take no 0."""
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            return one.getsockname()[1], other.getsockname()[1]

    def test_page(self) -> None:
        """Ports, registration, start, what is shown, sending and fetching as name@oce, restart, stop."""
        smtp, pop3 = self.free_ports()
        self.done(f"-smtpport {smtp} -pop3port {pop3} -jsonport {self.oce.ports[0]}")
        self.assertIn("# fauSMTP: -smtpport", self.path.read_text())
        self.assertEqual(json.loads(self.done("settings --json"))["switches"], {
            "smtpport": smtp, "pop3port": pop3, "jsonport": self.oce.ports[0], "usefromsmtp": 0, "dedicatedsmtp": None,
            "registered": "no"})
        said = self.done(f"-r Harold {PASSWORD} start")
        self.assertIn("registered: 7 REQPROC", said)
        self.assertIn("can be seen by every user", said)
        self.assertIn("it runs as process", said)
        self.assertNotIn(PASSWORD, said)
        for name in ("Harold", "bonnie"):
            self.done(f"user add {name} --password-file {self.password_file()}")
        said = self.done("-settings -client -pullinfo")
        for words in (f"smtpport       {smtp}", f"jsonport       {self.oce.ports[0]}",
                      "registered     yes, as SMTP:mailbridge by Harold", "NAME@oce", f"port      {pop3}",
                      "registered: yes"):
            self.assertIn(words, said)
        self.assertNotIn(PASSWORD, said)
        self.send(smtp)
        self.assertIn(b"From: bonnie@oce", self.fetched(pop3))
        said = self.done("-usefromsmtp on restart")
        self.assertEqual(self.shown()["usefromsmtp"], 1)
        self.assertIn("it runs as process", said)
        self.assertIn("has stopped", self.done("stop"))

    def password_file(self) -> str:
        """A file with the password."""
        path = self.folder / "password"
        path.write_text(PASSWORD)
        path.chmod(0o600)
        return str(path)

    def send(self, port: int) -> None:
        """As the page's mail program: password, no TLS, `name@oce`."""
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
            client.login("bonnie@oce", PASSWORD)
            client.sendmail("bonnie@oce", ["Harold@oce"], b"From: bonnie@oce\r\nSubject: page\r\n\r\nhello\r\n")

    def fetched(self, port: int) -> bytes:
        """Harold's mail, once it is there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            box = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
            box.user("Harold@oce")
            box.pass_(PASSWORD)
            lines = box.retr(1)[1] if box.stat()[0] else []
            box.quit()
            if lines:
                return b"\r\n".join(lines)
            time.sleep(0.05)
        raise AssertionError(self.done("pullinfo"))

    def test_switches(self) -> None:
        """Both values of each switch, off again, several in one call, and nothing changed when one is wrong."""
        self.done("-usefromsmtp 1 -dedicatedsmtp myhost.com,26,mruser,somepass")
        shown = self.shown()
        self.assertEqual((shown["usefromsmtp"], shown["dedicatedsmtp"]), (0, "myhost.com,26,mruser"))
        self.assertNotIn("somepass", self.done("settings"))
        self.assertEqual(self.path.stat().st_mode & 0o007, 0)
        for value, expected in (("on", 1), ("0", 0)):
            self.done(f"-usefromsmtp {value}")
            self.assertEqual(self.shown()["usefromsmtp"], expected)
        self.done("-dedicatedsmtp none")
        self.assertEqual(self.shown()["dedicatedsmtp"], None)
        before = self.path.read_text()
        code, said = self.run_command("-smtpport", "42420", "-pop3port", "99999", "restart")
        self.assertEqual((code, "from 1 to 65535" in said), (64, True), said)
        self.assertEqual(self.path.read_text(), before)

    def test_clearqueue(self) -> None:
        """What waits goes for good once the question was answered; an empty queue is no fault."""
        smtp, pop3 = self.free_ports()
        self.done(f"-smtpport {smtp} -pop3port {pop3} start")  # nobody is at the OCE's port
        self.done(f"user add bonnie --password-file {self.password_file()}")
        self.send(smtp)
        code, said = self.run_command("-clearqueue")
        self.assertEqual((code, "nothing was removed" in said), (1, True), said)
        self.assertIn("1 delivery is removed", self.done("clearqueue --yes"))
        self.assertIn("nothing waits", self.done("clearqueue"))
