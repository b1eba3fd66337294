"""From a message and a sender's wishes to envelopes and content: Tcllib's rules for headers and recipients.

Pure. `Dcc` and `Bcc` never leave; Bcc recipients get the message (or, as `digest`, a message of their own that holds
it). Missing From, Sender, Date and Message-ID are added. A header value cannot begin a second header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from mailbridge.address import NULL, Address
from mailbridge.errors import AddressError, MailbridgeError
from mailbridge.header import end_of_header, fields
from mailbridge.lines import Normaliser
from mailbridge.mailboxes import parse_mailboxes

_NAME = re.compile(r"[!-9;-~]+")
_RECIPIENTS = ("to", "cc", "dcc", "bcc")


class ComposeError(MailbridgeError):
    """What was asked for is no message that can be sent: no sender, no recipient, a header with a line end."""


@frozen
class Wishes:
    """What the caller says besides the message.

    `originator` None takes From (or Resent-From) of `headers`, then of the message; an empty text is the null sender.
    `recipients` None takes To, Cc, Bcc and Dcc of `headers` (their Resent- forms when one is given); `from_message`
    reads the message's own. `bcc` is `deliver` or `digest`. `message_id` and `date` are for messages that have none.
    """

    date: str
    message_id: str
    headers: tuple[tuple[str, str], ...] = ()
    originator: str | None = None
    recipients: str | Sequence[str] | None = None
    from_message: bool = False
    bcc: str = "deliver"


@frozen
class Composed:
    """One envelope and its content, with CR LF line ends."""

    sender: Address
    recipients: tuple[Address, ...]
    content: bytes


def compose(message: bytes, wishes: Wishes) -> list[Composed]:
    """One envelope, and a second one for a Bcc digest. Raises ComposeError or AddressError."""
    normaliser = Normaliser()
    message = normaliser.feed(message) + normaliser.finish()
    end = end_of_header(message)
    head, body = (message[:end], message[end:]) if end >= 0 else (message, b"\r\n")
    own = [(name, field) for name, field in fields(head) if name] if _looks_like_header(head) else []
    if not own:
        head, body = b"", b"\r\n" + message.removeprefix(b"\r\n")
    given = {_checked(name, value).lower(): value for name, value in wishes.headers}
    resent = "resent-" if any(name.startswith("resent-") for name in given) else ""
    sender = _originator(wishes, given, own, resent)
    plain, blind = _recipients(wishes, given, own, resent)
    if not plain and not blind:
        raise ComposeError("there is no recipient: name one, or give a To header")
    kept = b"".join(
        field for name, field in own
        if name not in (b"bcc", b"dcc", b"resent-bcc", b"resent-dcc") and name.decode() not in given
    )
    added = "".join(f"{name}: {value}\r\n" for name, value in wishes.headers if name.lower() not in
                    ("bcc", "dcc", "resent-bcc", "resent-dcc"))
    present = {name.decode() for name, _ in own} | set(given)
    added += _missing(present, wishes, given, sender, resent)
    content = added.encode("utf-8") + kept + body
    if wishes.bcc == "digest" and blind:
        digest = _digest(content, sender, wishes, given.get("subject", ""))
        envelopes = [Composed(sender, tuple(plain), content)] if plain else []
        return [*envelopes, Composed(sender, tuple(blind), digest)]
    return [Composed(sender, tuple(dict.fromkeys([*plain, *blind])), content)]


def _looks_like_header(head: bytes) -> bool:
    return all(name for name, _ in fields(head))


def _checked(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        raise ComposeError(f"{name[:40]!r} is no name of a header field")
    if any(c in value for c in "\r\n\0"):
        raise ComposeError(f"the value of {name} has a line end or NUL in it")
    return name


def _value(own: list[tuple[bytes, bytes]], name: str) -> str | None:
    for found, field in own:
        if found == name.encode():
            return field.partition(b":")[2].decode("utf-8", "replace").replace("\r\n", "").strip()
    return None


def _originator(wishes: Wishes, given: dict[str, str], own: list[tuple[bytes, bytes]], resent: str) -> Address:
    text = wishes.originator
    if text is None:
        text = given.get(f"{resent}from") or _value(own, f"{resent}from") or _value(own, "from")
        if text is None:
            raise ComposeError("there is no sender: name an originator, or give a From header")
    if not text.strip():
        return NULL
    found = parse_mailboxes(text)
    if len(found) != 1:
        raise ComposeError(f"the originator must be one address, got {len(found)}")
    return found[0]


def _recipients(
    wishes: Wishes, given: dict[str, str], own: list[tuple[bytes, bytes]], resent: str
) -> tuple[list[Address], list[Address]]:
    """(those who get the message, those who get it blind)."""
    if wishes.recipients is not None:
        texts = [wishes.recipients] if isinstance(wishes.recipients, str) else list(wishes.recipients)
        return _unique(address for text in texts for address in parse_mailboxes(text)), []
    plain: list[Address] = []
    blind: list[Address] = []
    for name in _RECIPIENTS:
        values = [given.get(resent + name)]
        if wishes.from_message:
            values.append(_value(own, resent + name))
        for value in values:
            if value:
                (blind if name == "bcc" else plain).extend(parse_mailboxes(value))
    plain = _unique(plain)
    return plain, [address for address in _unique(blind) if address not in plain]


def _unique(addresses: Iterable[Address]) -> list[Address]:
    return list(dict.fromkeys(addresses))


def _missing(present: set[str], wishes: Wishes, given: dict[str, str], sender: Address, resent: str) -> str:
    lines = ""
    if f"{resent}from" not in present and not sender.is_null:
        lines += f"{resent.title()}From: <{sender.text}>\r\n"
    elif not sender.is_null and f"{resent}sender" not in present:
        try:
            authors = parse_mailboxes(given.get(f"{resent}from", sender.text))
        except AddressError:
            authors = []
        if authors != [sender]:
            lines += f"{resent.title()}Sender: <{sender.text}>\r\n"
    if f"{resent}date" not in present:
        lines += f"{resent.title()}Date: {wishes.date}\r\n"
    if f"{resent}message-id" not in present:
        lines += f"{resent.title()}Message-ID: {wishes.message_id}\r\n"
    return lines


def _digest(content: bytes, sender: Address, wishes: Wishes, subject: str) -> bytes:
    """The message that blind recipients get: the original inside a multipart/digest."""
    number = 0
    while b"--=_%d" % number in content:
        number += 1
    boundary = f"=_{number}"
    author = f"<{sender.text}>" if not sender.is_null else "MAILER-DAEMON"
    return (
        f"MIME-Version: 1.0\r\nFrom: {author}\r\nDate: {wishes.date}\r\n"
        f"Message-ID: {wishes.message_id.replace('<', '<bcc.', 1)}\r\nSubject: [Bcc] {subject}\r\n"
        f'Content-Type: multipart/digest; boundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\nContent-Type: message/rfc822\r\nContent-Description: Blind Carbon Copy\r\n\r\n"
    ).encode() + content + f"\r\n--{boundary}--\r\n".encode()
