"""The message that a job is made of: the one that came, or one that is attached to it."""

from __future__ import annotations

from attrs import field, frozen

from mailbridge import reply
from mailbridge.application.refused import JobRefused
from mailbridge.message.mime import Entity, TooIntricate, parse
from mailbridge.message.text import attached_message


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
            found = attached_message(outer) if attached else None
            return cls(outer, *(found or (outer, content)))
        except TooIntricate:
            raise JobRefused(reply.TOO_INTRICATE) from None
