"""A job as one JSON object (`ctl_type = "json"`), and what a `command` is given on its standard input.

The same values as a control file's, with the text and the attachments in it. In ASCII, so that no reader's charset
matters; keys are always there and in this order:

    version 1 · application · job (number) · received (UTC) · type · subject · priority
    from {name username email gateway smtp} · to {address name company department number}
    settings {"section|key": text} of ctl_settings and @commands · format · text · content (base64: what a file of
    another format than txt would hold) · parts · attachments [{name type size content (base64)}] · warnings [text]
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mailbridge.application.attached import Attachment
from mailbridge.application.codepage import UTF8, CodePage
from mailbridge.application.control import one_line
from mailbridge.application.keys import Key
from mailbridge.application.layout import Layout

VERSION = 1
_UTF8 = CodePage(UTF8)
_FROM = {"name": "from_name", "username": "from_username", "email": "from_email", "gateway": "from_gateway",
         "smtp": "from_smtp"}
_TO = {"name": "to_name", "company": "to_company", "department": "to_dept", "number": "to_number"}


def cleaned(values: Mapping[Key, str]) -> dict[Key, str]:
    """Values of one line each, as in a control file, with all their letters."""
    return {key: _UTF8.fit(one_line(value))[0] for key, value in values.items()}


def document(
    *,
    application: str,
    number: int,
    received: float,
    recipient: str,
    layout: Layout,
    values: Mapping[Key, str],
    format_name: str,
    text: str,
    content: bytes,
    parts: int,
    attachments: Sequence[Attachment],
    warnings: Sequence[str],
) -> bytes:
    """The object, with a newline after it. Of the `values`, which are clean, those of no field are `settings`."""
    field = {name: values.get(key, "") for name, key in layout.keys.items()}
    fields = set(layout.keys.values())
    return json.dumps({
        "version": VERSION,
        "application": application,
        "job": number,
        "received": datetime.fromtimestamp(int(received), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "type": field["type"],
        "subject": field["subject"],
        "priority": field["priority"],
        "from": {name: field[source] for name, source in _FROM.items()},
        "to": {"address": recipient, **{name: field[source] for name, source in _TO.items()}},
        "settings": {str(key): value for key, value in values.items() if key not in fields},
        "format": format_name,
        "text": text,
        "content": b64encode(content).decode("ascii"),
        "parts": parts,
        "attachments": [
            {"name": one.title, "type": one.type, "size": len(one.octets),
             "content": b64encode(one.octets).decode("ascii")}
            for one in attachments
        ],
        "warnings": list(warnings),
    }).encode("ascii") + b"\n"
