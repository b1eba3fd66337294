"""Passwords and tokens that are fetched at each login: files, commands, and what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailbridge.fetch.secret import LONGEST, Secret, reveal
from mailbridge.pop3.failure import Kind, UpstreamError


class SecretTests(TestCase):
    """Each kind."""

    def ask(self, secret: Secret) -> Deferred[str]:
        """The secret."""
        return Deferred.fromCoroutine(reveal(secret, reactor))

    async def refused(self, secret: Secret) -> str:
        """The words of its refusal, without the secret."""
        error = await self.assertFailure(self.ask(secret), UpstreamError)
        self.assertIs(error.kind, Kind.LOGIN)
        self.assertNotIn("hunter2", str(error))
        return str(error)

    def test_file(self) -> None:
        """A file is read each time anew; one that is missing, empty, long or has two lines is told without its content.
        """
        path = Path(self.mktemp())
        secret = Secret(file=path)

        def words() -> str:
            return self.successResultOf(Deferred.fromCoroutine(self.refused(secret)))

        self.assertIn("cannot be read: No such file", words())
        for text in ("hunter2\n", "hunter2\r\n", "other"):
            path.write_text(text)
            self.assertEqual(self.successResultOf(self.ask(secret)), text.strip())
        for octets in (b"", b"hunter2\nhunter2\n", b"\xff hunter2", b"hunter2" * LONGEST, b"hunter2\0"):
            path.write_bytes(octets)
            self.assertIn(str(path), words())

    async def test_command(self) -> None:
        """A command's one line is the secret; what fails, prints nothing or too much, or is not there, is told."""
        def python(code: str) -> Secret:
            return Secret(command=(sys.executable, "-c", code))

        self.assertEqual(await self.ask(python("print('hunter2')")), "hunter2")
        self.assertEqual(await self.ask(python("import sys; print(repr(sys.stdin.read()))")), "''")
        self.assertIn("ended with 3", await self.refused(python("print('hunter2'); exit(3)")))
        self.assertIn("ended with 137", await self.refused(python("import os; os.kill(os.getpid(), 9)")))
        self.assertIn("must give one line", await self.refused(python("")))
        self.assertIn("must give one line", await self.refused(python("print('hunter2' * 100_000)")))

    async def test_cancelled(self) -> None:
        """A login that is given up ends its command."""
        waiting = self.ask(Secret(command=(sys.executable, "-c", "import time; time.sleep(60)")))
        reactor.callLater(0.2, waiting.cancel)  # type: ignore[attr-defined]
        await self.assertFailure(waiting, Exception)

    def test_shows_nothing(self) -> None:
        """No repr shows a secret."""
        self.assertNotIn("hunter2", repr(Secret("hunter2")))
