"""Where each value stands in a control file: data, so that a site with the reader's manual can correct it.

The sections and keys of `sms` and `fax` are those of MobilChange and FaxChange as far as they are public; `#` in the
keys of attachments is the attachment's number, from 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mailbridge.application.keys import Key, RecipeFaults, parse_key
from mailbridge.errors import Fault

_COMMON = {
    "type": "system|type",
    "subject": "system|subject",
    "priority": "system|priority",
    "from_name": "from|name",
    "from_username": "from|username",
    "from_email": "from|email",
    "from_gateway": "from|gateway",
    "from_smtp": "from|smtp",
    "to_type": "to|type",
    "to_name": "to|name",
    "to_number": "to|number",
    "text": "message|text",
    "attachment": "message|attach#",
    "attachment_name": "message|attach#_name",
}
_FIRM = {"to_company": "to|comp", "to_dept": "to|dept"}
LAYOUTS: Mapping[str, Mapping[str, str]] = {
    "sms": _COMMON,
    "json": {**_COMMON, **_FIRM},
    "fax": {
        **_COMMON,
        **_FIRM,
        "to_priority": "to|priority",
        "message_subject": "message|subject",
    },
}
"""The default layouts by `ctl_type`; that of `json` says which settings and @commands change a field of the object."""
FIELDS = tuple(LAYOUTS["fax"])
"""The logical names of all values."""
_NUMBERED = ("attachment", "attachment_name")
_NEEDED = ("to_number", "text", "from_smtp")
_OURS = ("type", "to_type", "to_number", "text")
_PAYS = "from_smtp"


@frozen
class Layout:
    """Field -> key. A field that is not in it is not written."""

    keys: Mapping[str, Key]
    attachment: str = ""
    attachment_name: str = ""

    @classmethod
    def make(cls, ctl_type: str, changes: Mapping[str, str]) -> Layout:
        """The default layout of the type with `ctl_layout` laid over it; "" leaves a field out. Raises RecipeFaults."""
        texts = {**LAYOUTS[ctl_type], **changes}
        faults = [Fault(f"ctl_layout.{name}", f"there is no such field; there are {', '.join(FIELDS)}")
                  for name in changes if name not in FIELDS]
        faults += [Fault(f"ctl_layout.{name}", "cannot be left out")
                   for name in _NEEDED if not texts[name]]
        keys: dict[str, Key] = {}
        for name, text in texts.items():
            if not text or name not in FIELDS:
                continue
            try:
                key = parse_key(text.replace("#", "1", 1) if name in _NUMBERED else text)
            except ValueError as error:
                faults.append(Fault(f"ctl_layout.{name}", str(error)))
                continue
            if name in _NUMBERED and "#" not in text.partition("|")[2]:
                faults.append(Fault(f"ctl_layout.{name}", "needs a # in the key, for the number of the attachment"))
            taken = next((other for other, used in keys.items() if used == key), None)
            if taken is not None:
                faults.append(Fault(f"ctl_layout.{name}", f"{text} is {taken} already"))
            keys[name] = key
        if faults:
            raise RecipeFaults(faults)
        return cls({name: key for name, key in keys.items() if name not in _NUMBERED},
                   texts["attachment"], texts["attachment_name"])

    def numbered(self, text: str, number: int) -> Key:
        """The key for an attachment: `attachment` or `attachment_name` with its number."""
        return parse_key(text.replace("#", str(number)))

    def belongs_to(self, key: Key) -> str:
        """The field whose key this is and that nobody but the bridge writes; "" when there is none."""
        for name in _OURS:
            if self.keys.get(name) == key:
                return name
        for text in (self.attachment, self.attachment_name):
            before, mark, after = text.lower().partition("#")
            middle = str(key).lower().removeprefix(before).removesuffix(after)
            if mark and f"{before}{middle}{after}" == str(key).lower() and middle.isdigit():
                return "attachment"
        return ""

    def pays(self, key: Key) -> bool:
        """Whether this is the key of who pays, which no sender may set."""
        return self.keys.get(_PAYS) == key
