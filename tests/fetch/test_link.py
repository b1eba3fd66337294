"""The commands that dial and hang up, run for real."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from mailbridge.fetch.dmailconf import Dial
from mailbridge.fetch.link import ALREADY, Hooks, Link, run_command


class CommandTests(TestCase):
    """Small commands."""

    @inlineCallbacks
    def test_exit_codes(self):  # type: ignore[no-untyped-def]
        """The exit code is told, also of what cannot be run, reads its input, or is killed for taking too long."""
        for argv, seconds, code in ((["/bin/sh", "-c", "exit 10"], 5.0, ALREADY), (["/bin/true"], 5.0, 0),
                                    (["/bin/cat"], 5.0, 0), (["/bin/sleep", "60"], 0.05, 128 + 9),
                                    (["/none/such"], 5.0, None)):
            found = yield run_command(reactor, argv, {}, seconds)
            if code is None:
                self.assertNotEqual(found, 0)
            else:
                self.assertEqual(found, code, argv)

    @inlineCallbacks
    def test_environment(self):  # type: ignore[no-untyped-def]
        """What the ras_ settings say comes in the environment, the password too, and in no list of arguments."""
        told = Dial("1,,123", "office", "us", "secret", None, 60.0)
        script = 'test "$RAS_NUMBER $RAS_ENTRY $RAS_USERNAME $RAS_PASSWORD $RAS_DOMAIN" = "1,,123 office us secret "'
        ups: list[bool] = []
        link = Link(Hooks(("/bin/sh", "-c", script), (), told), lambda *args: run_command(reactor, *args),
                    lambda: ups.append(True))
        taken = yield Deferred.fromCoroutine(link.take())
        self.assertTrue(taken)
        self.assertEqual(ups, [True])
