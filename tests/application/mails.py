"""Messages, and what recipes make of them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailbridge.address import NULL, parse_mailbox
from mailbridge.application.job import Job, Mail
from mailbridge.application.recipe import Recipe
from tests.application.readers import Read, strict, windows

NOW = 1_795_262_400.0  # Sat, 21 Nov 2026 12:00:00 UTC
NUMBER = 42
RECEIVED = b"Received: from plant.example by bridge.example.org id 1;\r\n Sat, 21 Nov 2026 12:00:00 +0000\r\n"


def message(text: str | bytes = "Pump stopped", headers: str = "", charset: str = "utf-8") -> bytes:
    """A message of one text part; `headers` are lines that replace those of the same name."""
    given = {
        "From": "Lamp Room <lamp@plant.example>", "To": "<+420603280030@sms>", "Subject": "Alarm ID:7781",
        "MIME-Version": "1.0", "Content-Type": f"text/plain; charset={charset}", "Content-Transfer-Encoding": "8bit",
    }
    for line in headers.splitlines():
        name, _, value = line.partition(": ")
        given[name] = value
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    body = text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode(charset)
    return RECEIVED + head.encode() + b"\r\n" + body


def multipart(*parts: str, kind: str = "mixed", headers: str = "") -> bytes:
    """A message of several parts, each with its own header."""
    body = "".join(f"--=b\n{part}\n" for part in parts) + "--=b--\n"
    return message(body, headers + f"\nContent-Type: multipart/{kind}; boundary=\"=b\"")


def mail(
    content: bytes | None = None, sender: str = "lamp@plant.example", recipient: str = "+420603280030@sms",
    groups: Mapping[str, str] | None = None,
) -> Mail:
    """A message for one recipient."""
    return Mail(
        sender=parse_mailbox(sender.encode()) if sender else NULL, recipient=parse_mailbox(recipient.encode()),
        groups={"number": "+420603280030"} if groups is None else groups,
        content=message() if content is None else content, received=NOW,
    )


def job(content: bytes | None = None, mail_options: Mapping[str, Any] | None = None, **settings: Any) -> Job:
    """What an application `sms`, or one with other settings, makes of a message."""
    recipe = Recipe.make(settings.pop("application", "sms"), **{"ctl_type": "sms", **settings})
    return recipe.job(mail(content, **(mail_options or {})), NUMBER, NOW)


def control(content: bytes | None = None, mail_options: Mapping[str, Any] | None = None, **settings: Any) -> Read:
    """What both readers find in the control file; they agree."""
    made = job(content, mail_options, **settings)
    page = settings.get("output_code_page", "cp1250")
    found = strict(made.control.octets, page)
    if windows(made.control.octets, page) != found:
        raise AssertionError(f"two readers differ: {made.control.octets!r}")
    return found


def text(content: bytes | None = None, mail_options: Mapping[str, Any] | None = None, **settings: Any) -> bytes:
    """The text file."""
    return job(content, mail_options, **settings).files[0].octets
