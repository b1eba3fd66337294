"""The durability scripts of bench/, in small: they pass on the bridge, and fail on one that is broken on purpose."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

BENCH = Path(__file__).resolve().parent.parent / "bench"
PATIENCE = 120.0


def run(script: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a script, with its traces in a folder that goes away."""
    if not (BENCH / script).exists():
        raise SkipTest("the scripts of bench/ are not here")
    with tempfile.TemporaryDirectory(prefix="mb-") as folder:
        done = subprocess.run([sys.executable, str(BENCH / script), "--folder", folder, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout


class Kill(SynchronousTestCase):
    """bench/kill.py."""

    def test_kill_in_each_phase(self) -> None:
        """kill -9 once in each phase: what was acknowledged is there once, what was deleted stays away."""
        code, said = run("kill.py", "--kills", "6", "--messages", "60", "--senders", "6")
        self.assertEqual(code, 0, said)
        for phase in ("MAIL", "DATA", "commit", "reply", "QUIT", "QUIT answered"):
            self.assertRegex(said, rf"kill -9 in phase {phase} +[1-9]")
        self.assertIn("no violations", said)


class Synced(SynchronousTestCase):
    """bench/synced.py."""

    def setUp(self) -> None:
        """strace, and the right to use it."""
        try:
            works = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
        except OSError:
            works = False
        if not works:
            raise SkipTest("needs a strace that may trace")

    def test_sync_before_the_reply(self) -> None:
        """No 250 leaves before the sync that covers its message has returned."""
        code, said = run("synced.py", "--messages", "12", "--sessions", "3")
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"covered .* 12\n")

    def test_reply_before_the_commit(self) -> None:
        """A bridge that answers before it commits is found out."""
        code, said = run("synced.py", "--messages", "6", "--sessions", "1", "--break", "early")
        self.assertEqual(code, 1, said)
        self.assertIn("its sync returned on line", said)

    def test_segment_without_sync(self) -> None:
        """A bridge that does not sync large content is found out."""
        code, said = run("synced.py", "--messages", "12", "--sessions", "1", "--break", "segment")
        self.assertEqual(code, 1, said)
        self.assertIn("is not synced between the content and the row that names it", said)
