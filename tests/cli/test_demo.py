"""`mailbridge demo`: two real bridges on free ports, messages through them, and nothing left behind."""

import json
import os
import poplib
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.cli.demo import Demo

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-c", "import sys; from mailbridge.cli.main import main; sys.exit(main())", "demo")


class DemoTests(TestCase):
    """The demo in this process."""

    @inlineCallbacks
    def test_exchange(self) -> Generator[Deferred[Any], Any, None]:
        """Each step is shown, the message arrives, the passwords are told once at the end and never in a step."""
        folder = Path(self.mktemp())
        folder.mkdir()
        said: list[str] = []
        demo = Demo(folder, reactor, said.append, self.fail)
        try:
            yield demo.start()
            told = demo.as_text()
            ports = json.loads(demo.as_json())
        finally:
            yield demo.stop()
        steps = "\n".join(said)
        for words in ("C: STARTTLS", "C: RCPT TO:<harold@demo.example>", "S: 250 2.0.0", "C: RETR 1", "Hello Harold",
                      "5. Octet for octet", "C: RCPT TO:<harold@oce>", "C: RCPT TO:<edgar@friends.oce>",
                      "C: USER harold@oce", "C: USER edgar@oce", "From: bonnie@home.oce",
                      "To: harold@home.oce, edgar@oce", "12. Both have it"):  # fmt: skip
            self.assertIn(words, steps)
        for person in demo.people:
            self.assertNotIn(person.password, steps)
            self.assertNotIn(person.password, repr(person))
            self.assertIn(person.password, told)
        self.assertIn(f"port      {ports['smtp']}", told)
        self.assertIn(f"port      {ports['pop3']}", told)

    def test_stop_before_start(self) -> Deferred[Any]:
        """A demo that never came up can be ended."""
        folder = Path(self.mktemp())
        folder.mkdir()
        return Demo(folder, reactor, print, self.fail).stop()


class CommandTests(SynchronousTestCase):
    """The command, as a process of its own."""

    def setUp(self) -> None:
        # Not below trial's own folder: the path of a UNIX socket may have little more than 100 octets.
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment = {**os.environ, "TMPDIR": str(self.folder), "PYTHONPATH": str(ROOT)}

    def test_once(self) -> None:
        """`--once` ends by itself with 0 and removes its folder."""
        done = subprocess.run(
            [*COMMAND, "--once"], env=self.environment, capture_output=True, text=True, timeout=60, cwd=self.folder
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("5. Octet for octet", done.stdout)
        self.assertIn("12. Both have it", done.stdout)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_reader_has_gone(self) -> None:
        """When whoever reads the steps goes away, the demo ends without a word and leaves nothing."""
        process = subprocess.Popen(
            COMMAND, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            process.stdout.readline()
            process.stdout.close()
            complaints = process.stderr.read()
            process.stderr.close()
            self.assertEqual((process.wait(30), complaints), (1, ""))
        finally:
            process.kill()
            process.wait()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_stays_up_until_a_signal(self) -> None:
        """It serves other mail programs until Ctrl-C or SIGTERM, then ends with 0 and leaves nothing."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                process = subprocess.Popen(
                    [*COMMAND, "--json"], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True, cwd=self.folder,
                )  # fmt: skip
                try:
                    assert process.stdout is not None
                    self.serves(json.loads(process.stdout.readline()))
                    process.send_signal(number)
                    _, complaints = process.communicate(timeout=30)
                finally:
                    process.kill()
                    process.wait()
                self.assertEqual((process.returncode, complaints), (0, ""))
                self.assertEqual(list(self.folder.iterdir()), [])

    def serves(self, told: dict[str, Any]) -> None:
        """Another program sends and fetches with what `--json` told."""
        (bonnie, secret), (harold, password) = told["users"].items()
        trust = ssl.create_default_context(cadata=told["certificate"])
        with smtplib.SMTP(told["host"], told["smtp"], timeout=30) as client:
            client.starttls(context=trust)
            client.login(bonnie, secret)
            client.sendmail(bonnie, [harold], b"Subject: mine\r\n\r\nfrom a test\r\n")
        reader = poplib.POP3(told["host"], told["pop3"], timeout=30)
        reader.stls(trust)
        reader.user(harold)
        reader.pass_(password)
        _, lines, _ = reader.retr(1)
        reader.quit()
        self.assertEqual(lines[-3:], [b"Subject: mine", b"", b"from a test"])
        self.answers(told, trust)

    def answers(self, told: dict[str, Any], trust: ssl.SSLContext) -> None:
        """The member of the other tribe writes to ours."""
        ((_, secret),) = told["friends"]["users"].items()
        with smtplib.SMTP(told["host"], told["friends"]["smtp"], timeout=30) as client:
            client.starttls(context=trust)
            client.login("edgar@oce", secret)
            self.assertEqual(client.sendmail("edgar@oce", ["bonnie@home.oce"], b"Subject: back\r\n\r\nhello\r\n"), {})
        bonnie, password = next(iter(told["users"].items()))
        for _ in range(600):
            reader = poplib.POP3(told["host"], told["pop3"], timeout=30)
            reader.stls(trust)
            reader.user(bonnie)
            reader.pass_(password)
            found = reader.stat()[0]
            lines = reader.retr(1)[1] if found else []
            reader.quit()
            if found:
                break
            time.sleep(0.05)
        self.assertIn(b"From: edgar@friends.oce", lines)
