"""Attachments as files of a job."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.attached import TYPES, AttachmentRules
from mailbridge.message.mime import parse
from tests.application.mails import multipart

RULES = AttachmentRules(frozenset(TYPES))


def part(filename: str | None, body: str = "x", content_type: str = "application/octet-stream") -> str:
    """A part with that name."""
    name = "" if filename is None else '; filename="' + filename.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"Content-Type: {content_type}\nContent-Disposition: attachment{name}\n\n{body}"


def take(*parts: str, rules: AttachmentRules = RULES) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    """(name, title, octets) of what is taken, and the warnings."""
    taken, left = rules.take(parse(multipart(*parts)).parts, "fax_0000000042")
    return [(one.name, one.title, one.octets) for one in taken], left


class AttachmentTests(SynchronousTestCase):
    """What is taken and what it is called."""

    def test_names_are_ours(self) -> None:
        """The file's name is ours with its extension; what the sender called it is kept beside, made harmless."""
        for filename, name, title in (
            ("order.pdf", "1.pdf", "order.pdf"), ("Order.PDF", "1.pdf", "Order.PDF"),
            ("../../etc/x.txt", "1.txt", "x.txt"), ("C:\\temp\\x.doc", "1.doc", "x.doc"), ("/x.pdf", "1.pdf", "x.pdf"),
            ("a;b=[c]|d:\"e\"?*<f>.png", "1.png", "a_b__c__d__e____f_.png"),
            ("a  \t b.pdf", "1.pdf", "a b.pdf"), ("x" * 300 + ".pdf", "1.pdf", "x" * 96 + ".pdf"),
            ("a.exe.pdf", "1.pdf", "a.exe.pdf"),
        ):
            self.assertEqual(take(part(filename)), ([(f"fax_0000000042_{name}", title, b"x")], []), filename)

    def test_numbered(self) -> None:
        """Attachments are numbered as they are taken."""
        taken, left = take(part("a.pdf"), part("b.exe"), part("c.tif"))
        self.assertEqual([name for name, _, _ in taken], ["fax_0000000042_1.pdf", "fax_0000000042_2.tif"])
        self.assertEqual(left, ['attachment 2 (b.exe) was left out: "exe" is not among attachment_types'])

    def test_types(self) -> None:
        """Only extensions of the list are taken, others are said; without one the content type tells it."""
        for filename, content_type, name in (
            (None, "application/pdf", "1.pdf"), ("order", "image/tiff", "1.tif"), ("mail", "message/rfc822", "1.eml"),
            (None, "application/octet-stream", None), ("winmail.dat", "application/ms-tnef", None),
            ("x.exe", "application/pdf", None), ("x.p_f", "application/x", None), ("x.pdf ", "application/x", "1.pdf"),
        ):
            taken, left = take(part(filename, "Subject: x\n\nx", content_type))
            self.assertEqual([n.removeprefix("fax_0000000042_") for n, _, _ in taken], [name] if name else [], filename)
            self.assertEqual(len(left), 0 if name else 1)
        only = AttachmentRules(frozenset({"exe"}))
        self.assertEqual(len(take(part("x.exe"), part("x.pdf"), rules=only)[0]), 1)

    def test_limits(self) -> None:
        """How many, how large each and all together: what is beyond is left out and said."""
        parts = [part("a.pdf", "x" * 10), part("b.pdf", "x" * 20), part("c.pdf", "x" * 10)]
        for rules, names in (
            (AttachmentRules(frozenset(TYPES), count=2), ["a.pdf", "b.pdf"]),
            (AttachmentRules(frozenset(TYPES), size=15), ["a.pdf", "c.pdf"]),
            (AttachmentRules(frozenset(TYPES), total=25), ["a.pdf", "c.pdf"]),
            (AttachmentRules(frozenset(TYPES), total=30), ["a.pdf", "b.pdf"]),
            (AttachmentRules(frozenset(TYPES), size=20, total=40), ["a.pdf", "b.pdf", "c.pdf"]),
        ):
            taken, left = take(*parts, rules=rules)
            self.assertEqual([title for _, title, _ in taken], names)
            self.assertEqual(len(left), 3 - len(names))

    def test_decoded(self) -> None:
        """The octets are those of the document."""
        encoded = ("Content-Type: application/pdf; name=\"=?utf-8?q?=C5=BD=2Epdf?=\"\n"
                   "Content-Transfer-Encoding: base64\nContent-Disposition: attachment\n\nJVBERi0=")
        self.assertEqual(take(encoded)[0], [("fax_0000000042_1.pdf", "Ž.pdf", b"%PDF-")])
