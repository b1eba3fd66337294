"""Attachments as files of a job: which are taken, and what they are called.

The name of a file is ours, with an extension that the operator allows. What the sender called it is a value beside it.
What is left out is said in the job's warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import field, frozen

from mailbridge.application.control import one_line
from mailbridge.limits import MIB
from mailbridge.message.mime import Entity

TYPES = (
    "pdf", "tif", "tiff", "jpg", "jpeg", "png", "gif", "bmp", "ps", "eps", "txt", "csv", "rtf", "htm", "html", "eml",
    "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp",
)
"""The extensions that are taken unless the operator names others."""
_BY_CONTENT_TYPE = {
    "application/pdf": "pdf", "application/postscript": "ps", "application/rtf": "rtf", "application/msword": "doc",
    "image/tiff": "tif", "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/bmp": "bmp",
    "text/plain": "txt", "text/csv": "csv", "text/html": "htm", "text/rtf": "rtf", "message/rfc822": "eml",
}
_LONGEST_NAME = 100
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,16})$")
_NOT_IN_NAMES = re.compile(r'[<>:"|?*;=\[\]]')


@frozen
class Attachment:
    """A file to write: `name` is ours, `title` what the sender called it, made harmless; empty when it had no name."""

    name: str
    title: str
    type: str
    octets: bytes = field(repr=False)


@frozen
class AttachmentRules:
    """What is taken: extensions in lower case, how many, and octets of each and of all."""

    types: frozenset[str]
    count: int = 20
    size: int = 10 * MIB
    total: int = 25 * MIB

    def take(self, entities: Iterable[Entity], stem: str) -> tuple[list[Attachment], list[str]]:
        """(what is written, warnings of what is not); names are `STEM_1.pdf` and so on."""
        taken: list[Attachment] = []
        left: list[str] = []
        room = self.total
        for position, entity in enumerate(entities, 1):
            title = _title(entity.filename or "")
            extension = _extension(title, entity.type)
            if len(taken) >= self.count:
                left.append(f"attachments from number {position} on were left out: more than {self.count}")
                break
            if extension not in self.types:
                left.append(_left_out(position, title, f'"{extension}" is not among attachment_types'))
                continue
            octets = entity.octets()
            if len(octets) > self.size:
                left.append(_left_out(position, title, f"{len(octets):,} octets are more than attachment_size"))
            elif len(octets) > room:
                left.append(_left_out(position, title, f"all together are more than {self.total:,} octets"))
            else:
                room -= len(octets)
                taken.append(Attachment(f"{stem}_{len(taken) + 1}.{extension}", title, entity.type, octets))
        return taken, left


def _title(filename: str) -> str:
    """The last word of a path, without what a file system or a control file would read something into."""
    last = re.split(r"[/\\]", filename[-4096:])[-1]
    clean = _NOT_IN_NAMES.sub("_", one_line(last, 4096)).lstrip(". ")
    if len(clean) <= _LONGEST_NAME:
        return clean
    extension = _EXTENSION.search(clean)
    end = extension.group() if extension else ""
    return clean[:_LONGEST_NAME - len(end)] + end


def _extension(title: str, content_type: str) -> str:
    found = _EXTENSION.search(title)
    return found[1].lower() if found else _BY_CONTENT_TYPE.get(content_type, "")


def _left_out(position: int, title: str, why: str) -> str:
    return f"attachment {position} ({title[:40] or 'without name'}) was left out: {why}"
