"""What the embedded OCE has to do before it can answer: plain values, made by `tribe`, done by `engine`."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from mailbridge.errors import MailbridgeError
from mailbridge.oce.calls import Answer
from mailbridge.oce.codes import CODES
from mailbridge.oce.embedded.registry import Application
from mailbridge.oce.usds import USDS
from mailbridge.routing.route import USDS_LANES

APPLICATION_LANE = USDS_LANES + "application"
"""Lanes of what waits for applications; the destination is `Application.queue`."""
TRIBE_LANE = USDS_LANES + "tribe"
"""Lanes of what is to go on to other tribes; the destination is the tribe's name here."""

_NUMBERS = {code.id: number for number, code in CODES.items()}


class Refused(MailbridgeError):
    """The answer is a code below zero."""

    def __init__(self, id: str, words: str = "") -> None:
        self.answer = refusal(id, words)
        super().__init__(str(self.answer))


def refusal(id: str, words: str = "") -> Answer:
    """The answer with a code of the table by its symbol, `INVMBR`; `words` say more."""
    number = _NUMBERS[id]
    text = CODES[number].words
    return Answer(number, id, f"{text}: {words}" if words else text)


@frozen
class Register:
    """Check the password of `member`, then give the application a new key."""

    member: str
    password: str = field(repr=False)
    app_id: str
    name: str
    multiuser: bool
    defaults: Mapping[str, str]


@frozen
class Copy:
    """One message for one recipient: it waits in a lane until it is pulled, or sent on.

    `seen` makes it known when it comes again; None for a message that came without a key. `sender` and `recipient` are
    addresses as the operator knows them.
    """

    message: USDS
    target: str
    destination: str
    sender: str
    recipient: str
    seen: str | None


@frozen
class Send:
    """Store the copies, all or none, then answer that the message was received."""

    copies: tuple[Copy, ...]


@frozen
class Pull:
    """Hand out what waits for an application: at most so many messages."""

    application: Application
    most: int


@frozen
class Acknowledge:
    """These messages have arrived in the application."""

    application: Application
    keys: tuple[str, ...]


@frozen
class AskForMember:
    """Somebody wants to become a member: keep it for the operator. `request` is JSON text, without a password."""

    login: str
    request: str


Deed = Register | Send | Pull | Acknowledge | AskForMember
