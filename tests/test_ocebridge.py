"""The bridge's side of the OCE with an embedded one, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.throttle import Throttle
from mailbridge.config import tribal
from mailbridge.config.load import load_text
from mailbridge.oce.embedded.deeds import Refused
from mailbridge.ocebridge import OCEBridge
from mailbridge.routing.directory import Directory
from mailbridge.routing.tribes import OCEWay
from mailbridge.store.changes import AddUser, Credentials
from mailbridge.store.memory import MemoryStore

TEXT = 'hostname = "a.example"\nstate = "state"\n[users]\npostmaster = "harold"\n[oce]\n'
EMBEDDED = TEXT + 'embedded = true\nname = "home"\n'
REMOTE = TEXT + 'url = "http://127.0.0.1:1895/"\nmember = "harold"\n'
TRIBE = '[oce.tribes.friends]\nkey = "BBBB1111BBBB1111"\nurl = "https://friends.example/"\nsecret = "hush"\n'


class Checker:
    """Takes the password `right`."""

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes]:
        """See ICredentialsChecker."""
        if credentials.checkPassword(b"right"):
            return succeed(credentials.username)
        return fail(UnauthorizedLogin())


class OCEBridgeTests(SynchronousTestCase):
    """`OCEBridge`."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.store = MemoryStore(self.reactor)
        self.store.commit(AddUser("harold", Credentials("", "")))
        self.directory = Directory(["a.example"], postmaster="harold", member_domain="oce")
        self.directory.replace(self.successResultOf(self.store.people()))
        self.ways: list[OCEWay] = []

    def bridge(self, text: str) -> OCEBridge:
        """One of this configuration, which ends with the test."""
        config = load_text(text, "mailbridge.toml", Path("/nowhere"))
        numbers = iter(range(10_000))
        made = OCEBridge(config, self.reactor, self.store, self.directory, Checker(), Throttle(self.reactor.seconds),
                         lambda size: next(numbers).to_bytes(size, "big"), lambda: 0.5, b"secret", self.ways.append)
        self.addCleanup(made.stop)
        return made

    def call(self, coroutine: Any) -> Any:
        """Its result, at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def started(self, text: str) -> OCEBridge:
        """One that runs."""
        made = self.bridge(text)
        made.start()
        self.reactor.advance(0)
        return made

    def test_start(self) -> None:
        """The bridge is registered with its own OCE by itself; the router hears of the key that was made."""
        made = self.started(EMBEDDED + TRIBE)
        info = made.pullinfo(0)
        self.assertTrue(info.registered)
        self.assertIn("NULLSET", info.results["pull"])
        key = self.ways[-1].own - {"home"}
        self.assertEqual(len(key), 1)
        self.assertIn("tribe home with the key", info.url)
        self.assertEqual(self.ways[-1].tribes["friends"], "friends")
        before = made.client.app_key
        again = self.started(EMBEDDED)
        self.assertEqual(again.client.app_key, before)

    def test_register_with_our_own(self) -> None:
        """Our own OCE only looks at the password, and says what it thinks of it."""
        made = self.started(EMBEDDED)
        self.assertTrue(self.call(made.register("harold", "right")).succeeded)
        failure = self.failureResultOf(Deferred.fromCoroutine(made.register("harold", "wrong")), Refused)
        self.assertIn("INVPASS", str(failure.value))

    def test_another_oce(self) -> None:
        """With an OCE elsewhere there is no listener and no registration before the operator makes one."""
        made = self.started(REMOTE)
        self.assertEqual((made.edges(None), made.embedded), ({}, None))
        self.assertEqual(made.pullinfo(3).waiting, 3)
        self.assertFalse(made.pullinfo(0).registered)
        self.assertFalse(self.call(made.release()))

    def test_alarms(self) -> None:
        """A KILL is an alarm until it is released."""
        made = self.started(EMBEDDED)
        self.assertEqual(made.alarms(), ())
        made.client.killed, made.client.killed_at = "stopped", 5.0
        (alarm,) = made.alarms()
        self.assertEqual((alarm.text, alarm.since), ("stopped", 5.0))
        self.assertTrue(self.call(made.release()))
        self.assertEqual(made.alarms(), ())

    def test_listener_stays(self) -> None:
        """Another embedded OCE at the same endpoint takes the listener over; at another one it does not."""
        old = self.started(EMBEDDED)
        edge = old.edges(None)[tribal.PLACE]
        factory = edge.make(edge.settings, False)
        new = self.bridge(EMBEDDED + "request_lock = 7\n")
        self.assertTrue(new.take_listener(old))
        assert new.embedded is not None
        self.assertEqual(factory.answer, new.embedded.answer)
        self.assertFalse(new.take_listener(old))
        self.assertFalse(self.bridge(EMBEDDED + 'listen = "tcp:1896"\n').take_listener(new))
        self.assertFalse(self.bridge(REMOTE).take_listener(new))
