"""What is stored for a password, and when it fits."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.passwords import make_credentials, nobody, verify
from mailbridge.sasl.values import SASLError
from mailbridge.sasl.verifier import ScramVerifier
from mailbridge.store.changes import Credentials


class PasswordTests(SynchronousTestCase):
    """scrypt and SCRAM credentials."""

    kept = make_credentials("gr\u00fc\u00df dich")

    def test_fits(self) -> None:
        """The password fits however its letters are composed, and no other does."""
        self.assertTrue(verify("gr\u00fc\u00df dich".encode(), self.kept))
        self.assertTrue(verify("gru\u0308\u00df dich".encode(), self.kept))
        for wrong in (b"", b"gruss dich", b"\xff\xfe", b"a\0b", b"x" * 10_000):
            self.assertFalse(verify(wrong, self.kept), wrong[:20])

    def test_form(self) -> None:
        """The hash is in the usual text form, salted, and the password is nowhere in it."""
        again = make_credentials("gr\u00fc\u00df dich")
        self.assertTrue(self.kept.scrypt.startswith("$scrypt$ln=14,r=8,p=1$"))
        self.assertNotEqual(again.scrypt, self.kept.scrypt)
        self.assertNotEqual(again.scram, self.kept.scram)
        self.assertEqual(4096, ScramVerifier.parse(self.kept.scram).iterations)
        self.assertIsNone(self.kept.secret)

    def test_known_hash(self) -> None:
        """The third vector of RFC 7914 section 12 shows that this is scrypt and nothing else."""
        stored = Credentials(
            "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI", "",
        )
        self.assertTrue(verify(b"pleaseletmein", stored))

    def test_secret_on_request(self) -> None:
        """The secret is kept in clear only when that was asked for."""
        self.assertEqual("gun", make_credentials("gun", keep_secret=True).secret)

    def test_control_characters(self) -> None:
        """A password with a control character cannot be set."""
        with self.assertRaises(SASLError):
            make_credentials("a\tb")

    def test_nobody(self) -> None:
        """The credentials of nobody fit no password."""
        self.assertFalse(verify(b"", nobody()))

    def test_damaged(self) -> None:
        """A hash that cannot be read, or would take gigabytes, is an error that does not show it."""
        for text in ("", "plain", "$scrypt$ln=14,r=8,p=1$c2FsdA$", "$scrypt$ln=30,r=8,p=1$c2FsdA$aGFzaA",
                     "$scrypt$ln=0,r=8,p=1$c2FsdA$aGFzaA", "$scrypt$ln=14,r=8,p=1$c$aGFzaA"):
            error = self.assertRaises(ValueError, verify, b"x", evolve(self.kept, scrypt=text))
            self.assertNotIn("$", str(error))

    @settings(max_examples=15, deadline=None)
    @given(st.binary(max_size=40))
    def test_any_octets(self, password: bytes) -> None:
        """Whatever a client sends as a password is only wrong."""
        self.assertFalse(verify(password, self.kept))
