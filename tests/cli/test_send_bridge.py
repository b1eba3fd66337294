"""`mailbridge send` as a process, with a bridge in another: mail goes in by every door that it has."""

from __future__ import annotations

import email
import json
import os
import poplib
import shutil
import subprocess
import sys
from email import policy

from twisted.trial.unittest import SynchronousTestCase

from tests.running import BASIC, ROOT, RunningBridge, short_folder

COMMAND = "import sys; from mailbridge.cli.main import main; sys.exit(main())"


class SendThroughBridgeTests(SynchronousTestCase):
    """Real sockets."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.bridge = RunningBridge(self.folder, f'{BASIC}[[smtp]]\nlisten = "unix:{self.folder}/smtp"\n')
        self.addCleanup(self.bridge.stop)
        self.bridge.start()
        self.bridge.ask("user add", name="bonnie", password="correct horse")

    def send(self, *argv: str, text: bytes = b"hello\n", **environment: str) -> tuple[int, str, str]:
        """(exit code, output, error output)."""
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "send", "--config", str(self.bridge.path), *argv], input=text,
            capture_output=True, cwd=self.folder, timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_send(self) -> None:
        """Over loopback with a login, and through the UNIX socket without; the attachment arrives as it was."""
        octets = bytes(range(256)) * 2000
        (self.folder / "gr\u00fc\u00df.bin").write_bytes(octets)
        server = f"127.0.0.1:{self.bridge.ports[0]}"
        code, out, err = self.send(
            "--server", server, "--tls", "off", "--user", "bonnie", "--from", "Bonnie <bonnie@example.org>",
            "--subject", "Gr\u00fc\u00dfe", "--attach", "gr\u00fc\u00df.bin", "--json", "--log", "bonnie@example.org",
            MAILBRIDGE_PASSWORD="correct horse")
        told = json.loads(out)
        self.assertEqual((0, True), (code, told["sent"]), err)
        self.assertEqual((server, "SCRAM-SHA-256"), (told["server"], told["mechanism"]))
        self.assertIn("-> MAIL FROM:<bonnie@example.org>", err)
        self.assertNotIn("correct horse", out + err)
        code, out, err = self.send("--from", "a@b.example", "bonnie@example.org")
        self.assertEqual((0, f"sent to {self.folder}/smtp: 250 2.0.0 Stored as"), (code, out[:out.rindex(" ")]), err)
        box = poplib.POP3("127.0.0.1", self.bridge.ports[1])
        box.user("bonnie")
        box.pass_("correct horse")
        first, second = (b"\r\n".join(box.retr(number)[1]) for number in (1, 2))
        box.quit()
        message = email.message_from_bytes(first, policy=policy.default)
        (attached,) = message.iter_attachments()  # type: ignore[attr-defined]
        self.assertEqual(("Gr\u00fc\u00dfe", "gr\u00fc\u00df.bin", octets),
                         (message["Subject"], attached.get_filename(), attached.get_content()))
        self.assertTrue(second.endswith(b"\r\n\r\nhello"), second)

    def test_failures(self) -> None:
        """A wrong password, an unknown user and a bridge that is down have exit codes of their own."""
        server = ("--server", f"127.0.0.1:{self.bridge.ports[0]}", "--from", "bonnie@example.org")
        login = ("--user", "bonnie", "bonnie@example.org")
        code, _, err = self.send(*server, *login, MAILBRIDGE_PASSWORD="correct horse")
        self.assertEqual((69, True), (code, "no TLS" in err), "a password waits for TLS, or for an order")
        code, _, err = self.send(*server, "--tls", "off", *login, MAILBRIDGE_PASSWORD="wrong horse")
        self.assertEqual((77, False), (code, "wrong horse" in err), err)
        code, _, err = self.send(*server, "nobody@example.org")
        self.assertEqual((67, True), (code, "5.1.1" in err), err)
        code, out, err = self.send(*server, "--at-least-one", "nobody@example.org", "bonnie@example.org")
        self.assertEqual((67, True), (code, out.startswith("sent to")), err)
        self.bridge.stop()
        self.assertEqual(75, self.send("--from", "a@b.example", "bonnie@example.org")[0])
