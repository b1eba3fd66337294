"""Names of tribes here and abroad."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.tribes import Tribes

HERE = Tribes("AAAA", {"friends": "BBBB", "Far": "CCCC"})


class TribeTests(SynchronousTestCase):
    """`Tribes`."""

    def test_domains(self) -> None:
        """A key is shown by its name here; our own is plain oce; an unknown one stays a key."""
        for key, domain in (("BBBB", "friends.oce"), ("bbbb", "friends.oce"), ("CCCC", "Far.oce"), ("AAAA", "oce"),
                            ("", "oce"), ("DDDD", "DDDD.oce")):
            self.assertEqual(HERE.domain(key), domain)

    def test_keys(self) -> None:
        """A name gives its key, in any case."""
        self.assertEqual((HERE.key("FRIENDS"), HERE.key("far"), HERE.key("x")), ("BBBB", "CCCC", None))

    def test_there_and_back(self) -> None:
        """An address of one tribe is right in another: a reader there can answer to all."""
        there = Tribes("BBBB", {"origin": "AAAA"})
        for domain, seen in (("oce", "origin.oce"), ("friends.oce", "oce"), ("Far.oce", "CCCC.oce"),
                             ("example.org", "example.org"), ("unknown.oce", "unknown.oce")):
            self.assertEqual(there.inward(HERE.outward(domain), "AAAA"), seen, domain)

    def test_without_a_key(self) -> None:
        """An OCE that does not know its own key sends plain oce, which the other side takes for the sender's."""
        self.assertEqual(Tribes().outward("oce"), "oce")
        self.assertEqual(Tribes("BBBB", {"origin": "AAAA"}).inward("oce", "AAAA"), "origin.oce")
