"""Keys of messages are forgotten after a month, a slice at a time."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.seen import DAY, DAYS, Seen
from mailbridge.store.memory import MemoryStore
from tests.store.values import mail


class SeenTests(SynchronousTestCase):
    """`Seen`."""

    def test_forgotten_after_a_month(self) -> None:
        """A key is known for thirty days and forgotten soon after; newer ones and those of others stay."""
        clock = Clock()
        clock.advance(1_763_730_000.0)
        store = MemoryStore(clock)
        seen = Seen(store, clock, "usds:")
        seen.start()
        self.addCleanup(seen.stop)

        def accept(*keys: str) -> list[bool]:
            receipts = self.successResultOf(store.commit(*(evolve(mail(), key=key) for key in keys)))
            for receipt in receipts:
                seen.note(receipt.message)
            return [receipt.repeated for receipt in receipts]

        old = [f"usds:{number}" for number in range(2500)]
        accept(*old, "other:1")
        clock.pump([DAY / 24] * 24 * 2)
        accept("usds:new")
        clock.pump([DAY / 24] * 24 * (DAYS - 4))
        self.assertEqual(accept(old[0], old[-1]), [True, True])
        clock.pump([DAY / 24] * 24 * 4 + [0.1] * 10)
        self.assertEqual(accept(old[1], old[-2], "usds:new", "other:1"), [False, False, True, True])
