"""The header section of a message, on octets."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.header import begins_as_header, complete, count_fields, count_hops, end_of_header, fields

PIECES = [b"From", b"Date:", b"received:", b"Message-ID", b" ", b"\t", b":", b"\r\n", b"\r", b"\n", b"x", b"\xff",
          b"\0"]
OCTETS = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join))
WHOLE = OCTETS.map(lambda octets: re.sub(rb"(\r\n)+", b"\r\n", octets))


def completed(header: bytes, sender: str = "bonnie@example.org", rewrite: bool = False) -> bytes:
    """`header` as a device's message gets it."""
    return complete(header, date="DATE", message_id="<ID>", sender=sender, rewrite=rewrite)


class TableTests(SynchronousTestCase):
    """What counts as what."""

    def test_end(self) -> None:
        """The header ends before the first empty line, at once when the text begins with one."""
        for octets, end in [(b"", -1), (b"a: b\r\n", -1), (b"a: b\r\n\r\n", 6), (b"\r\nbody", 0), (b"\r\n\r\n", 0),
                            (b"a: b\r\n\r\nc\r\n\r\n", 6), (b"a\r\n \r\n", -1), (b"\r", -1)]:
            self.assertEqual(end_of_header(octets), end, octets)

    def test_fields(self) -> None:
        """Fields with their folded lines, in order; names in lower case; what is no field has no name."""
        header = b"To: a,\r\n b\r\nX-Odd : c\r\nno field\r\nTO:\r\n\t\r\n: d\r\nFrom bonnie\r\nBad Name: e\r\nlast: f"
        self.assertEqual(list(fields(header)), [
            (b"to", b"To: a,\r\n b\r\n"), (b"x-odd", b"X-Odd : c\r\n"), (b"", b"no field\r\n"),
            (b"to", b"TO:\r\n\t\r\n"), (b"", b": d\r\n"), (b"", b"From bonnie\r\n"), (b"", b"Bad Name: e\r\n"),
            (b"last", b"last: f"),
        ])
        self.assertEqual(list(fields(b"")), [])

    def test_begins(self) -> None:
        """Bare text, a folded line and an empty line begin no header; a mailbox file's first line does."""
        for text, answer in [(b"To: a\r\n", True), (b"X-Odd :", True), (b"From a@b Mon\r\nTo: c", True),
                             (b">From a", True), (b"hello world\r\n", False), (b" To: a", False), (b"\tx", False),
                             (b"", False), (b"hello, you: x", False), (b"\r\n", False)]:
            self.assertEqual(begins_as_header(text), answer, text)

    def test_counts(self) -> None:
        """Folded lines are no fields; Received fields count in any case, folded text does not."""
        header = b"Received: a\r\n received: b\r\nRECEIVED: c\r\nX: received: d\r\n"
        self.assertEqual((count_fields(header), count_hops(header)), (3, 2))
        blanks = b"Received : a\r\nReceived \t : b\r\nReceived-SPF: c\r\nReceived x: d\r\nX-Received: e\r\n"
        self.assertEqual(count_hops(blanks), 2)
        self.assertEqual((count_fields(b""), count_hops(b"")), (0, 0))

    def test_nothing_missing(self) -> None:
        """A header that has all it needs stays as it is, in whatever letters it is written."""
        header = b"DATE: x\r\nmessage-id:\r\n <y>\r\nFrom : z\r\n"
        self.assertEqual(completed(header), header)

    def test_missing(self) -> None:
        """Date, Message-ID and From are added on top where they are missing; the rest stays as it is."""
        self.assertEqual(completed(b""), b"Date: DATE\r\nMessage-ID: <ID>\r\nFrom: <bonnie@example.org>\r\n")
        self.assertEqual(completed(b"Date: x\r\nTo: y\r\n"),
                         b"Message-ID: <ID>\r\nFrom: <bonnie@example.org>\r\nDate: x\r\nTo: y\r\n")

    def test_folded_look_alikes(self) -> None:
        """A folded line or a Resent field that looks like a field is none."""
        header = b"X: y\r\n Date: no\r\n\tFrom: no\r\nResent-Date: no\r\nX-From: no\r\n"
        self.assertEqual(completed(header)[:-len(header)].count(b"\r\n"), 3)

    def test_duplicates(self) -> None:
        """Two of a kind stay two: nothing is repaired."""
        header = b"From: a\r\nFrom: b\r\nDate: c\r\nDate: d\r\nMessage-ID: e\r\n"
        self.assertEqual(completed(header), header)

    def test_rewrite(self) -> None:
        """The From that was there is kept under another name, folded as it was; every one of them."""
        header = b"Subject: x\r\nfrom: a,\r\n b\r\nFrom : c\r\nDate: d\r\nMessage-ID: e\r\n"
        self.assertEqual(
            completed(header, rewrite=True),
            b"From: <bonnie@example.org>\r\nSubject: x\r\nX-Original-From: a,\r\n b\r\nX-Original-From: c\r\n"
            b"Date: d\r\nMessage-ID: e\r\n")
        self.assertEqual(completed(b"Date: d\r\nMessage-ID: e\r\n", rewrite=True),
                         b"From: <bonnie@example.org>\r\nDate: d\r\nMessage-ID: e\r\n")

    def test_utf8_sender(self) -> None:
        """A sender with other letters stands in UTF-8 (RFC 6532)."""
        self.assertIn("From: <jürgen@example.org>\r\n".encode(), completed(b"", "jürgen@example.org"))


class PropertyTests(SynchronousTestCase):
    """For all octets."""

    @settings(max_examples=300, deadline=None)
    @given(OCTETS)
    def test_nothing_lost(self, header: bytes) -> None:
        """The fields, one after another, are the header again; counting never fails and agrees."""
        found = list(fields(header))
        self.assertEqual(b"".join(field for _, field in found), header)
        self.assertLessEqual(count_hops(header), len(found))
        self.assertGreaterEqual(len(found), count_fields(header))

    @settings(max_examples=300, deadline=None)
    @given(WHOLE, st.booleans())
    def test_completed(self, header: bytes, rewrite: bool) -> None:
        """A completed header has all three, ends in the one it was made of, and is complete for good."""
        header = header.strip(b" \t\r\n") + b"\r\n"
        once = completed(header, rewrite=rewrite)
        self.assertLessEqual({b"date", b"message-id", b"from"}, {name for name, _ in fields(once)})
        self.assertEqual(completed(once), once)
        if not rewrite:
            self.assertTrue(once.endswith(header))

    @settings(max_examples=300, deadline=None)
    @given(OCTETS, st.integers(0, 60))
    def test_end_in_pieces(self, octets: bytes, cut: int) -> None:
        """Looking again only behind what was searched finds the same end."""
        if end_of_header(octets[:cut]) < 0:
            self.assertEqual(end_of_header(octets, len(octets[:cut])), end_of_header(octets))
