"""Mail that waits in a running bridge, from sendmail's side to the operator's."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.running import BASIC, ROOT, RunningBridge, short_folder

COMMAND = "import sys; from mailbridge.cli.main import main; sys.exit(main())"


class WaitingMailTests(SynchronousTestCase):
    """A bridge whose smart host is down."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)
        taken = socket.socket()  # bound and not listening: whoever connects is refused, and nobody else has it
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        dead = taken.getsockname()[1]
        listener = 'listen = "tcp:0:interface=127.0.0.1"\n'
        trusting = BASIC.replace(listener, listener + 'clients = ["127.0.0.1"]\n', 1)
        self.bridge = RunningBridge(self.folder, f'{trusting}[relay.office]\nservers = ["127.0.0.1:{dead}"]\n')
        self.addCleanup(self.bridge.stop)
        self.bridge.start()

    def mailbridge(self, *argv: str) -> tuple[int, str]:
        """(exit code, output and error output)."""
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "--config", str(self.bridge.path), *argv], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, timeout=60,
        )
        return done.returncode, done.stdout.decode()

    def test_waiting_mail(self) -> None:
        """Mail for elsewhere is taken from a trusted client, waits, is seen, held, released and removed."""
        server = f"127.0.0.1:{self.bridge.ports[0]}"
        mail = ("--from", "bonnie@example.org", "--file", "/dev/null")
        code, told = self.mailbridge("send", "--server", server, *mail, "x@elsewhere.example", "y@other.example")
        self.assertEqual(0, code, told)
        queue_id = told.split()[-1]
        code, told = self.mailbridge("queue", "list", "--recipient", "@OTHER.example")
        self.assertEqual((0, 2, True), (code, len(told.splitlines()), queue_id in told), told)
        self.assertIn("recipient y@other.example", self.mailbridge("queue", "show", queue_id)[1])
        self.assertIn("2 deliveries wait", self.mailbridge("queue", "stats")[1])
        self.assertEqual(0, self.mailbridge("queue", "hold", "--id", queue_id)[0])
        self.assertEqual((0, "2 deliveries are released\n"), self.mailbridge("queue", "release", "--all"))
        self.assertEqual((0, "2 deliveries are removed\n"), self.mailbridge("clearqueue", "--yes"))
        self.assertEqual((0, "nothing waits\n"), self.mailbridge("queue", "list"))
