"""The ledger of one account: pages, keys, what is forgotten when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.ledger import DAY, LONGEST_UID, Entry, Ledger, content_key, uid_key
from mailbridge.store.memory import MemoryStore

ENTRY = Entry(100, 1_763_730_000.0, False, "d" * 32)
KEPT = Entry(100, 1_763_730_000.0, True, "d" * 32)


class LedgerTests(SynchronousTestCase):
    """On a store in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore(Clock())
        self.ledger = Ledger(self.store, "aaaa")

    def write(self, ledger: Ledger, *keys: str, entry: Entry = ENTRY) -> None:
        """Make messages known."""
        self.store.commit(*(ledger.change(key, entry) for key in keys))

    def load(self, ledger: Ledger) -> None:
        """Read it."""
        self.successResultOf(Deferred.fromCoroutine(ledger.load()))

    def test_pages(self) -> None:
        """All entries of the account are read, however many, and those of no other."""
        keys = [f"u{number}" for number in range(2345)]
        self.write(self.ledger, *keys)
        self.write(Ledger(self.store, "aaab"), "uother")
        self.load(self.ledger)
        self.assertEqual(len(self.ledger), 2345)
        self.assertEqual((self.ledger.get("u2344"), self.ledger.get("uother")), (ENTRY, None))

    def test_unreadable(self) -> None:
        """An entry that cannot be read makes its message new."""
        for text in ("", "x", "1 2 k", "a b k d", "1 2 k d e"):
            self.assertIsNone(Entry.parse(text), text)

    def test_pruned(self) -> None:
        """What is absent twice goes; what is kept must be absent for a day; what comes back begins anew."""
        self.write(self.ledger, "ua", "ub", "cx")
        self.write(self.ledger, "uk", entry=KEPT)
        self.load(self.ledger)
        self.assertEqual(self.ledger.prune(["ua"], 0.0), [])
        self.assertEqual(self.ledger.prune(["ua", "ub"], 1.0), [])
        self.assertEqual(self.ledger.prune(["ua"], 2.0), [])
        gone = self.ledger.prune(["ua"], 3.0)
        self.assertEqual([(change.key, change.value) for change in gone], [("fetch:aaaa:ub", None)])
        self.successResultOf(Deferred.fromCoroutine(self.ledger.forget(gone)))
        self.assertEqual((len(self.ledger), self.store.recall("fetch:aaaa:ub")), (3, None))
        self.assertEqual([change.key for change in self.ledger.prune(["ua"], DAY)], ["fetch:aaaa:uk"])

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300),
           st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300))
    def test_keys(self, one: str, other: str) -> None:
        """Keys are short, and no two UIDs share one, nor a UID and a digest."""
        keys = {uid_key(one), uid_key(other), content_key(one[:32])}
        self.assertEqual(len(keys), 2 + (one != other))
        self.assertLessEqual(max(map(len, keys)), LONGEST_UID + 1)
