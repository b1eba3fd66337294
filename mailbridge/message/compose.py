"""From a message and a sender's wishes to envelopes and content: Tcllib's rules for headers and recipients.

Pure. `Dcc` and `Bcc` never leave; Bcc recipients get the message (or, as `digest`, a message of their own that holds
it). Missing From, Sender, Date and Message-ID are added. A header value cannot begin a second header. Content ends in
CR LF and has no other line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import field, frozen

from mailbridge.address import NULL, Address
from mailbridge.errors import AddressError, MailbridgeError
from mailbridge.lines import Normaliser
from mailbridge.message.header import end_of_header, fields
from mailbridge.message.mailboxes import parse_mailboxes
from mailbridge.message.words import encoded

_NAME = re.compile(r"[!-9;-~]{1,76}")
_HIDDEN = frozenset({"bcc", "dcc", "resent-bcc", "resent-dcc"})
_LONGEST = 900  # octets of a header line before it is folded: 998 is the limit of RFC 5322 2.1.1

Fields = Sequence[tuple[str, str]]
"""(lower-case name, value without folding) of header fields."""


class ComposeError(MailbridgeError):
    """What was asked for is no message that can be sent: no sender, no recipient, a header with a line end."""


@frozen
class Wishes:
    """What the caller says besides the message.

    `originator` None takes From (or Resent-From) of `headers`, then of the message; an empty text is the null sender.
    `recipients` None takes To, Cc, Bcc and Dcc of `headers` (their Resent- forms when one is given); `from_message`
    reads the message's own as well. A field of `headers` takes the place of the message's own of that name, but a
    Resent- block is put before older ones (RFC 5322 3.6.6). `bcc` is `deliver` or `digest`. `message_id` and `date` are
    for messages that have none.
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
    content: bytes = field(repr=False)


def compose(message: bytes, wishes: Wishes) -> list[Composed]:
    """One envelope, and a second one for a Bcc digest. Raises ComposeError or AddressError."""
    for name, value in wishes.headers:
        _check(name, value)
    own, body = _take_apart(message)
    given = [(name.lower(), value) for name, value in wishes.headers]
    resent = "resent-" if any(name.startswith("resent-") for name, _ in given) else ""
    before = [(name.decode("ascii"), _value(octets)) for name, octets in own]
    sender = _originator(wishes, given, before, resent)
    plain, blind = _recipients(wishes, given, before, resent)
    if not plain and not blind:
        raise ComposeError("there is no recipient: name one, or give a To header")
    replaced = _HIDDEN | {name for name, _ in given if not name.startswith("resent-")}
    kept = b"".join(octets for name, octets in own if name.decode("ascii") not in replaced)
    said = given if resent else [*given, *before]
    shown = [pair for pair in wishes.headers if pair[0].lower() not in _HIDDEN]
    added = [*_missing(said, wishes, sender, resent), *shown]
    content = b"".join(_line(name, value) for name, value in added) + kept + body
    if wishes.bcc == "digest" and blind:
        digest = _digest(content, sender, wishes, _last([*before, *given], "subject") or "")
        envelopes = [Composed(sender, tuple(plain), content)] if plain else []
        return [*envelopes, Composed(sender, tuple(blind), digest)]
    return [Composed(sender, tuple(dict.fromkeys([*plain, *blind])), content)]


def _take_apart(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The fields of the header and, with the empty line before it, the body; a text without a header is all body."""
    normaliser = Normaliser()
    message = normaliser.feed(message) + normaliser.finish()
    if message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    end = end_of_header(message)
    head, body = (message[:end], message[end:]) if end >= 0 else (message, b"\r\n")
    own = list(fields(head))
    if all(name for name, _ in own):
        return own, body
    return [], b"\r\n" + message


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ComposeError(f"{name[:40]!r} is no name of a header field")
    if any(c in value for c in "\r\n\0"):
        raise ComposeError(f"the value of {name} has a line end or NUL in it")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ComposeError(f"the value of {name} has half a character in it")


def _value(octets: bytes) -> str:
    return octets.partition(b":")[2].decode("utf-8", "surrogateescape").replace("\r\n", "").strip()


def _all(said: Fields, name: str) -> list[str]:
    return [value for found, value in said if found == name and value.strip()]


def _last(said: Fields, name: str) -> str | None:
    found = _all(said, name)
    return found[-1] if found else None


def _originator(wishes: Wishes, given: Fields, before: Fields, resent: str) -> Address:
    text = wishes.originator
    if text is None:
        text = ",".join(_all(given, f"{resent}from")) or ",".join(_all(before, "from"))
        if not text:
            raise ComposeError("there is no sender: name an originator, or give a From header")
    if not text.strip():
        return NULL
    found = parse_mailboxes(text)
    if len(found) != 1:
        raise ComposeError(f"the originator must be one address, got {len(found)}")
    return found[0]


def _recipients(
    wishes: Wishes, given: Fields, before: Fields, resent: str
) -> tuple[list[Address], list[Address]]:
    """(those who get the message, those who get it blind)."""
    if wishes.recipients is not None:
        texts = [wishes.recipients] if isinstance(wishes.recipients, str) else list(wishes.recipients)
        return _unique(address for text in texts for address in parse_mailboxes(text)), []
    said = [*given, *before] if wishes.from_message else given
    plain = _unique(
        address for name in ("to", "cc", "dcc") for value in _all(said, resent + name)
        for address in parse_mailboxes(value)
    )
    blind = _unique(address for value in _all(said, f"{resent}bcc") for address in parse_mailboxes(value))
    return plain, [address for address in blind if address not in plain]


def _unique(addresses: Iterable[Address]) -> list[Address]:
    return list(dict.fromkeys(addresses))


def _missing(said: Fields, wishes: Wishes, sender: Address, resent: str) -> list[tuple[str, str]]:
    """The fields to add: Date, Message-ID, From, and Sender when the author is somebody else (RFC 5322 3.6.2)."""
    lines = []
    authors = ",".join(_all(said, f"{resent}from"))
    if not sender.is_null and not authors:
        lines.append((f"{resent.title()}From", f"<{sender.text}>"))
    elif not sender.is_null and not _all(said, f"{resent}sender") and not _is(sender, authors):
        lines.append((f"{resent.title()}Sender", f"<{sender.text}>"))
    if not _all(said, f"{resent}date"):
        lines.append((f"{resent.title()}Date", wishes.date))
    if not _all(said, f"{resent}message-id"):
        lines.append((f"{resent.title()}Message-ID", wishes.message_id))
    return lines


def _is(sender: Address, authors: str) -> bool:
    try:
        return parse_mailboxes(authors) == [sender]
    except AddressError:  # the message's own affair
        return False


def _line(name: str, value: str) -> bytes:
    """One field, folded at blanks where it would be longer than mail allows."""
    lines, line = [], f"{name}:".encode("ascii")
    for word in encoded(name, value.strip()).split(" "):
        octets = b" " + word.encode("utf-8", "surrogateescape")
        if len(line) + len(octets) > _LONGEST and line.strip():
            lines.append(line)
            line = b""
        line += octets
    return b"\r\n".join([*lines, line]) + b"\r\n"


def _digest(content: bytes, sender: Address, wishes: Wishes, subject: str) -> bytes:
    """The message that blind recipients get: the original inside a multipart/digest."""
    number = 0
    while b"--=_%d" % number in content:
        number += 1
    boundary = f"=_{number}"
    head = (
        ("MIME-Version", "1.0"), ("From", f"<{sender.text}>" if not sender.is_null else "MAILER-DAEMON:;"),
        ("Date", wishes.date), ("Message-ID", wishes.message_id.replace("<", "<bcc.", 1)),
        ("Subject", f"[Bcc] {subject}"), ("Content-Description", "Blind Carbon Copy"),
        ("Content-Type", f'multipart/digest; boundary="{boundary}"'),
    )
    part = (("Content-Type", "message/rfc822"), ("Content-Description", "Original Message"))
    return b"".join([
        *(_line(*pair) for pair in head), f"\r\n--{boundary}\r\n".encode(), *(_line(*pair) for pair in part), b"\r\n",
        content, f"\r\n--{boundary}--\r\n".encode(),
    ])
