"""Secrets that a server repeats are hidden in what is shown."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sasl.mask import Mask, printable


class MaskTests(SynchronousTestCase):
    """What is shown of a server's words."""

    def test_hidden(self) -> None:
        """The secret, its base64 form and any eight characters of that; nothing else."""
        mask = Mask()
        self.assertEqual(mask.masked(b"what is swordfish"), b"what is swordfish")
        encoded = b64encode(b"\0bonnie\0swordfish")
        mask.hide(b"swordfish", encoded, b"")
        for said, shown in (
            (b"what is swordfish?", b"what is ***?"), (b"no: " + encoded, b"no: ***"),
            (encoded[3:14] + b" no", b"*** no"),
            (b"sword fish", b"sword fish"), (b"Authentication failed", b"Authentication failed"), (b"", b""),
        ):
            self.assertEqual(mask.masked(said), shown)

    def test_printable(self) -> None:
        """No control character is left, and no octets that are no text."""
        self.assertEqual(printable(b"a\x1b[31mb\0\r\n\xff"), "a?[31mb???\ufffd")
        self.assertEqual(printable("für".encode()), "für")
