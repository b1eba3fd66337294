"""Parameters of Content-Type and Content-Disposition."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.parameters import parameters
from tests.message.hostile import seconds

PIECES = [";", "a", "=", '"', "\\", "*", "*0", "*1*", "'", "%41", "%", " ", "filename", "utf-8''", "(", "=?utf-8?q?a?="]


class ParameterTests(SynchronousTestCase):
    """Values by name."""

    def test_values(self) -> None:
        """Plain, quoted, continued and encoded values, and those that programs wrote without caring."""
        for text, found in (
            ("", {}), ("; charset=UTF-8", {"charset": "UTF-8"}),
            ('; a="b;c=\\"d\\\\"; E=f', {"a": 'b;c="d\\', "e": "f"}),
            ("; a=1; A=2", {"a": "1"}), (" charset=utf-8", {"charset": "utf-8"}), (";;; a = b ;", {"a": "b"}),
            ("; charset=us-ascii (Plain text)", {"charset": "us-ascii"}), ("; a=", {"a": ""}),
            ("; junk; a=b", {"a": "b"}),
            ("; filename=my file (1).pdf; x=y", {"filename": "my file (1).pdf", "x": "y"}),
            ('; a="not closed; b=c', {"a": "not", "b": "c"}), ('; name="=?utf-8?q?=C5=BE?=.pdf"', {"name": "ž.pdf"}),
            ('; boundary="=?x?q?y?="', {"boundary": "=?x?q?y?="}), ('; name="a\r\n\tb\x00"', {"name": "a b"}),
            # RFC 2231
            ("; a*=utf-8'cs'%C5%BE", {"a": "ž"}), ("; a*=%41", {"a": "A"}), ("; a*0=x; a*1=\"y\"", {"a": "xy"}),
            ("; a*1=y; a*0=x", {"a": "xy"}), ("; a*0=x; a*2=z", {"a": "x"}), ("; a*1=y", {}),
            ("; a*01=y", {"a*01": "y"}),
            ("; a*0*=utf-8''%C5; a*1*=%BE; a*2=\"%41\"", {"a": "ž%41"}), ("; a=old; a*=utf-8''new", {"a": "new"}),
            ("; a*0*=cp1250''%9E; a*1=b; a*2*=%9E", {"a": "žbž"}), ("; a*=nobody''%C5%BE", {"a": "ž"}),
            ("; a*=utf-8''%0D%0Ax", {"a": "x"}), ("; a*=zip''%41", {"a": "A"}), ("; *=x; *0=y", {"*": "x", "*0": "y"}),
        ):
            self.assertEqual(parameters(text), found, text)

    def test_many_pieces(self) -> None:
        """A name in 8,000 pieces is put together at once."""
        text = "".join(f"; filename*{number}*=%C5%BE" for number in reversed(range(8000)))
        took = seconds(lambda: self.assertEqual(parameters(text), {"filename": "ž" * 8000}))
        self.assertLess(took, 1.0)

    def test_hostile(self) -> None:
        """A header full of anything is read in a moment."""
        for piece in (";", "=", "a", '"', ";a=\"", ";a=\"\\\"", " ", "; ", ";a*0*='", "\\", ";a=b c", "%", "a ",
                      ";a*9=x"):
            for start in ("; ", '; a="', "; a*=utf-8''", "; a=b"):
                text = start + piece * (50_000 // len(piece))
                self.assertLess(seconds(lambda: parameters(text)), 0.5, (start, piece))  # noqa: B023

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever stands there, names come out in lower case, and values in one line."""
        for name, value in parameters(text).items():
            self.assertEqual(name, name.lower())
            self.assertFalse(set(value) & set("\r\n\x00\x85\u2028"))
