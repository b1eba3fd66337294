"""Programs that get jobs: what they are given, what their end means."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.target.jobcommand import KEPT, JobCommand, Ran, verdict

SHOW = ("import json,os,sys; data=sys.stdin.buffer.read(); print(json.dumps([dict(os.environ),os.getcwd(),len(data),"
        "sys.argv[1:]]))")


def shell(script: str, timeout: float = 20.0) -> JobCommand:
    """A program that is a shell script."""
    return JobCommand(("/bin/sh", "-c", script), timeout)


class VerdictTests(SynchronousTestCase):
    """The table."""

    def test_table(self) -> None:
        """What each end of a program means for the mail."""
        for ran, kind, code in [
            (Ran(0, "done"), Delivered, ""), (Ran(75), TransientFailure, "4.3.0"), (Ran(1), TransientFailure, "4.3.0"),
            (Ran(-9), TransientFailure, "4.3.0"), (Ran(None), TransientFailure, "4.4.7"),
            (Ran(65), PermanentFailure, "5.6.0"), (Ran(66), PermanentFailure, "5.6.0"),
            (Ran(67), PermanentFailure, "5.1.1"), (Ran(68), PermanentFailure, "5.1.2"),
            (Ran(69), PermanentFailure, "5.3.0"), (Ran(70), PermanentFailure, "5.3.0"),
            (Ran(71), TransientFailure, "4.3.0"), (Ran(72), TransientFailure, "4.3.0"),
            (Ran(73), TransientFailure, "4.3.0"), (Ran(74), TransientFailure, "4.3.0"),
            (Ran(76), PermanentFailure, "5.5.0"), (Ran(77), PermanentFailure, "5.7.1"), (Ran(64), RouteFailure, ""),
            (Ran(78), RouteFailure, ""), (Ran(126), RouteFailure, ""), (Ran(127), RouteFailure, ""),
            (Ran(255), TransientFailure, "4.3.0"), (Ran(None, "no such file", started=False), RouteFailure, ""),
        ]:
            outcome = verdict(ran, "send")
            self.assertIsInstance(outcome, kind, ran)
            self.assertEqual(getattr(getattr(outcome, "reply", None), "enhanced", ""), code, ran)

    def test_words(self) -> None:
        """What the program printed is in the reason."""
        self.assertIn("no credit", verdict(Ran(65, "no credit"), "send").reply.text)  # type: ignore[union-attr]
        self.assertIn("no credit", verdict(Ran(1, "no credit"), "send").reply.text)  # type: ignore[union-attr]
        self.assertIn("no key", verdict(Ran(78, "no key"), "send").reason)  # type: ignore[union-attr]


class RunTests(SynchronousTestCase):
    """Real programs."""

    def test_surroundings(self) -> None:
        """It gets the job on its input, the id in its environment, and nothing of the bridge's own."""
        os.environ["MAILBRIDGE_TEST_SECRET"] = "secret"
        self.addCleanup(os.environ.pop, "MAILBRIDGE_TEST_SECRET")
        command = JobCommand((sys.executable, "-c", SHOW.replace("dict(os.environ)", "sorted(os.environ)"),
                              "$(touch x); a b"), 20.0)
        ran = command.run(b"x" * 200_000, "sms", 42)
        self.assertEqual(ran.code, 0, ran)
        names, folder, length, arguments = json.loads(ran.output)
        self.assertEqual(set(names) - {"LC_CTYPE"}, {"LANG", "MAILBRIDGE_APPLICATION", "MAILBRIDGE_JOB", "PATH"})
        self.assertEqual((folder, length, arguments), ("/", 200_000, ["$(touch x); a b"]))
        self.assertEqual(shell("echo $MAILBRIDGE_APPLICATION $MAILBRIDGE_JOB").run(b"", "sms", 42).output, "sms 42")

    def test_input_not_read(self) -> None:
        """A program that does not read its input ends as it likes."""
        self.assertEqual(shell("exit 3").run(b"x" * 1_000_000, "sms", 1).code, 3)
        self.assertEqual(shell("exec <&-; sleep 0.1; exit 4").run(b"x" * 1_000_000, "sms", 1).code, 4)

    def test_output(self) -> None:
        """Both outputs are kept, up to a limit, without control characters; it may print as much as it likes."""
        ran = shell("printf 'a\\033[31m\\n'; echo b >&2; yes | head -c 3000000; exit 67").run(b"", "sms", 1)
        self.assertEqual((ran.code, len(ran.output)), (67, KEPT))
        self.assertTrue(ran.output.startswith("a?[31m b y"), ran.output[:20])

    def test_signal(self) -> None:
        """An end by a signal is seen as such."""
        self.assertEqual(shell("kill -TERM $$").run(b"", "sms", 1).code, -signal.SIGTERM)

    def test_not_there(self) -> None:
        """A program that is not there, or no program, is a fault of ours."""
        for program in ("/no/such/program", "/"):
            self.assertFalse(JobCommand((program,), 5.0).run(b"", "sms", 1).started)

    def test_out_of_time(self) -> None:
        """When its time is over everything that it has started is killed."""
        path = Path(self.mktemp()).absolute()
        script = f"(sleep 0.6; touch {shlex.quote(str(path))}) & echo begun; sleep 30"
        begun = time.monotonic()
        ran = shell(script, 0.3).run(b"", "sms", 1)
        self.assertEqual((ran.code, ran.output), (None, "begun"))
        self.assertLess(time.monotonic() - begun, 5.0)
        shell("sleep 0.6").run(b"", "sms", 1)
        self.assertFalse(path.exists())

    def test_left_in_the_background(self) -> None:
        """A program that leaves another in the background, with its output open, has ended all the same."""
        begun = time.monotonic()
        self.assertEqual(shell("sleep 5 & exit 0").run(b"", "sms", 1).code, 0)
        self.assertLess(time.monotonic() - begun, 4.0)
