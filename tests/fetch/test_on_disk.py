"""A collection into a store on the disk, and the store opened again after a stop in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.bridgeway import BridgeWay
from mailbridge.fetch.collection import Collection
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.wayin import Fate
from mailbridge.limits import Limits
from mailbridge.routing.directory import Directory
from mailbridge.routing.intake import Intake
from mailbridge.routing.table import Table
from mailbridge.store.changes import AddUser
from mailbridge.store.sqlite import SQLiteStore, open_store
from tests.fetch.upstream import Mailbox, account
from tests.store.pump import Pump
from tests.store.values import CREDENTIALS


class OnDiskTests(SynchronousTestCase):
    """SQLite."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.box = Mailbox().fill(300, size=2000)
        self.box.messages["large"] = self.box.messages["uid1"] + b"more\r\n" * 30_000

    def start(self) -> tuple[Pump, SQLiteStore, Collection]:
        """A process: the store opened, nothing else known."""
        pump = Pump()
        store = open_store(self.folder, pump, on_death=print)
        directory = Directory(["example.org"])
        if not pump.wait(store.people()).users:
            pump.wait(store.commit(AddUser("bonnie", CREDENTIALS)))
        directory.replace(pump.wait(store.people()))
        number = iter(range(10_000))
        intake = Intake(store, Table((), directory), directory, "bridge.example.org", Limits(), pump,
                        lambda size: next(number).to_bytes(size, "big"))
        way = BridgeWay(intake, Duds(self.folder, maybeDeferred, pump.seconds))
        fates: list[Fate] = []
        return pump, store, Collection(account(self.box), self.box.open, way, store, pump, fates.append)

    def test_exactly_once(self) -> None:
        """Stopped in the middle of commits, with every QUIT lost: after a new start each message is there once."""
        pump, store, collection = self.start()
        self.box.loses_quit = True
        running = Deferred.fromCoroutine(collection.run())
        for _ in range(20):
            pump.turn(0.2)
        collection.stop()
        pump.wait(running)
        pump.wait(store.close())
        self.assertEqual(len(self.box.messages), 301)
        pump, store, collection = self.start()
        self.addCleanup(lambda: pump.wait(store.close()))
        pump.wait(Deferred.fromCoroutine(collection.run()))
        self.box.loses_quit = False
        pump.wait(Deferred.fromCoroutine(collection.run()))
        snapshot: Any = pump.wait(store.snapshot(1))
        self.assertEqual((len(snapshot.uids), self.box.messages), (301, {}))
        self.assertEqual(sorted(self.box.retrieved), sorted(set(self.box.retrieved)))
        largest = store.messages([snapshot.uids[-1]])[snapshot.uids[-1]].content
        self.assertGreater(largest.size, 180_000)
        pump.wait(Deferred.fromCoroutine(collection.run()))
        pump.wait(Deferred.fromCoroutine(collection.run()))
        self.assertEqual(pump.wait(store.remembered("fetch:", "", 1000)), {})
