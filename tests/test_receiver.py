"""What `[receiver]` adds to a running bridge, at the start and at a reload."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.throttle import Throttle
from mailbridge.config import outlets, rooms
from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.edge.session import Sessions
from mailbridge.edge.smtp_listener import SMTPServerFactory
from mailbridge.errors import StartError
from mailbridge.limits import Limits
from mailbridge.receiver import Receiver
from mailbridge.routing.directory import Directory
from mailbridge.routing.table import Table

CHECKER = "authentication_lib = 'tests.accounts.foreign_checkers.memory'\n"
HOSTS = ("clients = ['a.example']\n[application.x]\nctl_type = 'json'\ncommand = ['cat']\naddresses = ['.*@x']\n"
         "clients = ['b.example']\n")


class Names:
    """A resolver that knows a few names."""

    def __init__(self, **known: str) -> None:
        self.known = known

    def resolveHostName(self, receiver: Any, name: str) -> None:
        """Answer at once."""
        receiver.resolutionBegan(None)
        address = self.known.get(name.partition(".")[0])
        if address:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()


class Reactor(Clock):
    """Time, and a resolver."""

    def __init__(self, names: Names) -> None:
        Clock.__init__(self)
        self.nameResolver = names

    def callWhenRunning(self, work: Any, *arguments: Any) -> None:
        """It runs."""
        work(*arguments)


class ReceiverTests(SynchronousTestCase):
    """A receiver beside a router and a listener."""

    def setUp(self) -> None:
        """One with nothing in its table."""
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.names = Names(a="10.0.0.1", b="10.0.0.2")
        self.reactor = Reactor(self.names)
        self.reactor.advance(time.time())  # events have the time of day
        self.table = Table([], Directory(["example.org"]))
        config = self.load("")
        self.receiver = Receiver(
            config, self.reactor, self.table, None, Throttle(self.reactor.seconds),  # type: ignore[arg-type]
        )
        self.addCleanup(self.receiver.stop)
        sessions = Sessions(self.reactor, Limits())
        self.factory, self.other = (
            SMTPServerFactory(rooms.receiver_settings(config, {}), sessions, self.reactor) for _ in range(2)
        )
        self.receiver.serve(self.factory)
        self.receiver.introduce(self.other)

    def load(self, text: str) -> Config:
        """A configuration with a receiver that listens."""
        return load_text("[receiver]\nsmtp_port = 0\n" + text, "x.toml", self.base, (), lambda: "host.example")

    def follow(self, text: str) -> None:
        """Work by another configuration."""
        config = self.load(text)
        self.table.reconfigure([], (), (), outlets.claims(config))
        self.receiver.follow(config, self.receiver.make(config))

    def test_host_names(self) -> None:
        """Names are looked up when they are there; their clients may connect, and those of the receiver are trusted."""
        self.follow(HOSTS)
        settings = self.factory.settings
        self.assertTrue(settings.clients.allows("10.0.0.1"))
        self.assertFalse(settings.clients.allows("10.0.0.2"))
        self.assertTrue(settings.known.allows("10.0.0.2", self.factory.hosts))
        self.assertEqual(self.other.hosts, self.factory.hosts)

    def test_other_addresses(self) -> None:
        """A name that gets another address is followed after five minutes, and its old address is forgotten."""
        self.follow(HOSTS)
        self.names.known["a"] = "10.0.0.9"
        self.reactor.advance(301)
        allows = self.factory.settings.clients.allows
        self.assertEqual((allows("10.0.0.9"), allows("10.0.0.1")), (True, False))
        self.follow("")
        self.assertFalse(self.factory.settings.clients.allows("10.0.0.9"))

    def test_login(self) -> None:
        """The listener offers a login when a checker is named, and none any more when it is taken away."""
        self.follow(CHECKER)
        self.assertEqual((self.factory.settings.auth, self.factory.login is None), ("offer", False))
        self.assertIsNone(self.other.login)
        self.follow("")
        self.assertEqual((self.factory.settings.auth, self.factory.login), ("off", None))

    def test_bad_checker(self) -> None:
        """A checker that is not there is told before anything is changed."""
        self.follow(CHECKER)
        login = self.factory.login
        bad = self.load("authentication_lib = 'no_such.checker'\nlogging_file_name = 'x.log'")
        self.assertIn("no_such", str(self.assertRaises(StartError, self.receiver.make, bad)))
        self.assertIs(self.factory.login, login)
        self.assertEqual(list(self.base.iterdir()), [])

    def test_log(self) -> None:
        """Events go into the file while there is one; a reload changes the file, and leaves an unchanged one open."""
        self.follow("logging_file_name = 'one.log'")
        first = self.factory.journal
        self.follow("logging_file_name = 'one.log'\nthread_num = 7")
        self.assertIs(self.factory.journal, first)
        Logger("mailbridge.x").info("said to one")
        self.follow("logging_file_name = 'two.log'")
        Logger("mailbridge.x").warn("said to two")
        self.follow("")
        self.assertIsNone(self.factory.journal)
        Logger("mailbridge.x").warn("said to nobody")
        one, two = sorted(self.base.iterdir())
        self.assertIn(" I said to one\n", one.read_text())
        self.assertIn(" W said to two\n", two.read_text())
        self.assertNotIn("two", one.read_text())
        self.assertNotIn("nobody", two.read_text())
