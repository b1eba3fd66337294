"""Who sends: proofs of other tribes, and the flood rule."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.embedded.flood import HOSTS, LOCKED_SECONDS, Flood
from mailbridge.oce.embedded.sender import Request, proven
from mailbridge.oce.embedded.settings import RemoteTribe
from mailbridge.oce.keys import sign
from tests.oce.embedded.values import FRIENDS, STRANGERS, fingerprint

PIN = fingerprint(b"certificate")
PINNED = RemoteTribe("pinned", "D" * 20, pin=":".join(PIN[at:at + 2].upper() for at in range(0, 64, 2)))
TRIBES = (FRIENDS, STRANGERS, PINNED)


class ProofTests(SynchronousTestCase):
    """`proven`."""

    def found(self, signature: str | None = None, certificate: str | None = None) -> tuple[list[str], str]:
        """The names of the tribes, and what is wrong."""
        tribes, wrong = proven(Request(b"{}", "192.0.2.1", signature, lambda: certificate), TRIBES, 1000.0)
        return [tribe.name for tribe in tribes], wrong

    def test_proofs(self) -> None:
        """A tribe proves itself by its secret or its certificate; one with neither cannot."""
        self.assertEqual(self.found(sign(b"s" * 32, 1000, b"{}"))[0], ["friends"])
        self.assertEqual(self.found(certificate=PIN)[0], ["pinned"])
        self.assertEqual(self.found(), ([], "no proof"))
        self.assertEqual(self.found(certificate="0" * 64)[0], [])
        self.assertEqual(self.found(sign(b"t" * 32, 1000, b"{}")), ([], "a signature of another secret"))
        self.assertIn("clocks", self.found(sign(b"s" * 32, 1, b"{}"))[1])
        self.assertEqual(self.found("nonsense")[0], [])

    def test_certificate_is_no_substitute(self) -> None:
        """Where a secret was agreed on, a certificate does not do."""
        both = evolve(FRIENDS, pin=PIN)
        self.assertEqual(proven(Request(b"{}", certificate=lambda: PIN), [both], 0.0)[0], ())


class FloodTests(SynchronousTestCase):
    """`Flood`."""

    def test_rule(self) -> None:
        """Too fast is told, again and again too fast is told to stop, for a time; others are not concerned."""
        clock = Clock()
        flood = Flood(1.0, 3, clock.seconds)
        numbers = []
        for wait in (0, 0.5, 0.5, 1.0, 0.1, 0.1, 0.1, 5.0, LOCKED_SECONDS):
            clock.advance(wait)
            answer = flood.judge("192.0.2.1")
            numbers.append(answer.num if answer else 0)
        self.assertEqual(numbers, [0, -9, -9, 0, -9, -9, -13, -13, 0])
        self.assertIsNone(flood.judge("192.0.2.2"))

    def test_no_rule(self) -> None:
        """With an interval of 0 nobody is too fast."""
        flood = Flood(0.0, 3, Clock().seconds)
        self.assertEqual([flood.judge("192.0.2.1") for _ in range(10)], [None] * 10)

    def test_bounded(self) -> None:
        """Many hosts do not fill the memory."""
        flood = Flood(1.0, 3, Clock().seconds)
        for number in range(HOSTS + 10):
            flood.judge(str(number))
        self.assertIsNone(flood.judge("0"))
        self.assertIsNotNone(flood.judge(str(HOSTS + 9)))
