"""Hostile messages: nothing in them adds or changes a key of a control file, and none takes long."""

from __future__ import annotations

import time
from email.header import Header
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.recipe import Recipe
from mailbridge.application.refused import JobRefused
from mailbridge.application.tags import SMS_TAGS
from tests.application.mails import NOW, NUMBER, job, mail, message
from tests.application.readers import strict, windows
from tests.application.test_control import HOSTILE
from tests.application.test_recipe import PAGE_SETTINGS

FAX: dict[str, Any] = {
    "ctl_type": "fax", "use_mail_priority": True, "process_attachments": True, "command_tags": SMS_TAGS,
    "ctl_settings": {**PAGE_SETTINGS, "parsed|id|parse|msg": "(?s)(.*)", "parsed|name|parse|messageFromName": "(.*)"},
    "transform": {"from/username": "<%messageReplyToName%>", "from/email": "<%msg%>"},
}
KEYS = {
    "system": {"type", "subject", "priority", "maxlen", "dr", "no_send_info", "nomodify", "user_app_id"},
    "from": {"name", "username", "email", "gateway", "smtp"},
    "to": {"type", "name", "number", "comp", "dept", "priority"},
    "message": {"text", "subject", "attach1", "attach1_name"},
    "parsed": {"id", "name"},
}


def encoded(text: str) -> str:
    """An encoded word that says `text`, line ends and all."""
    return Header(text.encode("utf-8", "replace").decode(), "utf-8", maxlinelen=10_000_000).encode(maxlinelen=0)


class HostileTests(SynchronousTestCase):
    """Hostile text in every place of a message."""

    def check(self, content: bytes, groups: dict[str, str], **options: Any) -> None:
        """The file has no key but those it may have, number and types are ours, and both readers agree."""
        made = job(content, {"groups": {"number": "123", **groups}}, **{**FAX, **options})
        page = options.get("output_code_page", "cp1250")
        found = strict(made.control.octets, page)
        self.assertEqual(windows(made.control.octets, page), found)
        for section, keys in found.items():
            self.assertLessEqual(set(keys), KEYS[section])
        self.assertEqual((found["to"]["number"], found["to"]["type"], found["system"]["type"]), ("123", "fax", "fax"))
        self.assertEqual(found["message"]["text"], "sms_0000000042.txt")
        self.assertEqual(found["from"]["smtp"], "lamp@plant.example")
        if "attach1" in found["message"]:
            self.assertRegex(found["message"]["attach1"], r"^sms_0000000042_1\.(txt|pdf)$")
        self.assertTrue(all(len(value) <= 255 for keys in found.values() for value in keys.values()))

    def test_everywhere(self) -> None:
        """In the subject, display names, groups of the address, the text, what a setting parses, a file's name."""
        for text in HOSTILE:
            word = encoded(text)
            content = message(
                b"--b\r\n\r\n" + text.encode("utf-8", "replace") + b"\r\n--b\r\nContent-Type: application/pdf; name=\""
                + word.encode() + b"\"\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n",
                f"Subject: ID:1 {word}\nFrom: {word} <a@b>\nReply-To: {word} <c@d>\nTo: {word} <+420603280030@sms>\n"
                "Content-Type: multipart/mixed; boundary=b",
            )
            for groups in ({}, {"name": text, "company": text, "dept": text}):
                for page in ("cp1250", "utf-8", "ascii"):
                    self.check(content, groups, output_code_page=page)

    def test_raw_header(self) -> None:
        """The same with the octets of the header as they are, and as quoted strings."""
        for text in HOSTILE:
            raw = text.replace("\r", "").replace("\n", "\r\n ").encode("utf-8", "replace")
            quoted = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            for octets in (raw, b'"' + quoted + b'"'):
                head = b"Subject: ID:1 %s\r\nFrom: %s <a@b>\r\nTo: %s <+420603280030@sms>\r\n" % ((octets,) * 3)
                self.check(head + b"\r\n" + raw, {})

    @settings(max_examples=80, deadline=None)
    @given(st.text(max_size=120), st.text(max_size=120), st.binary(max_size=200))
    def test_any_text(self, subject: str, name: str, body: bytes) -> None:
        """Whatever subject, name and text there are."""
        content = message(body, f"Subject: {encoded(subject)}\nFrom: {encoded(name)} <a@b>")
        self.check(content, {"name": name, "company": subject})

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=500))
    def test_any_octets(self, octets: bytes) -> None:
        """Octets that are no message become a job or are refused."""
        for name in ("txt", "eml", "mht", "htm"):
            try:
                job(octets, format_preference=[name], process_att_msg=True, process_attachments=True)
            except JobRefused as error:
                self.assertTrue(error.reply.is_permanent)

    def test_patterns_stay_quick(self) -> None:
        """The patterns that stop a backtracking engine, against the text and the subject that they need for it."""
        for pattern, text in ((r"(a+)+$", "a" * 900 + "!"), (r".*.*.*.*.*ID:(\d+)$", "a" * 400)):
            for item in ("subject", "msg"):
                recipe = Recipe.make("sms", ctl_type="sms", ctl_settings={f"a|b|parse|{item}": pattern})
                one = mail(message(text, f"Subject: {text}"))
                start = time.thread_time()
                recipe.job(one, NUMBER, NOW)
                self.assertLess(time.thread_time() - start, 0.1, pattern)
