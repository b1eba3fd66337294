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

    def test_destinations(self) -> None:
        """Each way to write a tribe that the router takes leads there: by name, by key, and our own too."""
        here = Tribes("AAAA", {"friends": "BBBB", "Far": "CCCC"}, "Home")
        for domain, key in (("oce", ""), ("OCE", ""), ("home.oce", ""), ("aaaa.oce", ""), ("friends.oce", "BBBB"),
                            ("bbbb.oce", "BBBB"), ("cccc.OCE", "CCCC"), ("far.oce", "CCCC"), ("x.oce", None),
                            (".oce", None)):
            self.assertEqual(here.dest(domain), key, domain)
        self.assertIsNone(Tribes().dest(".oce"))

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
