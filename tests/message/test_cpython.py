"""The messages with which CPython tests its own email package: every one is read."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.message.mime import parse
from mailbridge.message.text import attachments, body_html, body_text, priority
from tests.message.hostile import seconds

SUGGESTION = (
    "CPython's own email test messages (test/test_email/data) were not found. Python from python.org and pyenv brings"
    f" them; on Debian and Ubuntu: apt install libpython3.{sys.version_info.minor}-testsuite. Else name"
    " Lib/test/test_email/data of CPython's source in MAILBRIDGE_EMAIL_DATA."
)


def places() -> Iterator[Path]:
    """Where the messages may be: named by the operator, of the running Python, of any other one on this machine."""
    if named := os.environ.get("MAILBRIDGE_EMAIL_DATA"):
        yield Path(named)
    libraries = [Path(sysconfig.get_path("stdlib"))]
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", "/Library/Frameworks/Python.framework/Versions"):
        libraries += [*Path(folder).glob("python3*"), *Path(folder).glob("*/lib/python3*")]
    for library in libraries:
        yield library / "test" / "test_email" / "data"


def messages() -> list[Path]:
    """Every file of the first place that has any."""
    for place in places():
        found = sorted(path for path in place.glob("*") if path.is_file())
        if found:
            return found
    return []


class CPythonTests(SynchronousTestCase):
    """Messages of others, many of them broken on purpose."""

    def test_every_message(self) -> None:
        """Each is read whole, without an exception and in less than a second."""
        found = messages()
        self.assertTrue(found, SUGGESTION)
        self.assertGreater(len([path for path in found if path.name.startswith("msg_")]), 40, SUGGESTION)
        for path in found:
            octets = path.read_bytes()
            self.assertLess(seconds(lambda: self._read(octets)), 1.0, path)  # noqa: B023
            self.assertLess(seconds(lambda: self._read(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))),  # noqa: B023
                            1.0, path)

    def _read(self, octets: bytes) -> None:
        message = parse(octets)
        body_text(message).encode()
        (body_html(message) or "").encode()
        priority(message)
        for entity in attachments(message):
            entity.octets()
        for entity in message.walk():
            entity.text().encode()
            for name, _ in entity.header:
                entity.value(name).encode()
                entity.mailbox(name)

    def test_known_content(self) -> None:
        """Some of them by what they say."""
        known = {path.name: path.read_bytes() for path in messages()}
        self.assertIn("msg_01.txt", known, SUGGESTION)
        first = parse(known["msg_01.txt"])
        self.assertEqual(first.mailbox("from"), ("John X. Doe", "bbb@ddd.com"))
        self.assertIn("Do you like this message?", body_text(first))
        fish = parse(known["msg_07.txt"])
        self.assertEqual([found.filename for found in attachments(fish)], ["dingusfish.gif"])
        self.assertTrue(attachments(fish)[0].octets().startswith(b"GIF87a"))
        report = parse(known["msg_16.txt"])
        self.assertEqual([found.type for found in attachments(report)], ["message/delivery-status", "message/rfc822"])
