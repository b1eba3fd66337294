"""Headers, recipients and copies: Tcllib's rules by table, and what no message may do."""

from __future__ import annotations

from email import message_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import AddressError
from mailbridge.message.compose import Composed, ComposeError, Wishes, compose
from mailbridge.message.header import end_of_header, fields

DATE, ID = "Sat, 21 Nov 2026 12:00:00 +0000", "<1@us.example>"
PLAIN = b"Subject: hi\r\n\r\nbody\r\n"


def composed(message: bytes = PLAIN, **wishes: object) -> Composed:
    """The one envelope."""
    (found,) = compose(message, Wishes(DATE, ID, **wishes))  # type: ignore[arg-type]
    return found


def names(content: bytes) -> list[str]:
    """The names of the header fields, in order."""
    return [name.decode() for name, _ in fields(content[:end_of_header(content)])]


class EnvelopeTests(SynchronousTestCase):
    """Who sends, who receives."""

    def test_envelopes(self) -> None:
        """Tcllib's rules, row by row: (headers, originator, recipients) -> (sender, recipients)."""
        to = ("To", "t@x")
        for headers, originator, recipients, wanted in (
            ([("From", "f@x"), to], None, None, ("f@x", "t@x")),
            ([("From", "F <f@x>"), to, ("Cc", "c@x"), ("Dcc", "d@x"), ("Bcc", "b@x")], None, None,
             ("f@x", "t@x c@x d@x b@x")),
            ([("From", "f@x"), to, ("to", "u@x, t@x")], None, None, ("f@x", "t@x u@x")),
            ([("From", "f@x"), to], "o@x", None, ("o@x", "t@x")),
            ([("From", "f@x"), to], "", None, ("", "t@x")),
            ([("From", "f@x"), to], "o@x", "r@x, s@x", ("o@x", "r@x s@x")),
            ([("From", "f@x"), to], None, ["R <r@x>", "s@x"], ("f@x", "r@x s@x")),
            ([("From", "f@x"), ("Resent-From", "rf@x"), ("Resent-To", "rt@x"), to], None, None, ("rf@x", "rt@x")),
            ([("Bcc", "b@x")], "o@x", None, ("o@x", "b@x")),
        ):
            with self.subTest(headers=headers, originator=originator):
                found = composed(headers=tuple(headers), originator=originator, recipients=recipients)
                self.assertEqual((str(found.sender), " ".join(map(str, found.recipients))), wanted)

    def test_from_message(self) -> None:
        """The message's own header is read when that is asked for."""
        message = b"From: f@x\r\nTo: t@x,\r\n u@x\r\nCc: c@x\r\nBcc: b@x\r\nTo: v@x\r\n\r\n"
        found = composed(message, from_message=True)
        self.assertEqual([str(each) for each in found.recipients], ["t@x", "u@x", "v@x", "c@x", "b@x"])
        self.assertEqual(str(found.sender), "f@x")
        self.assertNotIn(b"b@x", found.content)

    def test_errors(self) -> None:
        """No sender, no recipient, two originators, half an address: nothing is made up."""
        for message, wishes in (
            (PLAIN, {"recipients": "r@x"}), (PLAIN, {"originator": "o@x"}), (b"To: t@x\r\n\r\n", {"originator": "o@x"}),
            (PLAIN, {"originator": "o@x, p@x", "recipients": "r@x"}),
            (PLAIN, {"originator": "o@x", "recipients": "a b"}),
            (b"From: f@x, g@x\r\n\r\n", {"recipients": "r@x"}), (PLAIN, {"originator": "o@x", "recipients": []}),
        ):
            with self.subTest(message=message, **wishes):
                self.assertRaises((ComposeError, AddressError), composed, message, **wishes)


class ContentTests(SynchronousTestCase):
    """What is sent."""

    def test_missing_fields(self) -> None:
        """From, Sender, Date and Message-ID are added where they are missing, and only there."""
        for own, originator, added in (
            (b"", "o@x", ["from", "date", "message-id"]),
            (b"From: o@x\r\n", "o@x", ["date", "message-id"]),
            (b"From: Somebody <f@x>\r\nDate: d\r\n", "o@x", ["sender", "message-id"]),
            (b"From: f@x\r\nSender: s@x\r\nDate: d\r\nMessage-ID: m\r\n", "o@x", []),
            (b"From: no address at all\r\nDate: d\r\nMessage-ID: m\r\n", "o@x", ["sender"]),
            (b"", "", ["date", "message-id"]),
        ):
            with self.subTest(own):
                content = composed(own + PLAIN, originator=originator, recipients="r@x").content
                self.assertEqual(names(content), [*added, *names(own + PLAIN)])
                self.assertTrue(content.endswith(own + PLAIN))

    def test_hidden(self) -> None:
        """Bcc and Dcc leave neither from the headers given nor from the message, in any case."""
        headers = (("To", "t@x"), ("BCC", "b@x"), ("dcc", "d@x"), ("Resent-Bcc", "rb@x"), ("Resent-To", "rt@x"))
        content = composed(b"bcc: m@x\r\nDCC: n@x\r\n" + PLAIN, headers=headers, originator="o@x").content
        for hidden in (b"b@x", b"d@x", b"m@x", b"n@x", b"cc:"):
            self.assertNotIn(hidden, content)

    def test_replaced(self) -> None:
        """A header given takes the place of the message's own; a Resent- block comes before older ones."""
        content = composed(headers=(("Subject", "new"),), originator="o@x", recipients="r@x").content
        self.assertEqual(content.count(b"Subject:"), 1)
        old = b"Resent-From: old@x\r\nFrom: f@x\r\nDate: d\r\nMessage-ID: m\r\n"
        content = composed(old + PLAIN, headers=(("Resent-To", "rt@x"),), originator="o@x").content
        self.assertEqual(names(content), [
            "resent-from", "resent-date", "resent-message-id", "resent-to", "resent-from", "from", "date", "message-id",
            "subject",
        ])

    def test_line_ends(self) -> None:
        """Bare CR and LF become CR LF, a last one is supplied; a text without a header is all body."""
        for message, body in ((b"a: b\n\n.\rx\n", b"\r\n.\r\nx\r\n"), (b"just text", b"\r\njust text\r\n"),
                              (b"\n\nx", b"\r\n\r\nx\r\n"), (b"", b"\r\n"), (b"a: b", b"\r\n"),
                              (b"no header\n\na: b\n", b"\r\nno header\r\n\r\na: b\r\n")):
            content = composed(message, originator="o@x", recipients="r@x").content
            self.assertEqual(content[end_of_header(content):], body, message)

    def test_long_values(self) -> None:
        """A list of a thousand recipients is folded: no line is longer than mail allows."""
        value = ", ".join(f"someone{n}@x.example" for n in range(1000))
        content = composed(headers=(("To", value),), originator="o@x").content
        self.assertLess(max(map(len, content.split(b"\r\n"))), 998)
        self.assertEqual(len(message_from_bytes(content).get_all("to")), 1)

    def test_digest(self) -> None:
        """Blind recipients get a message of their own that holds the original."""
        headers = (("To", "t@x"), ("Bcc", "b@x"), ("Subject", "secret plan"))
        first, second = compose(PLAIN, Wishes(DATE, ID, headers, "o@x", bcc="digest"))
        self.assertEqual([[str(each) for each in found.recipients] for found in (first, second)], [["t@x"], ["b@x"]])
        digest = message_from_bytes(second.content)
        self.assertEqual(digest.get_content_type(), "multipart/digest")
        self.assertEqual(digest["subject"], "[Bcc] secret plan")
        self.assertEqual(digest["content-description"], "Blind Carbon Copy")
        (part,) = digest.get_payload()
        self.assertEqual(part.get_content_type(), "message/rfc822")
        self.assertIn(first.content, second.content)
        (only,) = compose(PLAIN, Wishes(DATE, ID, (("Bcc", "b@x"),), "o@x", bcc="digest"))
        self.assertEqual([str(each) for each in only.recipients], ["b@x"])

    def test_injection(self) -> None:
        """No header name or value begins a second header or the body."""
        for name, value in (("X", "a\r\nBcc: b@x"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0b"), ("X: y\r\nZ", "a"),
                            ("", "a"), ("X Y", "a"), ("X:", "a"), ("Ž", "a"), ("X", "\ud800")):
            with self.subTest(name=name, value=value):
                wishes = {"headers": ((name, value),), "originator": "o@x", "recipients": "r@x"}
                self.assertRaises(ComposeError, composed, **wishes)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200), st.lists(
        st.tuples(st.sampled_from(["To", "Subject", "X-A", "Bcc"]), st.text(max_size=30))
    ))
    def test_any(self, message: bytes, headers: list[tuple[str, str]]) -> None:
        """Any message and any headers give content with CR LF line ends and all headers given, or a known error."""
        try:
            found = composed(message, headers=tuple(headers), originator="o@x", recipients="r@x")
        except (ComposeError, AddressError):
            return
        content = found.content
        self.assertEqual(content.count(b"\r"), content.count(b"\r\n"))
        self.assertEqual(content.count(b"\n"), content.count(b"\r\n"))
        self.assertTrue(content.endswith(b"\r\n"))
        self.assertGreaterEqual(end_of_header(content), 0)
        shown = [name.lower() for name, _ in headers if name != "Bcc"]
        self.assertEqual([name for name in names(content) if name in shown][:len(shown)], shown)
