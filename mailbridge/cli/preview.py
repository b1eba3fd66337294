"""What an application would write for a message: the files of its job, shown and not written.

The work is done here, by the configuration file, and not by the running bridge: a message may be hostile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mailbridge.address import NULL, parse_mailbox
from mailbridge.application.job import JobFile, Mail
from mailbridge.application.refused import JobRefused
from mailbridge.config import outlets
from mailbridge.config.model import Config
from mailbridge.errors import StartError
from mailbridge.routing.route import APPLICATION

LARGEST = 64 * 1024 * 1024


def read_message(path: Path) -> bytes:
    """The octets of a message, with CR LF line ends as they are on the wire. Raises StartError."""
    try:
        with path.open("rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}") from None
    if len(octets) > LARGEST:
        raise StartError(f"{path}: is larger than 64 MiB")
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def preview(config: Config, answer: dict[str, Any], content: bytes) -> dict[str, Any]:
    """The job that a message makes, as JSON values; `answer` is that of the operation `route`."""
    names = [target.removeprefix(APPLICATION) for target in answer["targets"] if target.startswith(APPLICATION)]
    settings = config.application.get(names[0]) if names else None
    if settings is None:
        return {"application": None, "files": []}
    sender = parse_mailbox(answer["sender"].encode()) if answer["sender"] else NULL
    mail = Mail(sender, parse_mailbox(answer["recipient"].encode()), answer["groups"] or {}, content, time.time())
    recipe = outlets.recipe(names[0], settings, config.receiver, config.command_tags)
    try:
        job = recipe.job(mail, answer["job"], mail.received)
    except JobRefused as refused:
        return {"application": names[0], "refused": str(refused.reply)}
    page = settings.output_code_page or config.receiver.output_code_page
    return {
        "application": job.application,
        "number": job.number,
        "warnings": list(job.warnings),
        "files": [_file(file, page) for file in (*job.files, job.control)],
    }


def lines(record: dict[str, Any]) -> Iterator[str]:
    """A preview for a person."""
    if record["application"] is None:
        yield "no application takes it: nothing is written"
        return
    if "refused" in record:
        yield f"{record['application']} refuses the message: {record['refused']}"
        return
    yield f"job {record['number']} of {record['application']}:"
    yield from (f"warning: {warning}" for warning in record["warnings"])
    for file in record["files"]:
        yield f"--- {file['name']} ({file['octets']} octets)"
        if file["text"] is not None:
            yield from file["text"].replace("\r\n", "\n").removesuffix("\n").split("\n")


def _file(file: JobFile, page: str) -> dict[str, Any]:
    """A file; its text where it is text."""
    text = None
    if b"\0" not in file.octets:
        with suppress(UnicodeDecodeError):
            text = file.octets.decode("utf-8" if file.name.endswith(".json") else page)
    return {"name": file.name, "octets": len(file.octets), "text": text}
