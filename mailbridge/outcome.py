"""What became of one delivery attempt, one recipient: delivered, failed for now, failed for good.

An outcome is about one recipient; a target returns one for each (see `interfaces.ITarget`).
"""

from __future__ import annotations

from attrs import frozen

from mailbridge.reply import Reply


@frozen
class Delivered:
    """The next system has taken the message; `detail` is its own word (a reply, a file name)."""

    detail: str = ""


@frozen
class TransientFailure:
    """Not delivered; trying again later may help. Unknown failures are of this kind (DESIGN invariant 7)."""

    reply: Reply
    detail: str = ""


@frozen
class PermanentFailure:
    """Not delivered, and repeating it will not help."""

    reply: Reply
    detail: str = ""


@frozen
class RouteFailure:
    """A fault of our own side (a refused login, a certificate): the route pauses with an alarm and nothing bounces."""

    reason: str


Outcome = Delivered | TransientFailure | PermanentFailure | RouteFailure
