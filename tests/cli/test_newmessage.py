"""New messages out of texts and files."""

from __future__ import annotations

import email
from email import policy
from email.header import decode_header, make_header

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import OperationError
from mailbridge.cli.newmessage import Attachment, checked_header, encoded_words, field, file_name, new_message
from mailbridge.lines import has_bare_newline
from mailbridge.message.header import end_of_header, fields

OLD = policy.compat32


class HeaderTests(SynchronousTestCase):
    """Header fields."""

    def test_injection(self) -> None:
        """A value with a line end, or a name that is none, is refused."""
        for name, value in (("Subject", "a\r\nBcc: x@y"), ("Subject", "a\nb"), ("Subject", "a\rb"), ("X", "a\0b"),
                            ("X", "\x1b[1m"), ("a b", "c"), ("", "c"), ("X:", "c"), ("X\n", "c"), ("\u00e9", "c"),
                            ("X", "\udc80")):
            self.assertRaises(OperationError, checked_header, name, value)

    def test_other_letters(self) -> None:
        """Letters beyond ASCII are encoded words; in address fields only in the names."""
        name, value = checked_header("Subject", "Gr\u00fc\u00dfe")
        self.assertEqual("Gr\u00fc\u00dfe", str(make_header(decode_header(value))))
        for given_, address, shown in (("Zo\u00eb <z@x.org>", "<z@x.org>", "Zo\u00eb"),
                                       ('"Zo\u00eb, \\"Z\\"" <z@x.org>', "<z@x.org>", 'Zo\u00eb, "Z"'),
                                       ("a@b, Zo\u00eb <z@x.org>", "<z@x.org>", "Zo\u00eb")):
            _, value = checked_header("To", given_)
            self.assertTrue(value.isascii(), value)
            self.assertIn(address, value)
            word = next(word for word in value.split() if word.startswith("=?"))
            self.assertEqual(shown, str(make_header(decode_header(word))))
        self.assertEqual(("To", "z\u00eb@x.org"), checked_header("To", "z\u00eb@x.org"))

    @given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=200))
    def test_encoded_words(self, text: str) -> None:
        """Encoded words are short and say the same."""
        value = encoded_words(text)
        self.assertLessEqual(max(map(len, value.split())), 75)
        self.assertEqual(text, str(make_header(decode_header(value))))

    def test_folding(self) -> None:
        """Long values are folded at spaces, and unfold to the same."""
        value = ", ".join(f"user{number}@example.org" for number in range(100))
        octets = field("To", value)
        lines = octets.decode().split("\r\n")
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertEqual(f"To: {value}", "".join(lines))
        for value in ("", " ", "a", " a  b ", "x" * 200, "x" * 200 + " y"):
            octets = field("X", value)
            self.assertEqual(1, len(list(fields(octets))), octets)
            self.assertFalse(any(not line.strip() for line in octets.split(b"\r\n")[:-1]), octets)

    def test_file_names(self) -> None:
        """A plain name is quoted, any other is in the percent form; no path and no quote gets through."""
        for name, shown in (("a b.txt", 'filename="a b.txt"'), ("/etc/passwd", 'filename="passwd"'),
                            ("", 'filename="file"'), ('x".txt', "filename*=utf-8''x%22.txt"),
                            ("z\u00eb", "filename*=utf-8''z%C3%AB"), ("a\r\nb", "filename*=utf-8''a%0D%0Ab"),
                            ("\\", "filename*=utf-8''%5C")):
            self.assertEqual(shown, file_name(name))


class MessageTests(SynchronousTestCase):
    """Whole messages, read by the standard library."""

    def test_text_alone(self) -> None:
        """Plain ASCII goes as it is, everything else as base64 with the right name of its letters."""
        for text, coding, charset in ((b"hi\n.\nFrom x\n", "7bit", "us-ascii"),
                                      ("gr\u00fc\u00df\n".encode(), "base64", "utf-8"),
                                      (b"\xff\n", "base64", "unknown-8bit"), (b"x" * 2000, "base64", "utf-8"),
                                      (b"", "7bit", "us-ascii")):
            message = email.message_from_bytes(new_message([("Subject", "s")], text, [], "b"), policy=OLD)
            self.assertEqual((coding, charset), (message["Content-Transfer-Encoding"], message.get_content_charset()))
            self.assertEqual(text.replace(b"\n", b"\r\n"), message.get_payload(decode=True))

    @settings(max_examples=100)
    @given(st.binary(max_size=300), st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)),
                                             max_size=3))
    def test_attachments(self, text: bytes, files: list[tuple[str, bytes]]) -> None:
        """Whatever is attached comes out as it was, in as many parts, with CR LF line ends and no header of its own."""
        attachments = [Attachment(name.encode("utf-8", "replace").decode(), octets) for name, octets in files]
        octets = new_message([("Subject", "s")], text, attachments, "=_boundary")
        self.assertFalse(has_bare_newline(octets))
        head = [name for name, _ in fields(octets[:end_of_header(octets)])]
        self.assertEqual([b"subject", b"mime-version", b"content-type"], head[:3])
        message = email.message_from_bytes(octets, policy=OLD)
        if not files:
            return
        first, *parts = message.get_payload()
        self.assertEqual([file.octets for file in attachments], [part.get_payload(decode=True) for part in parts])
        self.assertEqual("text/plain", first.get_content_type())

    def test_kinds(self) -> None:
        """A file's kind is guessed from its name, but never one that may not be base64."""
        unknown = "application/octet-stream"
        for name, kind in (("a.pdf", "application/pdf"), ("a.png", "image/png"), ("a", unknown), ("a.eml", unknown),
                           ("a.tar.gz", unknown)):
            message = email.message_from_bytes(new_message([], b"", [Attachment(name, b"x")], "b"), policy=OLD)
            self.assertEqual((kind, name), (message.get_payload()[1].get_content_type(),
                                            message.get_payload()[1].get_filename()))
