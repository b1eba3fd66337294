"""The maildrop as the client sees it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3.listing import PIECE, Listing, number


class NumberTests(SynchronousTestCase):
    """Numbers of the client's."""

    def test_strict(self) -> None:
        """Only 1 to 10 ASCII digits are a number, whatever Python's int would take."""
        for octets, value in ((b"1", 1), (b"007", 7), (b"9999999999", 9999999999), (b"0", 0)):
            self.assertEqual(number(octets), value)
        for octets in (b"", b"+1", b"-1", b"1_0", b" 1", b"1 ", b"\xd9\xa1", b"1.0", b"0x1", b"12345678901", b"\xb2"):
            self.assertIsNone(number(octets), octets)


class ListingTests(SynchronousTestCase):
    """Marks and sums."""

    @given(st.lists(st.integers(0, 50), max_size=20), st.lists(st.integers(-1, 25), max_size=30))
    def test_sums_follow_marks(self, sizes: list[int], messages: list[int]) -> None:
        """STAT is always the sum of what LIST shows, and nothing is deleted that was not there."""
        listing = Listing(sizes)
        gone = set()
        for message in messages:
            index = listing.index(message)
            there = 1 <= message <= len(sizes) and sizes[message - 1] > 0 and message - 1 not in gone
            self.assertEqual(index, message - 1 if there else -1)
            if there:
                listing.delete(index)
                gone.add(index)
        left = [(i + 1, size) for i, size in enumerate(sizes) if size and i not in gone]
        self.assertEqual((listing.count, listing.octets), (len(left), sum(size for _, size in left)))
        shown = b"".join(listing.pieces(listing.size_line))
        self.assertEqual(shown, b"".join(b"%d %d\r\n" % pair for pair in left))
        self.assertEqual(list(listing.deleted()), sorted(gone))
        listing.restore()
        self.assertEqual((listing.count, listing.octets), (sum(1 for s in sizes if s), sum(sizes)))

    def test_unmarking_costs_by_the_marks(self) -> None:
        """RSET looks at the marked messages only: said a hundred times in a huge maildrop it holds nobody up."""
        asked: list[int] = []

        class Sizes(list[int]):
            """Sizes that note who is asked for."""

            def __getitem__(self, index: Any) -> Any:
                asked.append(index)
                return super().__getitem__(index)

        listing = Listing(Sizes([100] * 1000))
        listing.sizes.__class__.__iter__ = None  # type: ignore[assignment]  # and nobody goes through all of them
        listing.delete(7)
        listing.restore()
        self.assertEqual((listing.count, listing.octets, set(asked)), (1000, 100_000, {7}))

    def test_pieces_are_small(self) -> None:
        """A listing of 100,000 messages comes in pieces of at most 64 KiB."""
        pieces = list(Listing([123_456] * 100_000).pieces(lambda index: b"%d %b\r\n" % (index + 1, b"u" * 40)))
        self.assertEqual(len(pieces), -(-100_000 // PIECE))
        self.assertLessEqual(max(map(len, pieces)), 65_536)
        self.assertEqual(b"".join(pieces).count(b"\r\n"), 100_000)
