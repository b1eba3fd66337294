"""The work that grows with a message, as plain values: `perform` does one task, here or in another process.

A mail becomes the JSON text of a push, the answer to a pull becomes mails. Nothing a stranger sends makes a task raise
more than BadAnswer; a message that cannot be read becomes a report for postmaster, so that it blocks no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from attrs import evolve, field, frozen

from mailbridge.errors import MailbridgeError
from mailbridge.message import writing
from mailbridge.message.mime import TooIntricate, parse
from mailbridge.oce import calls, strictjson, usds
from mailbridge.oce.calls import Answer, read_answer
from mailbridge.oce.mail import Arrival, CannotConvert, Cargo, load, sender_of, to_mail, to_usds, too_intricate
from mailbridge.oce.strictjson import LARGEST, BadJSON, Json
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import OTHER, Dest, Source, USDSError
from mailbridge.reply import Reply

LARGE = 16 * 1024
"""Octets from which on a task is done in another process: the reactor has better things to do."""


class BadAnswer(MailbridgeError):
    """What the OCE answered cannot be read at all."""


@frozen
class Letter:
    """One recipient's part of a push."""

    source: Source
    dest: Dest
    msg_key: str


@frozen
class Write:
    """Make the JSON text of a mail for one recipient. Result: the text, or the Reply that refuses the mail."""

    content: bytes = field(repr=False)
    letter: Letter
    tribes: Tribes


@frozen
class Examine:
    """See whether a mail can be converted at all. Result: None, or the Reply that refuses it."""

    content: bytes = field(repr=False)


@frozen
class Open:
    """Read an answer, and the first `limit` messages in it. `date` is an RFC 5322 date. Result: Opened."""

    body: bytes = field(repr=False)
    limit: int = 0
    date: str = ""
    tribes: Tribes = field(factory=Tribes)


@frozen
class Found:
    """One message that an OCE had for us, as a mail.

    `key` makes a repeat recognisable, `msg_key` is what the OCE calls it (empty: it cannot be acknowledged). `member`
    is for whom it is, `sender` empty for mail that nobody may answer by itself. `fault` says why it could not be read;
    then the mail is a report of that.
    """

    mail: bytes = field(repr=False)
    sender: str
    member: str
    msg_key: str
    key: str
    fault: str = ""


@frozen
class Opened:
    """An answer; of a pull with what was in it."""

    answer: Answer
    found: tuple[Found, ...] = ()


Task = Write | Examine | Open
Result = bytes | Reply | Opened | None


def perform(task: Task) -> Result:
    """Do a task. Raises BadAnswer, for Open only."""
    match task:
        case Write():
            try:
                return text(load(task.content), task.letter, task.tribes)
            except CannotConvert as error:
                return error.reply
        case Examine():
            return examine(task.content)
        case Open():
            return opened(task)


def octets_of(task: Task) -> bytes:
    """What the task works on."""
    return task.body if isinstance(task, Open) else task.content


def with_octets(task: Task, octets: bytes) -> Task:
    """The task with other octets to work on."""
    return evolve(task, body=octets) if isinstance(task, Open) else evolve(task, content=octets)


def text(cargo: Cargo, letter: Letter, tribes: Tribes) -> bytes:
    """The JSON text of a converted mail for one recipient. Raises CannotConvert."""
    octets = strictjson.write(usds.write(to_usds(cargo, letter.source, letter.dest, letter.msg_key, tribes)))
    if len(octets) > LARGEST:
        raise CannotConvert(Reply(552, "5.3.4", f"The mail has {len(octets)} octets as the OCE wants it, at most "
                                                f"{LARGEST} can be sent"))
    return octets


def examine(content: bytes) -> Reply | None:
    """Why a mail cannot be converted; a small one can be too intricate, but not too large."""
    try:
        if len(content) <= LARGE:
            parse(content)
        else:
            text(load(content), _ANYBODY, _NO_TRIBES)
    except TooIntricate as error:
        return too_intricate(error).reply
    except CannotConvert as error:
        return error.reply
    return None


_ANYBODY = Letter(Source(), Dest(), "")
_NO_TRIBES = Tribes()
_DAEMON = "mailer-daemon"


# --- an answer --------------------------------------------------------------------------------------------------------


def opened(task: Open) -> Opened:
    """Read an answer. Raises BadAnswer."""
    try:
        answer = read_answer(strictjson.read(task.body))
        values = calls.items(answer)[:task.limit] if task.limit and answer.succeeded else []
    except (BadJSON, USDSError) as error:
        raise BadAnswer(str(error)) from None
    return Opened(answer, tuple(_found(each, task) for each in values))


def _found(values: Mapping[str, Json], task: Open) -> Found:
    try:
        message = usds.read(values)
        sender = sender_of(message, task.tribes)
        name = message.dest.member if message.dest is not None else ""
        mailbox = name if "@" in name else f"{name or 'unknown'}@oce"
        mail = to_mail(message, Arrival(mailbox, task.date), task.tribes)
    except USDSError as error:
        return _unreadable(values, str(error), task.date)
    except Exception as error:  # a fault of ours, which must not keep other messages from coming
        return _unreadable(values, f"a fault of mailbridge itself: {type(error).__name__}", task.date)
    msg_key = _msg_key(values)
    automatic = sender.local.casefold() == _DAEMON  # nobody to answer
    key = f"{message.source.oce.casefold()}:{msg_key or _digest(values)}"
    return Found(mail, "" if automatic else sender.text, name, msg_key, key)


def _unreadable(values: Mapping[str, Json], fault: str, date: str) -> Found:
    words = ("The OCE gave this bridge a message that cannot be read:\n\n"
             f"    {fault}\n\nIt is attached as it came.\n")
    part = writing.attachment(strictjson.write(values), "application/json", "message.json")
    mail = writing.message([("From", "MAILER-DAEMON"), ("Date", date),
                            ("Subject", "A message from the OCE that cannot be read")],
                           writing.multipart("mixed", [writing.text_part(words), part]))
    return Found(mail, "", "", _msg_key(values), f"?:{_digest(values)}", fault)


def _msg_key(values: Mapping[str, Json]) -> str:
    """The key to acknowledge a message by, as the OCE wrote it."""
    for name, value in values.items():
        if name.strip() == "MsgKey" and isinstance(value, str | int) and not isinstance(value, bool):
            key = str(value)
            return key if len(key) <= OTHER else ""
    return ""


def _digest(values: Mapping[str, Json]) -> str:
    return sha256(strictjson.write(values)).hexdigest()
