"""Sender and recipient in a control file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, parse_mailbox
from mailbridge.application.parties import Headers, recipient_fields, sender_fields
from mailbridge.message.mime import parse
from tests.application.mails import message


def sender(headers: str, address: str = "lamp@plant.example") -> dict[str, str]:
    """The fields of [from] without their prefix."""
    envelope = parse_mailbox(address.encode()) if address else NULL
    fields = sender_fields(envelope, Headers.of(parse(message(headers=headers))))
    return {name.removeprefix("from_"): value for name, value in fields.items()}


def recipient(address: str, headers: str = "", fax: bool = True, **groups: str) -> tuple[str, ...]:
    """Name, company and department."""
    return tuple(recipient_fields(
        parse_mailbox(address.encode()), groups, parse(message(headers=headers)), fax
    ).values())


class SenderTests(SynchronousTestCase):
    """[from] by default."""

    def test_header_and_envelope(self) -> None:
        """Name and reply address come from the header, user and payer from the envelope."""
        self.assertEqual(sender("From: Lamp Room <room@plant.example>\nReply-To: lamp_room@petrol.org"), {
            "name": "Lamp Room", "username": "lamp@plant.example", "email": "lamp_room@petrol.org", "gateway": "s",
            "smtp": "lamp@plant.example",
        })

    def test_missing(self) -> None:
        """Without a name the local part, without Reply-To the From, without both the envelope."""
        self.assertEqual(sender("From: room@plant.example")["name"], "room")
        self.assertEqual(sender("From: room@plant.example")["email"], "room@plant.example")
        self.assertEqual(sender("From: ")["name"], "lamp")
        self.assertEqual(sender("From: ")["email"], "lamp@plant.example")
        self.assertEqual(sender("From: ", "alice")["name"], "alice")

    def test_nobody(self) -> None:
        """A message without a sender has no payer, whoever its header names."""
        fields = sender("From: room@plant.example", "")
        self.assertEqual((fields["username"], fields["smtp"], fields["name"]), ("", "", "room"))


class RecipientTests(SynchronousTestCase):
    """[to]: names by the envelope, else by To and Cc."""

    def test_envelope_first(self) -> None:
        """What the address says counts, and the header adds nothing to it."""
        to = "To: Carl Orff/Music INC/Composers <1@fax>"
        self.assertEqual(recipient("1@fax", to, name="Brouzda", company="Datasys"), ("Brouzda", "Datasys", ""))
        self.assertEqual(recipient("1@fax", to, company="Datasys", name=""), ("", "Datasys", ""))

    def test_display_name(self) -> None:
        """The page's forms with a display name: name, company and department between slashes."""
        for header, wanted in (
            ("To: Carl Orff/Music INC/Composers <61388454@fax>", ("Carl Orff", "Music INC", "Composers")),
            ('To: "Carl Orff/Music INC/Composers" <61388454@fax>', ("Carl Orff", "Music INC", "Composers")),
            ("To: Carl Orff <61388454@fax>", ("Carl Orff", "", "")),
            ("To: Carl Orff / Music INC <61388454@FAX>", ("Carl Orff", "Music INC", "")),
            ("To: /Datasys <61388454@fax>", ("", "Datasys", "")),
            ("To: a@b, x <1@fax>\nCc: Ann/Shop <61388454@fax>", ("Ann", "Shop", "")),
            ("To: a/b/c/d <61388454@fax>", ("a", "b", "c/d")),
            ("To: <61388454@fax>", ("", "", "")), ("To: Carl <1@fax>", ("", "", "")), ("To: ", ("", "", "")),
            ("To: =?utf-8?q?=C5=BDofie/Firma?= <61388454@fax>", ("Žofie", "Firma", "")),
        ):
            self.assertEqual(recipient("61388454@fax", header), wanted, header)
        self.assertEqual(recipient("61388454@fax.fax", "To: /Datasys <61388454@fax.fax>"), ("", "Datasys", ""))

    def test_short_messages(self) -> None:
        """For SMS the display name is the name, and an underscore in the address is a blank."""
        self.assertEqual(recipient("102@sms", 'To: "user name" <102@sms>', fax=False), ("user name", "", ""))
        self.assertEqual(recipient("102@sms", 'To: "a/b" <102@sms>', fax=False)[0], "a/b")
        self.assertEqual(recipient("user_name@202.sms", fax=False, name="user_name")[0], "user name")
        self.assertEqual(recipient("user_name@202.fax", name="user_name")[0], "user_name")
