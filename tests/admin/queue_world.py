"""A queue in memory with some mail in it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailbridge.address import NULL, parse_mailbox
from mailbridge.admin.operations import Operations
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.routing.directory import Directory
from mailbridge.routing.table import Table
from mailbridge.store.changes import Accept, LaneState, Queued, SetLane
from mailbridge.store.memory import MemoryStore

NOW = 1_000_000.0
MESSAGE = b"Subject: \x1b[31mred\r\nTo: a@b\r\n\r\nbody\r\n"


class QueueWorld:
    """Operations on a MemoryStore."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore(self.clock)
        directory = Directory(["example.org"])
        self.operations = Operations(self.store, directory, Table([], directory), None,  # type: ignore[arg-type]
                                     self.clock.seconds, lambda listener, client: False, lambda: 1)

    async def ask(self, command: str, arguments: dict[str, Any]) -> Any:
        """As `cli.connect.Ask`."""
        return await self.operations.run(command, arguments)

    def done(self, deferred: Deferred[Any]) -> Any:
        """The result of what has fired."""
        results: list[Any] = []
        deferred.addCallback(results.append)
        (result,) = results
        return result

    def accept(self, queue_id: str, sender: str, *ways: tuple[str, str, str], message: bytes = MESSAGE) -> None:
        """A message with a delivery for each way: (recipient, target, destination)."""
        origin = Origin("smtp[0]", "10.0.0.1", "pc", None, None, self.clock.seconds(), "ESMTP")
        recipients = tuple(parse_mailbox(way[0].encode()) for way in ways)
        envelope = Envelope(queue_id, parse_mailbox(sender.encode()) if sender else NULL, recipients, origin,
                            Content.of(message))
        self.done(self.store.commit(Accept(envelope, (), tuple(Queued(*way, self.clock.seconds()) for way in ways))))

    def some(self) -> None:
        """Three messages with four deliveries in three lanes, a minute apart."""
        self.accept("aaaa", "bonnie@example.org", ("x@one.example", "relay:office", ""),
                    ("y@two.example", "relay:office", ""))
        self.clock.advance(60)
        self.accept("bbbb", "", ("clyde@one.example", "relay:mx", "one.example"))
        self.clock.advance(60)
        self.accept("cccc", "clyde@example.org", ("x@two.example", "relay:mx", "two.example"))

    def set_lane(self, target: str, state: LaneState, reason: str) -> None:
        """Set every lane of a target."""
        for lane in self.done(self.store.lanes()):
            if lane.target == target:
                self.done(self.store.commit(SetLane(lane.id, state, reason)))
