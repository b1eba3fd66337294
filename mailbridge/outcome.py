"""What became of one delivery attempt, one recipient: delivered, failed for now, failed for good.

An outcome is about one recipient; a target returns one for each (see `interfaces.ITarget`).
"""

from __future__ import annotations

from attrs import frozen

from mailbridge.reply import Reply


@frozen
class Delivered:
    """The next system has taken the message; `detail` is its own word (a reply, a file name).

    `server` names the system. `final`: it lies in the recipient's own mailbox. `took_wishes`: the system was told what
    the sender wants to hear and sends that notice itself (RFC 3461 5.2.2). `changes` (of `store.changes`) are committed
    with the end of the delivery: both are true or neither.
    """

    detail: str = ""
    server: str = ""
    final: bool = False
    took_wishes: bool = False
    changes: tuple[object, ...] = ()


@frozen
class TransientFailure:
    """Not delivered; trying again later may help. Unknown failures are of this kind (DESIGN invariant 7).

    `unreachable` says that the whole destination cannot be used just now, whatever the message: its lane waits as one.
    `server` names the system whose word `reply` is; empty when it is our own.
    """

    reply: Reply
    detail: str = ""
    unreachable: bool = False
    server: str = ""


@frozen
class PermanentFailure:
    """Not delivered, and repeating it will not help. `server` as for TransientFailure."""

    reply: Reply
    detail: str = ""
    server: str = ""


@frozen
class RouteFailure:
    """A fault of our own side (a refused login, a certificate): the route pauses with an alarm and nothing bounces."""

    reason: str


Outcome = Delivered | TransientFailure | PermanentFailure | RouteFailure
