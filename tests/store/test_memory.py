"""The store in memory keeps the contract."""

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreFull
from mailbridge.store.memory import MemoryStore
from tests.store.contract import StoreContract
from tests.store.contract_operator import OperatorContract
from tests.store.contract_queue import QueueContract
from tests.store.values import mail


class MemoryStoreTests(StoreContract, QueueContract, OperatorContract, SynchronousTestCase):
    """The contract on MemoryStore."""

    def setUp(self):
        """A store with a clock at a believable time."""
        self.clock = Clock()
        self.clock.advance(1_763_730_000.0)
        self.store = MemoryStore(self.clock)

    def wait(self, deferred):
        """Everything has fired already."""
        results = []
        deferred.addBoth(results.append)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def settle(self):
        """Nothing happens in the background."""

    def test_full(self):
        """Below min_free new mail is refused."""
        self.store.free = 1000
        self.failureResultOf(self.store.commit(mail()), StoreFull)
