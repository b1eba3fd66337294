"""The message that a job is made of: the one that came, or one that is attached to it."""

from __future__ import annotations

from attrs import field, frozen

from mailbridge import reply
from mailbridge.application.refused import JobRefused
from mailbridge.message.mime import Entity, TooIntricate, parse

_ATTACHED = "message/rfc822"


@frozen
class Source:
    """`envelope` is the message as it came, whose To and Cc name the recipient; all else is of `message`.

    `octets` are those of `message`.
    """

    envelope: Entity
    message: Entity
    octets: bytes = field(repr=False)

    @classmethod
    def of(cls, content: bytes, attached: bool) -> Source:
        """Read `content`. With `attached` the first message in it counts, if there is one. Raises JobRefused."""
        try:
            outer = parse(content)
            part = next((part for part in outer.walk() if part.type == _ATTACHED), None) if attached else None
            if part is None:
                return cls(outer, outer, content)
            octets = part.octets()
            return cls(outer, part.parts[0] if part.parts else parse(octets), octets)
        except TooIntricate:
            raise JobRefused(reply.TOO_INTRICATE) from None
