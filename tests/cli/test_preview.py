"""`mailbridge route --message`: the files of a job, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.preview import lines, preview, read_message
from mailbridge.config.load import load_text
from mailbridge.errors import StartError

TEXT = r"""
[application.sms]
ctl_type = "sms"
output_folder = "."
addresses = ['(?P<number>\d+)@sms']
[application.pager]
ctl_type = "json"
command = ["cat"]
addresses = ['[^@]+@pager']
[application.fax]
ctl_type = "fax"
output_folder = "."
process_attachments = true
cmd_tags = "sms"
cmd_error = "reject"
"""
PLAIN = b"Subject: hello\r\n\r\nn\xc3\xa1hle\r\n"
BINARY = (
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\ntext\r\n--x\r\nContent-Type: application/pdf\r\n'
    b'Content-Disposition: attachment; filename="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n'
    b"--x--\r\n"
)


class PreviewTests(SynchronousTestCase):
    """Jobs of a configuration."""

    def setUp(self) -> None:
        """A folder."""
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.config = load_text(TEXT, "x.toml", self.base, (), lambda: "host.example")

    def shown(self, target: str, content: bytes = PLAIN) -> tuple[dict[str, Any], list[str]]:
        """The record and the lines for a recipient that goes to `target`."""
        answer = {"targets": [target], "recipient": "123@sms", "sender": "", "groups": {"number": "123"}, "job": 42,
                  "answer": target}
        record = preview(self.config, answer, content)
        return record, list(lines(record))

    def test_files(self) -> None:
        """Each file is named with its size and text, data first; nothing is written."""
        record, told = self.shown("application:sms")
        self.assertEqual([(file["name"], file["octets"]) for file in record["files"]][0], ("sms_0000000042.txt", 5))
        self.assertEqual(told[:3], ["job 42 of sms:", "--- sms_0000000042.txt (5 octets)", "n\u00e1hle"])
        self.assertIn("number=123", told)
        self.assertEqual(list(self.base.iterdir()), [])

    def test_json(self) -> None:
        """A job for a program is shown as the program gets it."""
        record, told = self.shown("application:pager")
        self.assertEqual(json.loads(record["files"][-1]["text"])["text"], "n\u00e1hle")
        self.assertEqual(told[0], "job 42 of pager:")

    def test_attachment(self) -> None:
        """A file that is no text is named only."""
        record, told = self.shown("application:fax", BINARY)
        (attached,) = [file for file in record["files"] if file["name"].endswith(".pdf")]
        self.assertEqual((attached["octets"], attached["text"]), (3, None))
        self.assertIn(f"--- {attached['name']} (3 octets)", told)

    def test_refused(self) -> None:
        """A message that cannot become a job is shown with the reply that its sender gets."""
        record, told = self.shown("application:fax", b"\r\n@maxlen=x\r\n\r\ntext\r\n")
        self.assertTrue(record["refused"].startswith("5"))
        self.assertEqual(told, [f"fax refuses the message: {record['refused']}"])

    def test_elsewhere(self) -> None:
        """A message that goes elsewhere makes no files."""
        self.assertEqual(self.shown("relay:office"), (
            {"application": None, "files": []}, ["no application takes it: nothing is written"]))

    def test_reading(self) -> None:
        """Line ends of any kind become those of mail; a file that is not there is told in one line."""
        path = self.base / "m"
        path.write_bytes(b"a\nb\r\nc\rd")
        self.assertEqual(read_message(path), b"a\r\nb\r\nc\r\nd")
        self.assertIn("cannot be read", str(self.assertRaises(StartError, read_message, self.base / "gone")))
