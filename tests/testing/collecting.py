"""One collection from a hostile POP3 server, in memory: list, retrieve, delete, quit, with a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from mailbridge.edge.pop3_client import Connection
from mailbridge.edge.upstream import Upstream, open_upstream
from mailbridge.edge.upstreamsession import UpstreamSession
from mailbridge.pop3.failure import UpstreamError
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin
from mailbridge.testing.acting import Script
from mailbridge.testing.hostile_pop3 import HostilePOP3Factory
from mailbridge.testing.network import Network

SERVER = ("hostile.example", 110)
PASSWORD = "Tr0ub4dor&3-secret"
LIMIT = 1024 * 1024


def fixed_random(octets: int) -> bytes:
    """Not random."""
    return b"r" * octets


class Collection:
    """`outcome` is the first error that ended it, or None at the end of a good session. `got` has messages by number,
    `refused` what single messages met."""

    def __init__(self, script: Script, tls: str = "off", login: UpstreamLogin | None = None, **limits: Any) -> None:
        self.network = Network()
        self.server = HostilePOP3Factory(self.network, script)
        self.network.servers[SERVER] = self.server
        self.got: dict[int, bytes] = {}
        self.octets = 0
        self.keep = LIMIT // 10
        self.refused: dict[str, UpstreamError] = {}
        self.sizes: dict[int, int] = {}
        self.uids: dict[int, str] | None = None
        self.lines: list[str] = []
        self.session: UpstreamSession | None = None
        self.outcomes: list[Any] = []
        self.deferred = open_upstream(
            self.network, Upstream(*SERVER, tls), login or UpstreamLogin("bonnie", PASSWORD, in_clear=True),
            fixed_random, UpstreamLimits(**{"message_size": LIMIT, **limits}), self.lines.append,
        ).addCallback(lambda session: Deferred.fromCoroutine(self._all_of(session)))
        self.deferred.addBoth(self.outcomes.append)

    async def _all_of(self, session: UpstreamSession) -> None:
        self.session = session
        try:
            await self._collect(session)
        finally:
            session.abort()

    async def _collect(self, session: UpstreamSession) -> None:
        count, _ = await session.stat()
        self.sizes = dict(await session.list())
        uids = await session.uidl()
        self.uids = None if uids is None else dict(uids)
        numbers = range(1, min(count, 100) + 1)
        await self._all({f"RETR {number}": session.retrieve(number, self._writer(number)) for number in numbers})
        good = [number for number in numbers if f"RETR {number}" not in self.refused]
        await self._all({f"DELE {number}": session.delete(number) for number in good})
        await session.quit()

    def _writer(self, number: int) -> Callable[[bytes], None]:
        def write(octets: bytes) -> None:
            self.octets += len(octets)
            self.got[number] = (self.got.get(number, b"") + octets)[:self.keep]

        self.got[number] = b""
        return write

    async def _all(self, asked: dict[str, Deferred[Any]]) -> None:
        found = await DeferredList(list(asked.values()), consumeErrors=True)
        for name, (good, result) in zip(asked, found, strict=True):
            if good:
                continue
            if not isinstance(result.value, UpstreamError) or self.session is None or not self.session.usable:
                result.raiseException()
            self.refused[name] = result.value

    def wait(self, seconds: float) -> None:
        """Let at most `seconds` pass."""
        while not self.outcomes and seconds > 0:
            self.network.advance(1.0)
            seconds -= 1

    @property
    def outcome(self) -> Exception | None:
        """What it came to."""
        assert len(self.outcomes) == 1, self.outcomes
        found = self.outcomes[0]
        return found.value if isinstance(found, Failure) else found

    @property
    def client(self) -> Connection:
        """The client's connection."""
        found = self.network.ends[-1][0].protocol
        return found if isinstance(found, Connection) else found._wrappedProtocol

    @property
    def left(self) -> list[Any]:
        """Delayed calls that are not the server's."""
        return [call for call in self.network.getDelayedCalls() if "HostilePOP3" not in repr(call.func)]

    def texts(self) -> str:
        """Everything that somebody might read."""
        shown = [repr(self.outcome), str(self.outcome), *self.lines, *map(repr, self.refused.values())]
        failure = self.outcomes[0]
        if isinstance(failure, Failure):
            shown += [failure.getTraceback(), failure.getErrorMessage(), repr(vars(failure.value))]
        return "\n".join(shown)
