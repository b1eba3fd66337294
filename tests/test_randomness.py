"""Random octets in bulk."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.randomness import BulkRandom


class BulkRandomTests(SynchronousTestCase):
    """Asked often, the system is asked seldom."""

    def test_no_octet_twice(self) -> None:
        """Every octet of the source is given out at most once, and each answer is as long as asked."""
        asked: list[int] = []
        given: list[bytes] = []

        def source(size: int) -> bytes:
            asked.append(size)
            given.append(os.urandom(size))
            return given[-1]

        random = BulkRandom(source)
        answers = [random(size) for size in [10, 64, 1, 0, 33] * 200]
        self.assertEqual([len(answer) for answer in answers], [10, 64, 1, 0, 33] * 200)
        stream = b"".join(given)
        at = 0
        for answer in answers:
            found = stream.find(answer, at)
            self.assertGreaterEqual(found, at)
            at = found + len(answer)
        self.assertLess(len(asked), 10)
