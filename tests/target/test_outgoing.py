"""What goes to a worker goes in order and a little at a time."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.target.outgoing import AT_ONCE, Outgoing

PIECE = 64 * 1024


class OutgoingTests(SynchronousTestCase):
    """Into a transport in memory, which pulls when a test says so."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.outgoing = Outgoing(self.transport)

    def test_small(self) -> None:
        """What is small is written at once."""
        self.outgoing.write((b"head", b"content"))
        self.outgoing.write((b"next",))
        self.assertEqual(self.transport.value(), b"headcontentnext")
        self.assertIsNone(self.transport.producer)

    def test_large(self) -> None:
        """A large message is never handed over whole, and what is asked after it comes after it."""
        pieces = [bytes([n]) * PIECE for n in range(20)]
        self.outgoing.write((b"head", *pieces))
        self.outgoing.write((b"next",))
        self.assertIs(self.transport.producer, self.outgoing)
        written = [len(self.transport.value())]
        while self.transport.producer is not None:
            self.outgoing.resumeProducing()
            written.append(len(self.transport.value()))
        self.assertEqual(self.transport.value(), b"".join((b"head", *pieces, b"next")))
        self.assertLess(max(b - a for a, b in zip(written, written[1:], strict=False)), AT_ONCE + PIECE)
        self.outgoing.write((b"after",))
        self.assertTrue(self.transport.value().endswith(b"nextafter"))

    def test_other_end_gone(self) -> None:
        """When the worker is gone what waits for it is forgotten."""
        self.outgoing.write((b"x" * PIECE,) * 3)
        self.outgoing.stopProducing()
        self.transport.producer = None
        self.outgoing.write((b"y",))
        self.assertEqual(self.transport.value(), b"y")
