"""Header fields of a mail inside a USDS message: JSON in the Adjunct, so that a mail comes out as it went in (H7).

Only fields that make a mail readable and answerable travel, never Bcc. What comes back is text from a stranger: it is
cleaned, bounded and checked before it is a header again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mailbridge.message.decoding import clean
from mailbridge.message.mime import Entity
from mailbridge.oce import strictjson
from mailbridge.oce.strictjson import BadJSON
from mailbridge.oce.usds import DETAIL, Adjunct

KIND = "mail/rfc5322-headers"
ADDRESSES = ("From", "To", "Cc", "Reply-To")
IDS = ("Message-ID", "In-Reply-To", "References")
_LONGEST = 64 * 1024
_IDS = re.compile(r"<[!-;=?-~]{1,250}@?[!-;=?-~]{0,250}>")
_DATE = re.compile(r"[A-Za-z0-9 ,:+()-]{1,60}")
_QUOTED = re.compile(r'["\\]')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")

Rename = Callable[[str], str]
"""A domain by another name."""


def pack(mail: Entity, rename: Rename, subject: str | None) -> Adjunct:
    """The fields of a mail; `rename` is for the domains in addresses. `subject` is given when it was cut."""
    said: dict[str, str] = {}
    for name in ADDRESSES:
        text = shown([(display, _renamed(address, rename)) for display, address in mail.mailboxes(name)])
        if text:
            said[name] = text
    for name in IDS:
        ids = identifiers(mail.value(name))
        if ids:
            said[name] = ids
    date = mail.value("Date")
    if _DATE.fullmatch(date):
        said["Date"] = date
    if subject is not None:
        said["Subject"] = subject
    while len(data := strictjson.write(said)) > DETAIL:  # the longest is the least needed
        del said[max(said, key=lambda name: len(said[name]))]
    return Adjunct(data.decode("ascii"), KIND, "headers of the original mail")


def unpack(adjunct: Adjunct | None) -> dict[str, str]:
    """The fields in an Adjunct by their usual names, cleaned; nothing when it has none or they cannot be read."""
    if adjunct is None or adjunct.type != KIND:
        return {}
    try:
        said = strictjson.read(adjunct.data.encode("utf-8"))
    except (BadJSON, UnicodeEncodeError):
        return {}
    if not isinstance(said, Mapping):
        return {}
    known = {name.lower(): name for name in (*ADDRESSES, *IDS, "Date", "Subject")}
    found = {}
    for name, value in said.items():
        usual = known.get(name.lower())
        if usual is not None and isinstance(value, str) and usual not in found:
            found[usual] = clean(value[:_LONGEST])
    for name in IDS:
        if name in found:
            found[name] = identifiers(found[name])
    if not _DATE.fullmatch(found.get("Date", "")):
        found.pop("Date", None)
    return {name: value for name, value in found.items() if value}


def identifiers(text: str) -> str:
    """The message ids in a field, with blanks between them."""
    return " ".join(_IDS.findall(text))


def shown(mailboxes: list[tuple[str, str]]) -> str:
    """A list of (display name, address) as a header value."""
    return ", ".join(f"{phrase(display)} <{address}>" if display else address for display, address in mailboxes)


def phrase(text: str) -> str:
    """A display name, in quotation marks where it needs them (RFC 5322 3.2.5)."""
    if _ATOMS.fullmatch(text) and "=?" not in text:
        return text
    return '"' + _QUOTED.sub(lambda match: "\\" + match.group(), text) + '"'


def _renamed(address: str, rename: Rename) -> str:
    local, at, domain = address.rpartition("@")
    return local + at + rename(domain) if at else address
