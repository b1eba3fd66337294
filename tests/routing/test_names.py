"""When two names are the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.routing.names import fold_domain, fold_name


class NamesTests(SynchronousTestCase):
    """Local names and domains."""

    def test_same_names(self) -> None:
        """Case and composition do not count."""
        for one, other in [("Bonnie", "bonnie"), ("JÜRGEN", "jürgen"), ("ju\u0308rgen", "jürgen"), ("ΣΑΣ", "σας")]:
            self.assertEqual(fold_name(one), fold_name(other), one)

    def test_different_names(self) -> None:
        """Compatibility forms, accents and neighbours stay different."""
        for one, other in [("jurgen", "jürgen"), ("a＠b", "a@b"), ("bonnie", "bonnie "), ("ﬁx", "fix2"), ("１", "1")]:
            self.assertNotEqual(fold_name(one), fold_name(other), one)

    def test_domains(self) -> None:
        """A domain is the same in UTF-8 and as xn--, in any case."""
        for one, other in [
            ("Example.ORG", "example.org"), ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "XN--BCHER-KVA.example"), ("bu\u0308cher.example", "bücher.example"),
        ]:
            self.assertEqual(fold_domain(one), fold_domain(other), one)
        self.assertNotEqual(fold_domain("straße.example"), fold_domain("strasse.example"))

    @given(st.text(alphabet="xn-abcßü.0123", max_size=30) | st.text(max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text folds, and folding again changes nothing."""
        self.assertEqual(fold_name(fold_name(text)), fold_name(text))
        fold_domain("xn--" + text)
        self.assertEqual(fold_domain(fold_domain(text)), fold_domain(text))
