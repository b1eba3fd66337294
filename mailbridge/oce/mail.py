"""Mail to USDS and back (reference: oce-usds.md H7, H11 to H13).

A mail becomes one message for each recipient: the subject is the Summary, the text the Detail, HTML and attachments are
Objects, and the fields that make it answerable travel in the Adjunct. Back again it is a new mail, written from the
start: no header can be smuggled in, and the sender shown is the one that the OCE vouches for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from mimetypes import guess_extension, guess_type
from typing import Any

from attrs import frozen

from mailbridge.address import Address, parse_mailbox
from mailbridge.errors import AddressError, MailbridgeError
from mailbridge.message import writing
from mailbridge.message.decoding import clean
from mailbridge.message.mailboxes import named_mailboxes
from mailbridge.message.mime import Entity, TooIntricate, parse
from mailbridge.message.text import attachments, body_html, body_text
from mailbridge.oce import headers
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import DATA, DETAIL, MEMBER, SUMMARY, TITLE, TYPE, USDS, Dest, Object, Source
from mailbridge.reply import Reply

BODY_HTML = "the body as HTML"
WHOLE_BODY = "the whole body, which was too long"
_CONTENT_ID = "ContentId"
_UNNAMED = "attachment"
_SEPARATORS = re.compile(r".*[/\\]", re.DOTALL)
_CHARSET = re.compile(r"[A-Za-z0-9._:+-]{1,40}")
_TYPE = re.compile(r"([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)(?:; charset=([A-Za-z0-9._:+-]+))?", re.IGNORECASE)
_NO_KEY = re.compile(r"[^A-Za-z0-9]+")
_SHORT_TYPE = re.compile(r"[A-Za-z0-9]{1,10}")
_MOST_BASE64 = DATA // 4 * 3


class CannotConvert(MailbridgeError):
    """A mail that is beyond the limits of USDS; `reply` is for its sender."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(str(reply))


# --- mail to USDS -----------------------------------------------------------------------------------------------------


@frozen
class Cargo:
    """What all recipients of one mail get: converted once. `mail` is kept for the fields in the Adjunct."""

    mail: Entity
    summary: str
    subject: str | None
    detail: str
    objects: tuple[Object, ...]


def load(content: bytes) -> Cargo:
    """Convert a mail. Raises CannotConvert."""
    try:
        mail = parse(content)
        html = body_html(mail)
        text = body_text(mail)
        attached = attachments(mail)
    except TooIntricate as error:
        raise too_intricate(error) from None
    objects = []
    if html is not None:
        objects.append(_object(Object("text/html", html.encode("utf-8", "replace"), "body.html", BODY_HTML)))
    detail = cut(text, DETAIL)
    if detail != text:
        objects.append(_object(Object("text/plain", text.encode("utf-8", "replace"), "body.txt", WHOLE_BODY)))
    objects += [_attached(entity) for entity in attached]
    subject = mail.value("Subject")
    whole = len(subject) <= SUMMARY
    return Cargo(mail, subject[:SUMMARY], None if whole else subject, detail, tuple(objects))


def to_usds(cargo: Cargo, source: Source, dest: Dest, msg_key: str, tribes: Tribes) -> USDS:
    """The message for one recipient. Raises CannotConvert."""
    if len(dest.member) > MEMBER:
        raise CannotConvert(Reply(553, "5.1.3", f"The name of a member has at most {MEMBER} characters"))
    abroad = bool(dest.oce)
    adjunct = headers.pack(cargo.mail, tribes.outward if abroad else _same, cargo.subject)
    return USDS(source=source, dest=dest, summary=cargo.summary, detail=cargo.detail, objects=cargo.objects,
                adjunct=adjunct, msg_key=msg_key)


def too_intricate(error: TooIntricate) -> CannotConvert:
    """The refusal of a mail with too many parts or levels."""
    return CannotConvert(Reply(554, "5.6.0", f"This mail cannot be converted: {error}"))


def cut(text: str, octets: int) -> str:
    """The beginning of `text` that has at most so many octets in UTF-8, and no half character."""
    if len(text) * 4 <= octets:
        return text
    whole = text.encode("utf-8", "replace")
    return text if len(whole) <= octets else whole[:octets].decode("utf-8", "ignore")


def _attached(entity: Entity) -> Object:
    content_type = entity.type
    charset = entity.parameters.get("charset", "")
    if content_type.startswith("text/") and _CHARSET.fullmatch(charset):
        content_type += f"; charset={charset}"
    if len(content_type) > TYPE or not _TYPE.fullmatch(content_type):
        content_type = writing.OCTET_STREAM
    extra: dict[str, Any] = {}
    content_id = entity.value("Content-ID").strip("<> ")
    if content_id:
        extra[_CONTENT_ID] = content_id[:MEMBER]
    return _object(Object(content_type, entity.octets(), file_name(entity.filename or ""), extra=extra))


def _object(made: Object) -> Object:
    if len(made.octets) > _MOST_BASE64:
        raise CannotConvert(Reply(552, "5.3.4", f"An attachment has {len(made.octets)} octets, at most {_MOST_BASE64} "
                                                "can be sent through the OCE"))
    return made


def file_name(name: str) -> str:
    """The name of a file without folders and controls, at most 96 characters with its extension."""
    name = _SEPARATORS.sub("", clean(name)).strip(" .")
    if len(name) <= TITLE:
        return name
    stem, dot, extension = name.rpartition(".")
    if dot and len(extension) < TITLE // 2:
        return stem[:TITLE - len(extension) - 1] + "." + extension
    return name[:TITLE]


def _same(domain: str) -> str:
    return domain


# --- USDS to mail -----------------------------------------------------------------------------------------------------


@frozen
class Arrival:
    """What is known of a message besides what it says: for whom it is, and when it came (an RFC 5322 date)."""

    recipient: str
    date: str


def sender_of(message: USDS, tribes: Tribes) -> Address:
    """Whom the OCE names as the sender, as an address that an answer finds.

    A tribe speaks for its own members only: what says `harold@oce` there, or names one of our own mail domains, is not
    our Harold.
    """
    member = clean(message.source.member)
    domain = tribes.domain(message.source.oce)
    local, _, said = member.rpartition("@")
    if local and not tribes.may_say(said, message.source.oce):
        member = local
    for text in ((member,) if "@" in member else (f"{member}@{domain}", f'"{member}"@{domain}')):
        try:
            return parse_mailbox(text.encode("utf-8", "replace"))
        except AddressError:
            continue
    return Address("unknown", domain)


def to_mail(message: USDS, arrival: Arrival, tribes: Tribes) -> bytes:
    """The mail, with CR LF line ends."""
    said = headers.unpack(message.adjunct)
    return writing.message(_fields(message, said, arrival, tribes), _content(message))


def _fields(message: USDS, said: Mapping[str, str], arrival: Arrival, tribes: Tribes) -> list[tuple[str, str]]:
    sender = sender_of(message, tribes)
    rename = _inward(tribes, message.source.oce)
    fields = [("Delivered-To", arrival.recipient), ("From", _from(sender, said.get("From", ""), rename))]
    fields.append(("To", _list(said.get("To", ""), rename) or arrival.recipient))
    for name in ("Cc", "Reply-To"):
        listed = _list(said.get(name, ""), rename)
        if listed:
            fields.append((name, listed))
    key = _NO_KEY.sub("", message.msg_key)
    made = f"<{key}@oce>" if key else ""
    known = [("Subject", _subject(message.summary, said.get("Subject", ""))), ("Date", said.get("Date", arrival.date)),
             ("Message-ID", said.get("Message-ID", made)), ("In-Reply-To", said.get("In-Reply-To", "")),
             ("References", said.get("References", "")), ("X-OCE-MsgKey", key),
             ("X-OCE-Source-AppId", clean(message.source.app_id))]
    return fields + [(name, value) for name, value in known if value]


def _inward(tribes: Tribes, source: str) -> Callable[[str], str]:
    return lambda domain: tribes.inward(domain, source)


def _from(sender: Address, claimed: str, rename: Callable[[str], str]) -> str:
    """The sender that the OCE vouches for; the name in front of it is kept when it stood at that address."""
    for pair in named_mailboxes(claimed):
        if pair is not None and _renamed(pair[1], rename).key == sender.key and pair[0]:
            return headers.shown([(clean(pair[0]), sender.text)])
    return sender.text


def _list(text: str, rename: Callable[[str], str]) -> str:
    found = [pair for pair in named_mailboxes(text) if pair is not None]
    return headers.shown([(clean(display), _renamed(address, rename).text) for display, address in found])


def _renamed(address: Address, rename: Callable[[str], str]) -> Address:
    return Address(address.local, rename(address.domain)) if address.domain and not address.double_at else address


def _subject(summary: str, whole: str) -> str:
    """The whole subject when the summary is the beginning of it."""
    return whole if len(summary) >= SUMMARY and whole.startswith(summary) else clean(summary)


def _content(message: USDS) -> writing.Part:
    objects = list(message.objects)
    detail = message.detail
    whole = _taken(objects, "text/plain", WHOLE_BODY)
    if whole is not None:
        detail = whole.octets.decode("utf-8", "replace")
    html = _taken(objects, "text/html", BODY_HTML)
    body = writing.text_part(detail)
    if html is not None:
        page = writing.text_part(html.octets.decode("utf-8", "replace"), "html")
        body = writing.multipart("alternative", [body, page]) if detail.strip() else page
    parts = [_part(each, number) for number, each in enumerate(objects, 1)]
    adjunct = message.adjunct
    if adjunct is not None and adjunct.data and adjunct.type != headers.KIND:
        parts.append(writing.attachment(adjunct.data.encode("utf-8", "replace"), "text/plain", "adjunct.txt",
                                        parameters=(("charset", "utf-8"),)))
    return writing.multipart("mixed", [body, *parts]) if parts else body


def _taken(objects: list[Object], content_type: str, detail: str) -> Object | None:
    """Take the form of the body out of the objects."""
    for number, each in enumerate(objects):
        if each.type == content_type and each.detail == detail:
            return objects.pop(number)
    return None


def _part(each: Object, number: int) -> writing.Part:
    match = _TYPE.fullmatch(each.type)
    if match is not None:
        content_type, charset = match[1].lower(), match[2]
    else:
        short = _SHORT_TYPE.fullmatch(each.type.lstrip("."))
        content_type = (guess_type(f"x.{short.group()}")[0] if short else None) or writing.OCTET_STREAM
        charset = None
    name = file_name(each.title) or f"{_UNNAMED}-{number}{guess_extension(content_type) or '.bin'}"
    extra = []
    content_id = clean(str(each.extra.get(_CONTENT_ID, "")))
    if content_id and headers.identifiers(f"<{content_id}>"):
        extra.append(("Content-ID", f"<{content_id}>"))
    if clean(each.detail):
        extra.append(("Content-Description", each.detail))
    return writing.attachment(each.octets, content_type, name, extra, "inline" if content_id else "attachment",
                              (("charset", charset),) if charset else ())
