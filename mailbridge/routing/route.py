"""Where one recipient's mail goes: the values the router answers with."""

from __future__ import annotations

from attrs import frozen

from mailbridge.reply import Reply

MAILDROP = "maildrop"
REFUSE = "refuse"


@frozen
class Route:
    """One way for one recipient. `target` is `maildrop`, `relay:NAME` and so on; `user` is the owner of the maildrop.

    `destination` names the lane beside the target (a relay's domain, an application's folder); empty for a maildrop.
    """

    target: str
    user: int | None = None
    destination: str = ""


Resolution = tuple[Route, ...] | Reply
