"""A bridge in memory that fetches: users bonnie and clyde of example.org, clyde the caretaker."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from mailbridge.fetch.account import Account
from mailbridge.fetch.bridgeway import BridgeWay
from mailbridge.fetch.collection import Collection
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.wayin import Fate, Known
from mailbridge.store.changes import Accept, Remember
from tests.edge.smtp_world import World
from tests.fetch.upstream import Mailbox, account


class BridgeWorld(World):
    """The bridge of the tests of the edge, with a way in for fetched mail. Close it at the end."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.duds = Duds(self.folder, maybeDeferred, self.clock.seconds)
        self.way = BridgeWay(self.intake, self.duds)
        self.fates: list[Fate] = []
        self.commits: list[tuple[object, ...]] = []
        commit = self.store.commit

        def noted(*changes: object) -> Deferred[tuple[object, ...]]:
            return commit(*changes).addCallback(lambda receipts: (self.commits.append(changes), receipts)[1])

        self.store.commit = noted  # type: ignore[method-assign]

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def collection(self, mailbox: Mailbox, **changes: Any) -> Collection:
        """A collection of that mailbox."""
        return Collection(account(mailbox, **changes), mailbox.open, self.way, self.store, self.clock,
                          self.fates.append)

    def collect(self, mailbox: Mailbox, **changes: Any) -> Collection:
        """Collect once; raises what it raises."""
        collection = self.collection(mailbox, **changes)
        self.run(collection)
        return collection

    def run(self, collection: Collection) -> None:
        """Collect again with the same memory."""
        result: list[Any] = []
        Deferred.fromCoroutine(collection.run()).addBoth(result.append)
        assert result, "the collection has not ended"
        if isinstance(result[0], Failure):
            result[0].raiseException()

    def take(self, octets: bytes, of: Account, pieces: int = 1 << 20) -> Fate:
        """One message through the way in, in pieces of so many octets."""
        known = Known("u1", lambda digest: False, lambda digest: Remember("fetch:x:u1", digest))
        taking = self.way.take(of, known)
        for start in range(0, len(octets), pieces):
            taking.write(octets[start:start + pieces])
        result: list[Any] = []
        taking.finish().addBoth(result.append)
        if isinstance(result[0], Failure):
            result[0].raiseException()
        fate: Fate = result[0]
        return fate

    def accepts(self) -> list[Accept]:
        """Every message that was committed."""
        return [change for changes in self.commits for change in changes if isinstance(change, Accept)]

    def dud_file(self) -> bytes:
        """What duds.dat holds."""
        return self.duds.path.read_bytes() if self.duds.path.exists() else b""
