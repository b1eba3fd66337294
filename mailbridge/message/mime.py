"""A whole message, read: `parse` makes a tree of entities of its octets (RFC 2045, RFC 2046, RFC 2047, RFC 2231).

For everything that looks into mail. Nothing is decoded before it is asked for, and no body copied.
Bounded, for the message may come from an enemy: parts, depth, the length of a header; more is TooIntricate, and nothing
else is raised. Line ends may be CR LF or LF. `parts.walk` is for those who must hand on every octet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import field, frozen

from mailbridge.message.charsets import text_of
from mailbridge.message.decoding import clean, decoded_value, decoded_words
from mailbridge.message.mailboxes import named_mailboxes
from mailbridge.message.parts import TooIntricate
from mailbridge.message.transfer import decoded
from mailbridge.message.tree import Tree

__all__ = ["Entity", "TooIntricate", "parse"]

MOST_MAILBOXES = 1000


@frozen(eq=False)
class Entity:
    """One part of a message, or the message.

    `header` has (lower-case name, raw value without folding) of each field. `type` is `text/plain` and such, in lower
    case; `parameters` its parameters, decoded, by lower-case name. `disposition` is "", "inline" or "attachment".
    `filename` is what the sender says: show it, never use it as a path. `encoding` is the lower-case word of
    Content-Transfer-Encoding. `parts` are those of a multipart, or the one message in a message/rfc822.
    """

    header: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    type: str
    parameters: Mapping[str, str] = field(repr=False)
    disposition: str
    filename: str | None = field(repr=False)
    encoding: str
    parts: tuple[Entity, ...]
    _whole: bytes = field(repr=False)
    _start: int
    _end: int

    @property
    def body(self) -> bytes:
        """The octets after the header, encoded as they came, without the line end that belongs to a boundary."""
        return self._whole[self._start:self._end]

    @property
    def size(self) -> int:
        """How many octets `body` has."""
        return self._end - self._start

    def octets(self) -> bytes:
        """The body with its transfer encoding taken off; what is broken is read as far as it goes."""
        return decoded(self.body, self.encoding)

    def text(self) -> str:
        """`octets` by the charset, U+FFFD for what cannot be read, with newlines only as line ends."""
        text = text_of(self.octets(), self.parameters.get("charset", ""))
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    def value(self, name: bytes | str) -> str:
        """The first field of that name as people read it, in one line; "" when there is none."""
        raw = self._raw(name)
        return decoded_value(raw, self.parameters.get("charset", "")) if raw else ""

    def mailbox(self, name: bytes | str) -> tuple[str, str] | None:
        """(display name, address) of the first mailbox of an address field; None when it is none that is certain."""
        return next(self._mailboxes(name), None)

    def mailboxes(self, name: bytes | str) -> list[tuple[str, str]]:
        """(display name, address) of the mailboxes of the first field of that name, at most 1,000; broken ones not."""
        found = []
        for number, pair in enumerate(self._mailboxes(name)):
            if number >= MOST_MAILBOXES:
                break
            if pair is not None:
                found.append(pair)
        return found

    def walk(self) -> Iterator[Entity]:
        """This entity and all below it, each before its parts."""
        waiting = [self]
        while waiting:
            entity = waiting.pop()
            yield entity
            waiting.extend(reversed(entity.parts))

    def _raw(self, name: bytes | str) -> bytes:
        wanted = (name if isinstance(name, bytes) else name.encode("ascii", "replace")).lower()
        for found, value in self.header:
            if found == wanted:
                return value
        return b""

    def _mailboxes(self, name: bytes | str) -> Iterator[tuple[str, str] | None]:
        raw = self._raw(name)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = text_of(raw, self.parameters.get("charset", ""))
        for found in named_mailboxes(text):
            yield None if found is None else (clean(decoded_words(found[0])), found[1].text)


def parse(octets: bytes) -> Entity:
    """The tree of a message. Raises TooIntricate for more than 1,000 parts, 50 levels or a header above 256 KiB."""
    entities: dict[int, Entity] = {}
    nodes = Tree(octets).nodes
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        head = node.head
        parts = tuple([entities.pop(child) for child in node.children])
        entities[number] = Entity(head.header, head.type, head.parameters, head.disposition, head.filename,
                                  head.encoding, parts, octets, node.start, node.end)
    return entities[0]
