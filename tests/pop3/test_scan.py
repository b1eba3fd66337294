"""LIST and UIDL of servers good and bad: a bad line costs its own message and no other."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.scan import MOST_OCTETS, MOST_OCTETS_A_LINE, Sizes, SizeScan, Uids, UidScan

MIB = 1024 * 1024


def sizes(octets: bytes, most: int = 100, cut: int = 1_000_000) -> Sizes:
    """LIST in pieces of `cut` octets."""
    scan = SizeScan(most)
    for at in range(0, len(octets), cut):
        scan.feed(octets[at:at + cut])
    return scan.finish()


def uids(octets: bytes, most: int = 100, cut: int = 1_000_000) -> Uids:
    """UIDL in pieces of `cut` octets."""
    scan = UidScan(most)
    for at in range(0, len(octets), cut):
        scan.feed(octets[at:at + cut])
    return scan.finish()


class SizeTests(SynchronousTestCase):
    """LIST."""

    def test_lines(self) -> None:
        """What makes an entry and what does not, line by line."""
        for line, found in (
            (b"1 2", {1: 2}), (b"7 0", {7: 0}), (b" 1\t 2", {1: 2}), (b"1 2 and more", {1: 2}), (b"1 2 ", {1: 2}),
            (b"2147483648 1", {2**31: 1}), (b"2147483649 1", {}), (b"0 1", {}), (b"-1 1", {}), (b"+1 1", {}),
            (b"1_0 1", {}), (b"1 x", {}), (b"1 -2", {}), (b"1", {}), (b"", {}), (b"1 " + b"9" * 18, {1: 10**18 - 1}),
            (b"1 " + b"9" * 19, {}), (b"9" * 30 + b" 1", {}), ("١ ٢".encode(), {}), (b"1 2\0", {}), (b"1x 2", {}),
            (b"1 1" + b" " * 500, {1: 1}), (b"1 " + b" " * 5000 + b"1", {}),
        ):
            scanned = sizes(line + b"\r\n2 5\r\n")
            self.assertEqual(dict(scanned), {2: 5} | found, line)
            self.assertEqual(scanned.malformed, 0 if found else 1, line)

    def test_order_and_repeats(self) -> None:
        """Numbers come in order; of a number that comes twice the first counts."""
        scanned = sizes(b"3 30\r\n1 10\r\n3 31\r\n2 20\r\n")
        self.assertEqual(list(scanned.items()), [(1, 10), (2, 20), (3, 30)])
        self.assertEqual(scanned.malformed, 1)
        self.assertNotIn(4, scanned)
        self.assertEqual(len(scanned), 3)

    def test_too_many(self) -> None:
        """The first part of a list that is too long is kept; one without end is an error."""
        scanned = sizes(b"".join(b"%d 1\r\n" % number for number in range(1, 31)), 10)
        self.assertEqual(list(scanned), list(range(1, 11)))
        self.assertEqual(scanned.beyond, 20)
        scan = SizeScan(10)
        error = self.assertRaises(UpstreamError, scan.feed, b"1" * (MOST_OCTETS + 10 * MOST_OCTETS_A_LINE + 1))
        self.assertIs(error.kind, Kind.PROTOCOL)


class UidTests(SynchronousTestCase):
    """UIDL."""

    def test_lines(self) -> None:
        """What makes an entry and what does not, line by line."""
        for line, found in (
            (b"1 a", {1: "a"}), (b"1 !~", {1: "!~"}), (b"1 ../../etc/passwd", {1: "../../etc/passwd"}),
            (b"1 " + b"u" * 200, {1: "u" * 200}), (b"1 " + b"u" * 201, {}), (b"1 a b", {}), (b"1 \xc3\xa4", {}),
            (b"1 a\0", {}), (b"1 a\x1b", {}), (b"1", {}), (b"1 ", {}), (b"x a", {}), (b"0 a", {}), (b"1 a ", {1: "a"}),
        ):
            scanned = uids(line + b"\r\n2 five\r\n")
            self.assertEqual(dict(scanned), {2: "five"} | found, line)

    def test_not_unique(self) -> None:
        """A UID of two messages is none for either, and two of one message are none."""
        for octets, found in (
            (b"1 a\n2 a\n3 b\n", {3: "b"}), (b"1 a\n1 b\n2 c\n", {2: "c"}), (b"1 a\n1 a\n2 b\n", {1: "a", 2: "b"}),
            (b"2 b\n1 a\n", {1: "a", 2: "b"}), (b"1 a\n2 b\n1 b\n", {}), (b"1 a\n2 A\n", {1: "a", 2: "A"}),
        ):
            scanned = uids(octets)
            self.assertEqual(dict(scanned), found, octets)
            self.assertEqual(len(scanned) + scanned.malformed, octets.count(b"\n"), octets)

    def test_cut_lines(self) -> None:
        """A list cut anywhere is the same; a line without end is dropped as it comes."""
        octets = b"1 first\r\n2 " + b"u" * 3000 + b"\r\n3 third\r\n4 fourth\r\n"
        for cut in (1, 2, 3, 7, 1000, 2000):
            scanned = uids(octets, cut=cut)
            self.assertEqual(dict(scanned), {1: "first", 3: "third", 4: "fourth"}, cut)
            self.assertEqual(scanned.malformed, 1, cut)

    def test_memory(self) -> None:
        """The longest list, in the worst order and with long UIDs, takes less than 8 MiB."""
        numbers = list(range(1, 50_001))
        random.Random(1).shuffle(numbers)
        octets = b"".join(b"%d %070d\r\n" % (number, number // 2) for number in numbers)
        tracemalloc.start()
        scanned = uids(octets, 50_000, 65_536)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.assertEqual(dict(scanned), {1: f"{0:070d}", 50_000: f"{25_000:070d}"})
        self.assertLess(peak, 8 * MIB)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(-2, 12), st.sampled_from(["a", "b", "c", "", "x y", "\x7f"])), max_size=30))
    def test_any_list(self, lines: list[tuple[int, str]]) -> None:
        """Every UID that is given belongs to one message, and every message that is told one well has it."""
        scanned = uids(b"".join(f"{number} {uid}\r\n".encode() for number, uid in lines))
        good = {(number, uid) for number, uid in lines if number > 0 and uid in ("a", "b", "c")}
        expected = {
            number: uid for number, uid in good
            if not any((number == n) != (uid == u) for n, u in good)
        }
        self.assertEqual(dict(scanned), expected)
        self.assertEqual(list(scanned), sorted(expected))
