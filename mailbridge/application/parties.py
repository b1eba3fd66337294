"""Who sends and who receives, as a control file says it.

The envelope decides who pays and where it goes; the header only lends names, and addresses to reply to.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mailbridge.address import Address
from mailbridge.message.mime import Entity

GATEWAY = "s"
"""The letter of SMTP."""


@frozen
class Headers:
    """The names and addresses in the header of a message; empty where it has none."""

    from_name: str
    from_address: str
    reply_name: str
    reply_address: str

    @classmethod
    def of(cls, message: Entity) -> Headers:
        """Read From and Reply-To, the first mailbox of each."""
        return cls(*(message.mailbox(b"from") or ("", "")), *(message.mailbox(b"reply-to") or ("", "")))


def sender_fields(sender: Address, headers: Headers) -> dict[str, str]:
    """The fields of `[from]`: the name in From, else the local part; replies go to Reply-To, else to From."""
    source = headers.from_address or sender.text
    return {
        "from_name": headers.from_name or source.rpartition("@")[0] or source,
        "from_username": sender.text,
        "from_email": headers.reply_address or source,
        "from_gateway": GATEWAY,
        "from_smtp": sender.text,
    }


def recipient_fields(recipient: Address, groups: Mapping[str, str], message: Entity, fax: bool) -> dict[str, str]:
    """Name, company and department: of the envelope, else of the mailbox in To or Cc with the same address.

    A fax's display name is `name/company/department`. In `user_name@202.sms` an underscore is a blank.
    """
    name, company, dept = (groups.get(part, "") for part in ("name", "company", "dept"))
    if not (name or company or dept):
        display = _display(recipient, message)
        if fax:
            name, company, dept = ([part.strip() for part in display.split("/", 2)] + ["", ""])[:3]
        else:
            name = display
    elif not fax:
        name = name.replace("_", " ")
    return {"to_name": name, "to_company": company, "to_dept": dept}


def _display(recipient: Address, message: Entity) -> str:
    """The display name that To or Cc gives the recipient."""
    for field in (b"to", b"cc"):
        for name, address in message.mailboxes(field):
            if name and address.casefold() == recipient.key:
                return name
    return ""
