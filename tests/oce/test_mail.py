"""Mail to USDS and back: what travels, what is bounded, and that nothing can be smuggled."""

from __future__ import annotations

import json

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message import writing
from mailbridge.message.mime import Entity, parse
from mailbridge.message.text import attachments, body_html, body_text
from mailbridge.oce import headers, mail, strictjson, usds
from mailbridge.oce.mail import Arrival, CannotConvert, file_name, load, sender_of, to_mail, to_usds
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import DETAIL, SUMMARY, USDS, Adjunct, Dest, Object, Source

KEY = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
HERE = Tribes("AAAA", {"friends": "BBBB"})
THERE = Tribes("BBBB", {"origin": "AAAA"})
BONNIE = Source("bonnie", "1", "SMTP:mailbridge", "hush")
ARRIVAL = Arrival("harold@oce", "Sat, 21 Nov 2026 10:00:00 +0000")
LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\xa0\xad")
PHRASE = st.text(LETTERS, min_size=1, max_size=30).map(lambda text: " ".join(text.split())).filter(
    lambda text: text and "=?" not in text)
BODY = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"),
               min_size=1, max_size=200).filter(str.strip)
SIMPLE = (b"From: Bonnie <bonnie@oce>\r\nTo: harold@oce, \"X, Y\" <edgar@friends.oce>\r\nCc: a@example.org\r\n"
          b"Bcc: secret@example.org\r\nSubject: Picture from Sunday\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
          b"Message-ID: <a1@example.org>\r\nIn-Reply-To: <a0@example.org>\r\n"
          b"References: <z@example.org>\r\n <a0@example.org>\r\n\r\nHello Harold,\r\nhere is the picture.\r\n")


def over(content: bytes, dest: Dest = Dest(member="harold"), there: Tribes = HERE) -> tuple[USDS, Entity]:  # noqa: B008
    """A mail as USDS, through JSON, and as the mail that comes out."""
    message = to_usds(load(content), BONNIE, dest, KEY, HERE)
    arrived = usds.read(strictjson.read(strictjson.write(usds.write(message))))
    arrived = evolve(arrived, source=Source("bonnie", oce="AAAA" if dest.oce else "", app_id="SMTP:mailbridge"))
    return arrived, parse(to_mail(arrived, ARRIVAL, there))


def named(part: Entity) -> tuple[str, bytes]:
    """What is compared of an attachment."""
    return part.filename or "", part.octets()


class ThereTests(SynchronousTestCase):
    """`load` and `to_usds`."""

    def test_fields(self) -> None:
        """Subject, text and the fields to answer by are where the reference puts them; Bcc is nowhere (6.3, H7)."""
        message, _ = over(SIMPLE)
        self.assertEqual((message.summary, message.detail, message.msg_key),
                         ("Picture from Sunday", "Hello Harold,\nhere is the picture.\n", KEY))
        assert message.adjunct is not None
        self.assertEqual(json.loads(message.adjunct.data), {
            "From": "Bonnie <bonnie@oce>", "To": 'harold@oce, "X, Y" <edgar@friends.oce>', "Cc": "a@example.org",
            "Message-ID": "<a1@example.org>", "In-Reply-To": "<a0@example.org>",
            "References": "<z@example.org> <a0@example.org>", "Date": "Sat, 21 Nov 2026 10:00:00 +0000",
        })
        self.assertNotIn(b"secret", strictjson.write(usds.write(message)))

    def test_long_subject(self) -> None:
        """A subject over the limit is cut in the Summary and whole in the Adjunct, and whole again at the other end."""
        subject = "word " * 60 + "end"
        message, back = over(writing.message([("Subject", subject)], writing.text_part("x")))
        self.assertEqual((len(message.summary), back.value("Subject")), (SUMMARY, subject))

    def test_long_body(self) -> None:
        """A text over the limit is cut in the Detail and goes whole as an Object; the mail has it whole again."""
        text = "\u2603 snow " * 100_000
        message, back = over(writing.message([], writing.text_part(text)))
        self.assertLessEqual(len(message.detail.encode()), DETAIL)
        self.assertEqual((message.objects[0].title, body_text(back).rstrip("\n"), attachments(back)),
                         ("body.txt", text, []))

    def test_too_large(self) -> None:
        """An attachment over the limit is refused in words; one at the limit goes."""
        for size, fits in ((mail._MOST_BASE64, True), (mail._MOST_BASE64 + 1, False)):
            content = writing.message([], writing.multipart("mixed", [
                writing.text_part("x"), writing.attachment(b"x" * size, "image/png", "x.png")]))
            if fits:
                usds.read(usds.write(to_usds(load(content), BONNIE, Dest(member="harold"), KEY, HERE)))
            else:
                reply = self.assertRaises(CannotConvert, load, content).reply
                self.assertEqual((reply.code, reply.enhanced), (552, "5.3.4"))

    def test_too_intricate(self) -> None:
        """A mail with too many parts is refused, not half converted."""
        content = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 2000
        self.assertEqual(self.assertRaises(CannotConvert, load, content).reply.enhanced, "5.6.0")

    def test_long_member(self) -> None:
        """A name that is too long for a member is refused."""
        with self.assertRaises(CannotConvert) as caught:
            to_usds(load(SIMPLE), BONNIE, Dest(member="x" * 129), KEY, HERE)
        self.assertEqual(caught.exception.reply.enhanced, "5.1.3")

    def test_file_names(self) -> None:
        """Names of files lose folders and controls, and keep their extension when they are cut."""
        for name, expected in (("../../etc/passwd", "passwd"), ("C:\\temp\\a.txt", "a.txt"), ("..", ""),
                               ("a\r\nb.txt", "a b.txt"), ("x" * 200 + ".jpeg", "x" * 91 + ".jpeg"),
                               ("x" * 200, "x" * 96)):
            self.assertEqual(file_name(name), expected)


class BackTests(SynchronousTestCase):
    """`to_mail`."""

    def test_answer_to_all(self) -> None:
        """In the other tribe the addresses are those of that tribe, so an answer to all finds everybody."""
        _, back = over(SIMPLE, Dest(oce="BBBB", member="edgar"), THERE)
        self.assertEqual(back.mailboxes("From"), [("Bonnie", "bonnie@origin.oce")])
        self.assertEqual(back.mailboxes("To"), [("", "harold@origin.oce"), ("X, Y", "edgar@oce")])
        self.assertEqual(back.mailboxes("Cc"), [("", "a@example.org")])

    def test_sender_is_vouched_for(self) -> None:
        """A From in the Adjunct that is not the source's is not shown."""
        for claimed in ("Boss <boss@example.org>", "bonnie@oce <boss@example.org>", "boss@example.org, bonnie@oce"):
            data = json.dumps({"From": claimed})
            message = USDS(source=Source("bonnie"), adjunct=Adjunct(data, "mail/rfc5322-headers"), detail="x")
            self.assertEqual([address for _, address in parse(to_mail(message, ARRIVAL, HERE)).mailboxes("From")],
                             ["bonnie@oce"])

    def test_senders(self) -> None:
        """A member is an address in his tribe; one with an address of his own is shown by that; junk is nobody."""
        for source, text in (
            (Source("edgar", oce="BBBB"), "edgar@friends.oce"), (Source("edgar"), "edgar@oce"),
            (Source("someone@example.org"), "someone@example.org"), (Source("a b"), '"a b"@oce'),
            (Source(""), "unknown@oce"), (Source("x@y\r\nBcc: z@w"), "unknown@oce"),
            (Source("edgar", oce="DDDD"), "edgar@DDDD.oce"),
        ):
            self.assertEqual(sender_of(USDS(source=source), HERE).text, text)

    def test_our_own_domain(self) -> None:
        """Another tribe has no say in our mail domains; an application of our own has."""
        here = evolve(HERE, local=frozenset({"example.org"}))
        for source, text in (
            (Source("harold@example.org", oce="BBBB"), "harold@friends.oce"),
            (Source("harold@EXAMPLE.org", oce="DDDD"), "harold@DDDD.oce"),
            (Source("harold@example.org", oce="aaaa"), "harold@example.org"),
            (Source("harold@example.org"), "harold@example.org"),
            (Source("edgar@example.com", oce="BBBB"), "edgar@example.com"),
        ):
            self.assertEqual(sender_of(USDS(source=source), here).text, text)

    def test_nothing_is_smuggled(self) -> None:
        """No field of a message can become a header of its own."""
        evil = "x\r\nBcc: a@b\r\n\r\nbody\n\u2028\x85\0"
        said = json.dumps(dict.fromkeys(("From", "To", "Cc", "Date", "Message-ID", "Subject", "X-Evil"), evil))
        message = USDS(
            source=Source(evil, app_id=evil), summary=evil[:SUMMARY], detail="x", msg_key=evil,
            objects=(Object(evil, b"x", evil, evil, {"ContentId": evil}),),
            adjunct=Adjunct(said, "mail/rfc5322-headers"),
        )
        content = to_mail(message, evolve(ARRIVAL, recipient=evil), HERE)
        whole = parse(content)
        for entity in whole.walk():
            self.assertFalse({b"bcc", b"x-evil"} & {name for name, _ in entity.header}, entity.header)
        self.assertEqual([part.type for part in whole.walk()],
                         ["multipart/mixed", "text/plain", "application/octet-stream"])

    def test_defaults(self) -> None:
        """A message of another application has a date, an id and a recipient all the same; its Adjunct is attached."""
        message = USDS(source=Source("edgar", oce="BBBB"), summary="Hi", detail="Text", msg_key=KEY,
                       adjunct=Adjunct("free data"), objects=(Object("png", b"x"),))
        back = parse(to_mail(message, ARRIVAL, HERE))
        self.assertEqual((back.value("To"), back.value("Delivered-To"), back.value("Date"), back.value("Message-ID")),
                         ("harold@oce", "harold@oce", ARRIVAL.date, f"<{KEY}@oce>"))
        self.assertEqual([(each.type, *named(each)) for each in attachments(back)],
                         [("image/png", "attachment-1.png", b"x"), ("text/plain", "adjunct.txt", b"free data")])


def tree(text: str, html: str | None, files: list[tuple[str, str, bytes]], nested: bytes | None) -> writing.Part:
    """A mail's content in the forms that programs write."""
    body = writing.text_part(text)
    if html is not None:
        body = writing.multipart("alternative", [body, writing.text_part(html, "html")])
    parts = [writing.attachment(octets, content_type, name) for content_type, name, octets in files]
    if nested is not None:
        parts.append(writing.attachment(nested, "message/rfc822"))
    return writing.multipart("mixed", [body, *parts]) if parts else body


FILES = st.lists(st.tuples(st.sampled_from(("image/png", "application/pdf", "text/csv", "audio/x-a.b")), PHRASE.filter(
    lambda name: name == file_name(name) and name), st.binary(max_size=80)), max_size=3)


class RoundTripTests(SynchronousTestCase):
    """Mail to USDS to mail."""

    @settings(max_examples=150, deadline=None)
    @given(PHRASE, BODY, st.none() | BODY, FILES, st.booleans(), PHRASE)
    def test_round_trip(self, subject: str, text: str, html: str | None, files: list[tuple[str, str, bytes]],
                        nested: bool, display: str) -> None:
        """Subject, text, HTML, attachments, date, ids and threading come out as they went in."""
        fields = [("From", headers.shown([(display, "bonnie@oce")])), ("To", "harold@oce"), ("Subject", subject),
                  ("Date", ARRIVAL.date), ("Message-ID", "<m@x>"), ("References", "<a@x> <b@x>")]
        before = parse(writing.message(fields, tree(text, html, files, SIMPLE if nested else None)))
        _, after = over(writing.message(fields, tree(text, html, files, SIMPLE if nested else None)))
        for name in ("From", "To", "Subject", "Date", "Message-ID", "References"):
            self.assertEqual(after.value(name), before.value(name))
        self.assertEqual(body_text(after).rstrip("\n"), body_text(before).rstrip("\n"))
        self.assertEqual((body_html(after) or "").rstrip("\n"), (body_html(before) or "").rstrip("\n"))
        self.assertEqual([(each.type, *named(each)) for each in attachments(after) if each.type != "message/rfc822"],
                         [(each.type, *named(each)) for each in attachments(before) if each.type != "message/rfc822"])
        self.assertEqual([each.octets() for each in attachments(after) if each.type == "message/rfc822"],
                         [SIMPLE] if nested else [])
