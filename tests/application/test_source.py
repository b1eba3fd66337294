"""Which message a job is made of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.refused import JobRefused
from mailbridge.application.source import Source

INNER = "Subject: inner\r\n\r\ninner text"
OUTER = "Subject: outer\r\nTo: a@b\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\ntext\r\n--B\r\n"


class SourceTests(SynchronousTestCase):
    """The message itself, or the one in it."""

    def test_attached(self) -> None:
        """The first attached message counts where the operator says so, also one with UTF-8 in its header."""
        for kind in ("message/rfc822", "message/global"):
            content = f"{OUTER}Content-Type: {kind}\r\n\r\n{INNER}\r\n--B--\r\n".encode()
            source = Source.of(content, True)
            self.assertEqual((source.message.value(b"subject"), source.octets), ("inner", INNER.encode()))
            self.assertEqual(source.envelope.value(b"to"), "a@b")
            source = Source.of(content, False)
            self.assertEqual((source.message.value(b"subject"), source.octets), ("outer", content))

    def test_none_attached(self) -> None:
        """A message without another one in it counts itself."""
        source = Source.of(INNER.encode(), True)
        self.assertEqual((source.message.value(b"subject"), source.octets), ("inner", INNER.encode()))

    def test_too_intricate(self) -> None:
        """What cannot be read within bounds is refused for good, in words for the sender."""
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
        error = self.assertRaises(JobRefused, Source.of, nested, False)
        self.assertTrue(error.reply.is_permanent)
