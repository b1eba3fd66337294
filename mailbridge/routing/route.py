"""Where one recipient's mail goes: the values the router answers with."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from mailbridge.reply import Reply

MAILDROP = "maildrop"
REFUSE = "refuse"
RELAY = "relay:"
APPLICATION = "application:"


@frozen
class Route:
    """One way for one recipient. `target` is `maildrop`, `relay:NAME` and so on; `user` is the owner of the maildrop.

    `destination` names the lane beside the target (a relay's domain, an application's folder); empty for a maildrop.
    """

    target: str
    user: int | None = None
    destination: str = ""


class Lanes(Enum):
    """What a relay's lanes are: one for all, one for each domain of recipients, or one for each domain of senders."""

    ONE = "one"
    RECIPIENT = "recipient"
    SENDER = "sender"


@frozen
class WayOut:
    """A relay as the router knows it. The `default` one takes mail for domains that are nobody's here."""

    target: str
    lanes: Lanes = Lanes.ONE
    default: bool = False


Resolution = tuple[Route, ...] | Reply
