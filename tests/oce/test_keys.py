"""Keys of messages and proofs between OCEs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.keys import WINDOW, msg_key, sign, verify

SECRET = b"s" * 32


class KeyTests(SynchronousTestCase):
    """`msg_key`, `sign` and `verify`."""

    def test_msg_key(self) -> None:
        """A delivery has one key over all its attempts, no other has it, and nobody can guess it."""
        key = msg_key(SECRET, "0123", "harold@oce")
        self.assertRegex(key, "^[0-9A-F]{64}$")
        self.assertEqual(key, msg_key(SECRET, "0123", "harold@oce"))
        others = {msg_key(b"t" * 32, "0123", "harold@oce"), msg_key(SECRET, "0124", "harold@oce"),
                  msg_key(SECRET, "0123", "bonnie@oce"), msg_key(SECRET, "0123", "harold@oce", 1)}
        self.assertEqual(len(others | {key}), 5)

    def test_proof(self) -> None:
        """A proof holds for its octets, its secret and its time."""
        proof = sign(SECRET, 1000.7, b"{}")
        self.assertIsNone(verify(SECRET, proof, 1000, b"{}"))
        self.assertIsNone(verify(SECRET, proof, 1000 + WINDOW, b"{}"))
        for secret, given, now, body in (
            (b"t" * 32, proof, 1000, b"{}"), (SECRET, proof, 1000, b"{ }"), (SECRET, proof, 1001 + WINDOW, b"{}"),
            (SECRET, proof, 999 - WINDOW, b"{}"), (SECRET, proof.replace("t=1000", "t=1001"), 1001, b"{}"),
            (SECRET, "", 1000, b"{}"), (SECRET, proof + "\n", 1000, b"{}"), (SECRET, "t=\u0661,v1=" + "0" * 64, 1, b""),
        ):
            self.assertIsNotNone(verify(secret, given, now, body))
