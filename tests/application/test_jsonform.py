"""Jobs as one JSON object."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.job import Job
from mailbridge.application.tags import SMS_TAGS
from tests.application.mails import job, message, multipart
from tests.application.test_control import HOSTILE
from tests.application.test_recipe import PAGE, PDF, PLAIN, TO_SMITH


def shown(made: Job) -> dict[str, Any]:
    """What a reader finds."""
    return dict(json.loads(made.control.octets))


def read(content: bytes | None = None, mail_options: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What a reader finds in the job of an application with `ctl_type = "json"`."""
    return shown(job(content, mail_options, **{"ctl_type": "json", **options}))


class ObjectTests(SynchronousTestCase):
    """The object, its keys and their order."""

    def test_whole(self) -> None:
        """Everything is in one file, with every letter."""
        made = job(
            message("@dr=1\n\nPřečti 漢\nto", 'To: "Žofie" <+420603280030@sms>\nX-Priority: 1\nSubject: 漢;"x"'),
            ctl_type="json", ctl_settings={"system|maxlen": 1}, command_tags=SMS_TAGS, use_mail_priority=True,
        )
        self.assertEqual((made.control.name, made.files, made.parts), ("sms_0000000042.json", (), 1))
        found = shown(made)
        wanted = {
            "version": 1, "application": "sms", "job": 42, "received": "2026-11-21T12:00:00Z", "type": "json",
            "subject": '漢;"x"', "priority": "high",
            "from": {"name": "Lamp Room", "username": "lamp@plant.example", "email": "lamp@plant.example",
                     "gateway": "s", "smtp": "lamp@plant.example"},
            "to": {"address": "+420603280030@sms", "name": "Žofie", "company": "", "department": "",
                   "number": "+420603280030"},
            "settings": {"system|maxlen": "1", "system|dr": "1"},
            "format": "txt", "text": "Přečti 漢\nto", "content": "", "parts": 1, "attachments": [], "warnings": [],
        }
        self.assertEqual(found, wanted)
        self.assertEqual(json.dumps(found), json.dumps(wanted))
        self.assertTrue(made.control.octets.isascii())
        self.assertEqual(made.control.octets.count(b"\n"), 1)

    def test_attachments(self) -> None:
        """Attachments are inside, with the names that the sender gave them."""
        found = read(multipart(PLAIN, PDF), process_attachments=True)
        self.assertEqual(found["attachments"], [
            {"name": "order.pdf", "type": "application/pdf", "size": 5, "content": "JVBERi0="}])
        self.assertEqual(found["parts"], 2)
        self.assertEqual(found["settings"], {})
        left = read(multipart(PLAIN, PDF))
        self.assertEqual((left["attachments"], len(left["warnings"])), ([], 1))

    def test_formats(self) -> None:
        """What a file of another format would hold is in `content`; `text` is there always."""
        content = multipart(PLAIN, PAGE, kind="alternative")
        page = b"<p>Please <b>find</b> it</p>"
        for name, wanted in (("eml", content), ("mht", content), ("htm", page), ("txt", b"")):
            found = read(content, format_preference=[name])
            self.assertEqual((found["format"], b64decode(found["content"]), found["text"]),
                             (name, wanted, "Please find it"))

    def test_command(self) -> None:
        """What a program is given has the type of the application, and company and department of a fax."""
        found = read(None, TO_SMITH, ctl_type="fax", command=True)
        self.assertEqual((found["type"], found["to"]["company"], found["to"]["department"], found["to"]["number"]),
                         ("fax", "Smith Flowers", "Sales", "5464521"))
        made = job(message("x" * 161), ctl_type="sms", command=True)
        self.assertEqual((made.parts, made.files), (2, ()))

    def test_without_number(self) -> None:
        """A JSON job needs no number: its recipient is the name, or the address."""
        for groups, recipient in (({}, "+420603280030@sms"), ({"name": "team_a"}, "team a")):
            made = job(None, {"groups": groups}, ctl_type="json")
            self.assertEqual((made.recipient, shown(made)["to"]["number"]), (recipient, ""))

    def test_layers_and_suffix(self) -> None:
        """Settings of a field change the field; a suffix of the operator's stays."""
        found = read(ctl_settings={"system|subject": "set", "x|y": "z"}, transform={"from/name": "N", "txt": "T"})
        self.assertEqual((found["subject"], found["settings"], found["from"]["name"], found["text"]),
                         ("set", {"x|y": "z"}, "N", "T"))
        self.assertEqual(job(ctl_type="json", ctl_suffix=".job").control.name, "sms_0000000042.job")

    def test_hostile_values(self) -> None:
        """Whatever the subject, it is one value of one line."""
        keys = list(read())
        for text in HOSTILE:
            found = read(transform={"subject": "<%msg%>", "from/name": "<%msg%>"}, content=message(
                text.encode("utf-8", "replace")))
            self.assertEqual(list(found), keys)
            self.assertNotRegex(found["subject"] + found["from"]["name"], r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=300), st.text(max_size=300))
    def test_any_text(self, subject: str, body: str) -> None:
        """What is written can be read, and the text is the text."""
        found = read(message(body.encode("utf-8", "replace")), transform={"subject": "x"},
                     ctl_settings={"a|b|parse|msg": "(?s)(.*)"})
        self.assertEqual(found["subject"], "x")
        self.assertNotRegex(found["text"], r"[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f]")
