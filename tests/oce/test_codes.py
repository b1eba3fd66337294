"""The codes of an OCE and what they mean for mail."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.codes import CODES, Means, is_strange, outcome, text
from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure

# Reference 4.3 and 7.1, with the overrides of its first section.
TABLE = {
    Delivered: (1, 2, 3, 4, 5, 7, 50),
    TransientFailure: (0, -50, -103, -106, -107),
    RouteFailure: (-2, -5, -8, -10, -11, -13, -104, -105, -109),
    PermanentFailure: (-1, -3, -4, -6, -7, -9, -14, -15, -16, -100, -101, -102, -108),
}
STATUS = {-1: "5.1.2", -3: "5.1.1", -4: "5.1.1", -16: "5.1.1", -9: "5.7.1", -14: "5.7.1", -15: "5.7.1", -6: "5.6.0",
          -7: "5.6.0", -100: "5.6.0", -101: "5.6.0", -102: "5.6.0", -108: "5.4.7"}


class CodeTests(SynchronousTestCase):
    """`outcome`, `text`, `is_strange`."""

    def test_table(self) -> None:
        """Every known code has its outcome."""
        self.assertEqual({num for nums in TABLE.values() for num in nums}, set(CODES))
        for kind, nums in TABLE.items():
            for num in nums:
                self.assertIsInstance(outcome(num, "", "", "oce", False), kind, num)

    def test_bounces(self) -> None:
        """A bounce says why in an enhanced status code."""
        for num, status in STATUS.items():
            failed = outcome(num, "", "", "oce", False)
            assert isinstance(failed, PermanentFailure)
            self.assertEqual(failed.reply.enhanced, status)

    def test_sign_rule(self) -> None:
        """Unknown codes go by their sign."""
        self.assertIsInstance(outcome(8, "NEW", "", "oce", False), Delivered)
        self.assertIsInstance(outcome(-200, "NEW", "", "oce", False), PermanentFailure)

    def test_repeated(self) -> None:
        """A key that is known there means delivered only if we sent it before."""
        for num in (-106, -107):
            self.assertIsInstance(outcome(num, "", "", "oce", True), Delivered)
            self.assertEqual((is_strange(num, True), is_strange(num, False)), (False, True))
        self.assertFalse(is_strange(1, False))

    def test_words(self) -> None:
        """A code is told with its symbol and its meaning."""
        self.assertEqual(text(-3), "-3 INVMBR: there is no such member")
        self.assertIn("register again", text(-10))
        self.assertTrue(all(code.words and code.means in Means for code in CODES.values()))
