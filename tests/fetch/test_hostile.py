"""Every hostile POP3 server against the whole fetcher: it ends, and each message arrives once when the server heals."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import parse_mailbox
from mailbridge.edge.upstream import Upstream, open_upstream
from mailbridge.fetch.account import Account
from mailbridge.fetch.bridgeway import BridgeWay
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.fetcher import Fetcher, Settings
from mailbridge.fetch.link import Hooks, Link
from mailbridge.fetch.poison import REST
from mailbridge.fetch.recipient import Addressing
from mailbridge.limits import Limits
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin
from mailbridge.routing.directory import Directory
from mailbridge.routing.intake import Intake
from mailbridge.routing.table import Table
from mailbridge.store.changes import Accept, AddUser
from mailbridge.store.memory import MemoryStore
from mailbridge.testing.hostile_pop3 import MESSAGES, MODES, HostilePOP3Factory
from mailbridge.testing.network import Network
from tests.store.values import CREDENTIALS

OTHERWISE = {"lone dots", "NULs", "bare CR and LF", "false ends"}
"""Modes in which RETR 2 has other octets than the maildrop: they are what is delivered, once."""
LONGEST = 7200.0
"""Seconds within which a cycle has ended, whatever the server does: some reconnects to one that is silent."""


class HostileWorld:
    """One account with a server of that mode, into a store in memory."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.network = Network()
        self.network.rightNow = 1_763_730_000.0
        self.server = HostilePOP3Factory(self.network, MODES[mode])
        self.network.servers["pop.example", 110] = self.server
        store = MemoryStore(self.network)
        store.commit(AddUser("bonnie", CREDENTIALS))
        directory = Directory(["example.org"])
        store.people().addCallback(directory.replace)
        self.contents: list[bytes] = []
        commit = store.commit

        def noted(*changes: object) -> Deferred[tuple[object, ...]]:
            self.contents += [each.envelope.content.octets or b"" for each in changes if isinstance(each, Accept)]
            return commit(*changes)

        store.commit = noted  # type: ignore[method-assign]
        numbers = itertools.count()
        random = lambda size: next(numbers).to_bytes(size, "big")  # noqa: E731
        intake = Intake(store, Table((), directory), directory, "us.example", Limits(), self.network, random)
        self.way = BridgeWay(intake, Duds(folder, maybeDeferred, self.network.seconds))
        tls = "require" if "STLS" in mode else "off"
        account = Account(name="bob", user="bob", upstream=Upstream("pop.example", 110, tls), size_limit=100_000,
                          addressing=Addressing(fixed=parse_mailbox(b"bonnie")))
        login = UpstreamLogin("bob", "secret", in_clear=True)
        self.fetcher = Fetcher(
            [account], Settings(period=LONGEST, wait=0.0),
            lambda of: open_upstream(self.network, of.upstream, login, random, UpstreamLimits(messages=1000)),
            self.way, store, self.network, Link(Hooks(), lambda *_: Deferred(), lambda: None),
        )

    def cycle(self) -> dict[str, Any]:
        """One cycle; what is told of the account."""
        ended: list[Any] = []
        self.fetcher.now().addBoth(ended.append)
        self.network.settle()
        passed = 0.0
        while not ended and passed < LONGEST:
            self.network.advance(20.0)
            passed += 20.0
        assert ended, "the cycle has not ended"
        record: dict[str, Any] = ended[0]["accounts"][0]
        return record

    def times(self, octets: bytes) -> int:
        """How often a message was delivered."""
        return sum(content.endswith(b"\r\n" + octets) for content in self.contents)


class HostileTests(SynchronousTestCase):
    """Each mode."""

    def test_every_mode(self) -> None:
        """The cycle ends, nothing is deleted that was not stored, and in the end each message is there once."""
        with tempfile.TemporaryDirectory() as folder:
            for mode in MODES:
                self.check(mode, Path(folder))

    def check(self, mode: str, folder: Path) -> None:
        """One mode."""
        world = HostileWorld(mode, folder)
        record = world.cycle()
        self.assertNotIn("secret", str(record), mode)
        for uid, octets in MESSAGES:
            if uid in world.server.deleted and mode not in OTHERWISE:
                self.assertEqual(world.times(octets), 1, f"{mode}: {uid} was deleted")
        world.server.script = {}
        world.network.advance(REST)
        world.cycle()
        if mode in OTHERWISE:
            self.assertEqual((len(world.contents), len(world.server.deleted)), (3, 3), mode)
        elif "STLS" not in mode:
            self.assertEqual([world.times(octets) for _, octets in MESSAGES], [1, 1, 1], mode)
            self.assertEqual(sorted(world.server.deleted), [uid for uid, _ in MESSAGES], mode)
        self.assertEqual(world.network.getDelayedCalls(), [], mode)
