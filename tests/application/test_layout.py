"""Layouts of control files."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.keys import Key, RecipeFaults
from mailbridge.application.layout import FIELDS, LAYOUTS, Layout


class LayoutTests(SynchronousTestCase):
    """Where values stand, by default and as a site says."""

    def test_defaults(self) -> None:
        """The keys of FaxChange and MobilChange as far as they are public."""
        fax, sms = Layout.make("fax", {}), Layout.make("sms", {})
        self.assertEqual({name: str(key) for name, key in fax.keys.items()}, {
            "type": "system|type", "subject": "system|subject", "priority": "system|priority", "from_name": "from|name",
            "from_username": "from|username", "from_email": "from|email", "from_gateway": "from|gateway",
            "from_smtp": "from|smtp", "to_type": "to|type", "to_name": "to|name", "to_number": "to|number",
            "text": "message|text", "to_company": "to|comp", "to_dept": "to|dept", "to_priority": "to|priority",
            "message_subject": "message|subject",
        })
        self.assertEqual(set(fax.keys) - set(sms.keys), {"to_company", "to_dept", "to_priority", "message_subject"})
        self.assertEqual(str(fax.numbered(fax.attachment, 3)), "message|attach3")
        self.assertEqual(str(fax.numbered(fax.attachment_name, 12)), "message|attach12_name")

    def test_changed(self) -> None:
        """A site's own keys take the place of the default ones, and a field may be left out."""
        layout = Layout.make("sms", {"to_number": "recipient|phone", "to_type": "", "attachment": "files|f#"})
        self.assertEqual(layout.keys["to_number"], Key("recipient", "phone"))
        self.assertNotIn("to_type", layout.keys)
        self.assertEqual(layout.numbered(layout.attachment, 2), Key("files", "f2"))
        self.assertEqual(Layout.make("sms", {"to_company": "to|firm"}).keys["to_company"], Key("to", "firm"))

    def test_faults(self) -> None:
        """Unknown fields, bad keys, one key for two values and what is needed are refused together."""
        bad = {"number": "to|number", "subject": "subject", "text": "", "to_number": "", "from_smtp": "",
               "attachment": "message|attach", "attachment_name": "mess#age|attach", "priority": "system|a\r\nb",
               "to_name": "FROM|Email"}
        error = self.assertRaises(RecipeFaults, Layout.make, "fax", bad)
        self.assertEqual({fault.place for fault in error.faults}, {f"ctl_layout.{name}" for name in bad})
        self.assertIn("there are type, subject", str(error))
        self.assertIn("already", str(error))

    def test_fields(self) -> None:
        """Every layout has fields that there are."""
        for layout in LAYOUTS.values():
            self.assertEqual(set(layout) - set(FIELDS), set())

    def test_ours(self) -> None:
        """The keys that only the bridge writes are known whatever their case, those of all attachments too."""
        layout = Layout.make("fax", {})
        for section, key, owner in (
            ("system", "type", "type"), ("TO", "Number", "to_number"), ("message", "text", "text"),
            ("to", "type", "to_type"),
            ("message", "attach1", "attachment"), ("Message", "Attach99_Name", "attachment"),
            ("message", "attach", ""), ("message", "attachx", ""), ("system", "subject", ""), ("x", "attach1", ""),
        ):
            self.assertEqual(layout.belongs_to(Key(section, key)), owner, key)
        self.assertEqual(Layout.make("sms", {"attachment": "Files|F#"}).belongs_to(Key("files", "f7")), "attachment")
        self.assertTrue(layout.pays(Key("From", "SMTP")))
        self.assertFalse(layout.pays(Key("from", "name")))
