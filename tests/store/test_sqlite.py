"""The SQLite store keeps the contract, and what was acknowledged is there after it is opened again."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.store.sqlite import open_store
from tests.store.contract import StoreContract
from tests.store.contract_operator import OperatorContract
from tests.store.contract_queue import QueueContract
from tests.store.pump import Pump


class OpenStore:
    """Opens SQLite stores and closes them at the end of the test."""

    def open(self, folder=None, **arguments):
        """A store in `folder`, a new one if None; `self.clock` is its reactor."""
        self.clock = Pump()
        self.folder = folder or Path(self.mktemp())
        arguments.setdefault("reserve", 0)
        arguments.setdefault("on_death", self.fail)
        self.store = open_store(self.folder, self.clock, **arguments)
        self.addCleanup(self.close, self.store, self.clock)
        return self.store

    def close(self, store, clock):
        """Close it and wait for its threads."""
        clock.wait(store.close())

    def reopen(self, **arguments):
        """Close it and open it again."""
        self.close(self.store, self.clock)
        return self.open(self.folder, **arguments)

    def wait(self, deferred):
        """The result of `deferred`."""
        return self.clock.wait(deferred)

    def settle(self):
        """Let the purge finish."""
        self.clock.settle()


class SQLiteStoreTests(OpenStore, StoreContract, QueueContract, OperatorContract, SynchronousTestCase):
    """The contract on SQLiteStore."""

    def setUp(self):
        """A new store."""
        self.open(min_free=0)
