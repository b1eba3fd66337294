"""JSON from strangers: what is taken, and that everything else is one typed error."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.strictjson import BadJSON, read, shown, write

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4),
    max_leaves=20,
)
HOSTILE = {
    "nothing": b"",
    "no JSON": b"{'a': 1}",
    "two values": b"{} {}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "the same name twice": b'{"a": 1, "b": {"c": 1, "c": 2}}',
    "NaN": b'{"a": NaN}',
    "Infinity": b"[-Infinity]",
    "a number of 5,000 digits": b"[" + b"9" * 5000 + b"]",
    "a number beyond 64 bits": b"[9223372036854775808]",
    "an endless fraction": b"[0." + b"1" * 5000 + b"]",
    "too big for a float": b"[1e999]",
    "half a surrogate pair": b'["\\ud800"]',
    "half a surrogate pair in a name": b'{"\\udc00x": 1}',
    "100,000 deep": b"[" * 100_000,
    "100,000 deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "100 deep": b"[" * 100 + b"]" * 100,
    "deep objects": b'{"a":' * 50 + b"1" + b"}" * 50,
    "a control character": b'["\n"]',
    "millions of values": b"[" + b"[]," * 2_000_000 + b"[]]",
    "millions of values, and a text without end": b"{" * 1_000_001 + b'"' + b'\\"' * 100_000,
}


class ReadTests(SynchronousTestCase):
    """`read`."""

    def test_hostile(self) -> None:
        """Each of these is refused with a short reason."""
        for name, octets in HOSTILE.items():
            error = self.assertRaises(BadJSON, read, octets)
            self.assertLess(len(str(error)), 200, name)

    def test_many_commas(self) -> None:
        """Millions of commas within a text are no values."""
        octets = b'{"a": "' + b",[{" * 500_000 + b'"}'
        self.assertEqual(len(read(octets)["a"]), 1_500_000)

    def test_too_long(self) -> None:
        """Nothing above the limit is looked at."""
        self.assertIn("at most 100", str(self.assertRaises(BadJSON, read, b" " * 101, 100)))

    def test_taken(self) -> None:
        """What JSON allows is taken: escapes, pairs of surrogates, a mark of the byte order, 32 levels."""
        for octets, value in (
            (b'"\\ud83d\\ude00"', "\U0001f600"), (b"\xef\xbb\xbf[1]", [1]), (b'{"a": [1.5, null, true]}',
             {"a": [1.5, None, True]}), (b"[" * 32 + b"]" * 32, None), (b"-9223372036854775808", -(2**63)),
        ):
            found = read(octets)
            if value is not None:
                self.assertEqual(found, value)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever comes, it is a value or a BadJSON."""
        with contextlib.suppress(BadJSON):
            read(octets)

    @settings(max_examples=200, deadline=None)
    @given(VALUES)
    def test_round_trip(self, value: object) -> None:
        """What is written is read, in ASCII, and the same each time."""
        octets = write(value)
        self.assertTrue(octets.isascii())
        self.assertEqual((read(octets), write(read(octets))), (value, octets))

    def test_shown(self) -> None:
        """A value in a message is short, on one line, in ASCII."""
        text = shown("\u2603\r\n" * 100)
        self.assertTrue(text.isascii() and text.isprintable())
        self.assertLess(len(text), 70)
        for large in ([["\u2603"] * 1000] * 100_000, {str(n): n for n in range(1000)}, "x" * 10**7):
            self.assertLess(len(shown(large)), 70)
