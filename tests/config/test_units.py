"""Numbers, sizes and times as an operator writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.units import number, show_size, show_time, shown, size, time

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


class UnitsTests(SynchronousTestCase):
    """One value."""

    def test_sizes(self) -> None:
        """A size is octets, or a number with a unit."""
        for value, octets in [
            (1000, 1000), (1000.0, 1000), ("1000", 1000), ("50 MiB", 50 * 2**20), ("50MiB", 50 * 2**20),
            ("50 m", 50 * 2**20),
            ("50 MB", 50_000_000), ("1.5 KiB", 1536), (" 1 GiB ", 2**30), ("7 octets", 7), ("7 B", 7),
        ]:
            self.assertEqual(size(0, 2**40)(value), octets, value)

    def test_times(self) -> None:
        """A time is seconds, or a number with a unit."""
        for value, seconds in [(5, 5.0), (0.5, 0.5), ("5 min", 300.0), ("5min", 300.0), ("1.5 h", 5400.0),
                               ("2 days", 172800.0), ("30 s", 30.0), ("90", 90.0)]:
            self.assertEqual(time(0, 10**6)(value), seconds, value)

    def test_wrong_values(self) -> None:
        """What is no amount is refused: other types, other digits, unknown units, signs."""
        for value in (True, None, [], {}, "", "many", "5 parsecs", "-5", "+5", "1_0", "٥", "0x10", "5 5", "1e3",
                      "5 min 3 s", float("nan"), float("inf"), "9" * 400, ".5", "5."):
            self.assertRaises(ValueError, size(0, 2**40), value)
            self.assertRaises(ValueError, time(0, 10**6), value)
        for value in (True, "5", 5.0, None):
            self.assertRaises(ValueError, number(0, 10), value)

    def test_ranges(self) -> None:
        """The text of a value out of range names the range in its best unit."""
        for read, value, expected in [
            (number(1, 100_000), "many", 'must be 1 to 100000, got "many"'),
            (number(1, 100_000), 0, "must be 1 to 100000, got 0"),
            (size(65536, 2**31), 1, 'must be a size from 64 KiB to 2 GiB, such as "50 MiB", got 1'),
            (time(1, 86400), "2 d", 'must be a time from 1 s to 1 d, such as "5 min", got "2 d"'),
        ]:
            self.assertEqual(str(self.assertRaises(ValueError, read, value)), expected)

    def test_ends_are_included(self) -> None:
        """Both ends of a range are in it."""
        self.assertEqual([number(1, 3)(1), number(1, 3)(3)], [1, 3])
        self.assertEqual([size(1, 1024)("1 KiB"), time(1, 60)("1 min")], [1024, 60.0])

    def test_shown(self) -> None:
        """A value in a message is short and on one line."""
        for value, text in [("a\nb", '"a\\nb"'), ({"a": 1}, "a table"), ([1], "a list"), (True, "true"), (5, "5")]:
            self.assertEqual(shown(value), text)
        self.assertLess(len(shown("x" * 1000)), 70)
        self.assertEqual((show_size(0), show_size(1536), show_time(3600)), ("0 octets", "1536 octets", "1 h"))

    @given(anything)
    def test_any_value(self, value: object) -> None:
        """Any value is an amount in the range or a ValueError."""
        for read in (number(1, 9), size(1, 9), time(1, 9)):
            try:
                amount = read(value)
            except ValueError as error:
                self.assertNotIn("\n", str(error))
                continue
            self.assertTrue(1 <= amount <= 9)
