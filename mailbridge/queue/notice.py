"""A notice as octets: multipart/report with three parts (RFC 6522, RFC 3464, RFC 6533). Pure.

Its header has our fields and no others, whatever servers, senders and addresses contain: every text of a stranger goes
through `quoting`, and the boundary occurs in no part.
"""

from __future__ import annotations

from binascii import b2a_qp
from collections.abc import Sequence

from attrs import frozen

from mailbridge.clock import rfc5322_date
from mailbridge.envelope import MailParameters
from mailbridge.message.header import end_of_header
from mailbridge.queue.fate import Action, Fate
from mailbridge.queue.quoting import one_line, subject
from mailbridge.queue.returned import Part, header_alone, whole_message
from mailbridge.queue.wording import MANY, plain_words, subject_of

_LONGEST_LINE = 700  # characters of any text in a field: far below 998 octets, far above every address
_SHORT_LINE = 200  # of an answer, where many recipients have one


@frozen
class About:
    """The message that a notice is about. `octets` is what was read of it: all, or at least its beginning.

    `sender` is the text of its address, `received` seconds since 1970, `declared` what MAIL said.
    """

    queue_id: str
    sender: str
    received: float
    declared: MailParameters
    octets: bytes
    size: int


@frozen
class Notice:
    """The message that the sender gets, and what it needs on its way (RFC 6152, RFC 6531)."""

    octets: bytes
    eight_bit: bool
    utf8: bool


@frozen
class Heading:
    """Who writes the notice: `hostname`; its own `queue_id`; `to`, the address it goes to; `now`, seconds since 1970.

    A message of up to `longest` octets is returned whole. `undeliverable_to` as in `wording.plain_words`.
    """

    hostname: str
    queue_id: str
    to: str
    now: float
    longest: int
    undeliverable_to: str = ""


def compose(heading: Heading, about: About, fates: Sequence[Fate]) -> Notice:
    """The notice about `fates`, at least one."""
    names = [heading.to, *(fate.recipient for fate in fates), *(fate.original or "" for fate in fates)]
    third = _returned(heading, about, fates)
    utf8 = not all(name.isascii() for name in names) or third.media_type.startswith("message/global")
    parts = [
        _readable(heading, about, fates, third.media_type in ("message/rfc822", "message/global")),
        _status(heading, about, fates, utf8),
        third,
    ]
    eight_bit = any(part.eight_bit for part in parts)
    boundary = _boundary(heading.queue_id, parts)
    to = one_line(heading.to, _LONGEST_LINE, True)
    head = (
        f"From: Mail server <MAILER-DAEMON@{heading.hostname}>\r\nTo: <{to}>\r\nSubject: {subject_of(fates)}\r\n"
        f"Date: {rfc5322_date(heading.now)}\r\nMessage-ID: <{heading.queue_id}@{heading.hostname}>\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n'
        f"Content-Transfer-Encoding: {'8bit' if eight_bit else '7bit'}\r\n"
    )
    chunks = [head.encode("utf-8")]
    for part in parts:
        chunks.append(
            f"\r\n--{boundary}\r\nContent-Type: {part.media_type}\r\n"
            f"Content-Transfer-Encoding: {part.encoding}\r\n\r\n".encode("ascii")
        )
        chunks.append(part.octets)
    chunks.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return Notice(b"".join(chunks), eight_bit, utf8)


def _readable(heading: Heading, about: About, fates: Sequence[Fate], whole: bool) -> Part:
    end = end_of_header(about.octets)
    shown = subject(about.octets if end < 0 else about.octets[:end])
    text = plain_words(heading.hostname, about.queue_id, shown, about.received, fates, heading.undeliverable_to, whole)
    octets = text.replace("\n", "\r\n").encode("utf-8")
    if octets.isascii():
        return Part("text/plain; charset=us-ascii", "7bit", octets)
    return Part("text/plain; charset=utf-8", "quoted-printable", b2a_qp(octets, istext=True))


def _status(heading: Heading, about: About, fates: Sequence[Fate], utf8: bool) -> Part:
    """The part for programs (RFC 3464 2)."""
    lines: list[str] = []

    def field(name: str, text: str, longest: int = _LONGEST_LINE) -> None:
        lines.append(f"{name}: {one_line(text, longest, utf8)}\r\n")

    field("Reporting-MTA", f"dns; {heading.hostname}")
    if about.declared.envid is not None:
        field("Original-Envelope-Id", about.declared.envid)
    field("Arrival-Date", rfc5322_date(about.received))
    for fate in fates:
        lines.append("\r\n")
        if fate.original is not None:
            field("Original-Recipient", fate.original)
        kind = "rfc822" if fate.recipient.isascii() else "utf-8"
        field("Final-Recipient", f"{kind}; {fate.recipient}")
        field("Action", fate.action.value)
        field("Status", fate.status)
        if fate.server:
            field("Remote-MTA", f"dns; {fate.server}")
        if fate.said:
            words = f"{'smtp' if fate.server else 'x-mailbridge'}; {fate.said}"
            field("Diagnostic-Code", words, _LONGEST_LINE if len(fates) <= MANY else _SHORT_LINE)
        if fate.attempted is not None:
            field("Last-Attempt-Date", rfc5322_date(fate.attempted))
        if fate.retry_until is not None:
            field("Will-Retry-Until", rfc5322_date(fate.retry_until))
    octets = "".join(lines).encode("utf-8")
    media_type = "message/global-delivery-status" if utf8 else "message/delivery-status"
    return Part(media_type, "7bit" if octets.isascii() else "8bit", octets)


def _returned(heading: Heading, about: About, fates: Sequence[Fate]) -> Part:
    """The whole message when it has failed, is small, and the sender did not ask for the header alone (RET=HDRS).

    RFC 3461 4.3 wants the header alone in notices of anything but failure.
    """
    utf8 = about.declared.utf8
    small = len(about.octets) == about.size <= heading.longest
    if small and about.declared.ret != "HDRS" and any(fate.action is Action.FAILED for fate in fates):
        whole = whole_message(about.octets, utf8)
        if whole is not None:
            return whole
    return header_alone(about.octets, utf8)


def _boundary(queue_id: str, parts: Sequence[Part]) -> str:
    """A line that is in no part. The queue id is random, so the first is as good as certain."""
    number = 0
    while any(f"{queue_id}.{number}".encode("ascii") in part.octets for part in parts):
        number += 1
    return f"{queue_id}.{number}"
