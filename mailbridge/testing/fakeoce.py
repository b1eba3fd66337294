"""An OCE for tests: the embedded one, with knobs to make it fail and to look into it.

The knobs are those of the reference (oce-usds.md 8, item 8). It lives in any store, best `store.memory.MemoryStore`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailbridge.errors import MailbridgeError
from mailbridge.interfaces import IStore
from mailbridge.oce import codes, strictjson, usds
from mailbridge.oce.calls import Answer, write_answer
from mailbridge.oce.embedded.deeds import Copy, Refused
from mailbridge.oce.embedded.federation import Peering
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.embedded.registry import Application
from mailbridge.oce.embedded.sender import Request
from mailbridge.oce.embedded.settings import OCESettings
from mailbridge.oce.embedded.site import Channel, HTTPRequest, OCEFactory
from mailbridge.oce.embedded.tribe import understand
from mailbridge.oce.usds import USDS
from mailbridge.routing.directory import Directory
from mailbridge.store.changes import Credentials, People, User

Failure = int | str
"""An OSA code below 1 (`-13`), an HTTP status (`503`), `drop` (close without an answer), `drop after` (do it, then
close), `hang` (never answer) or `garbage` (answer no JSON)."""


class _KnownPasswords:
    """Passwords of a dictionary."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._passwords = passwords

    async def check(self, member: str, password: str, peer: str) -> None:
        """See `passwords.Passwords`."""
        if self._passwords.get(member) != password:
            raise Refused("INVPASS")


class FakeOCE:
    """An OCE with these `members` and their passwords. Listen with `factory`; `reactor` may be a Clock.

    `heard` are the messages that came, as they were understood.
    """

    def __init__(self, reactor: Any, store: IStore, members: dict[str, str], settings: OCESettings | None = None,
                 key: str = "FA" * 32, wiki: bool = False, peerings: Mapping[str, Peering] | None = None) -> None:
        directory = Directory(["oce"])
        directory.replace(People(
            tuple(User(number, name, Credentials("", "")) for number, name in enumerate(members, 1)), ()))
        self.heard: list[USDS] = []
        self._failures: deque[Failure] = deque()
        self._count = 0
        passwords: Any = _KnownPasswords(members)
        self.oce = EmbeddedOCE(store, directory, passwords, reactor, settings or OCESettings(),
                               peerings or {}, self._random, lambda: 0.5, key, wiki=wiki)
        self.factory = _FakeFactory(self, reactor)

    def start(self) -> Deferred[None]:
        """Read what the store holds."""
        return self.oce.start()

    def stop(self) -> Deferred[Any]:
        """End it."""
        return self.oce.stop()

    def fail_next(self, *failures: Failure) -> None:
        """The next requests fail like that, one each."""
        self._failures.extend(failures)

    def approve(self, name: str) -> Deferred[tuple[Application, ...]]:
        """Approve an application."""
        return self.oce.approve(name)

    async def deliver(self, message: USDS, octets: bytes | None = None) -> None:
        """Let a message for a member here wait, as if it came from the tribe in its Source.OCE.

        With `octets` it waits as those, whatever they say.
        """
        assert self.oce.tribe is not None
        judged = self.oce.tribe.judge(message, self.oce.tribe.claimed(message.source))
        copies: tuple[Copy, ...] = getattr(judged, "copies", ())
        if not copies:
            raise MailbridgeError(f"not delivered: {judged}")
        written = [(copy, octets or strictjson.write(usds.write(copy.message))) for copy in copies]
        await self.oce.mailboxes.put(written, "")

    def next_failure(self, request: Request) -> Failure | None:
        """What becomes of this request; None when it is served."""
        message = understand(request.body)
        if isinstance(message, USDS):
            self.heard.append(message)
        return self._failures.popleft() if self._failures else None

    def _random(self, size: int) -> bytes:
        """Octets that are never the same and in every test equal."""
        self._count += 1
        return self._count.to_bytes(size, "big")


class _FakeChannel(Channel):
    """A connection that fails as it is told to."""

    factory: _FakeFactory
    _log = Logger()

    def serve(self, request: HTTPRequest, body: bytes) -> None:
        """Fail, or serve."""
        failure = self.factory.fake.next_failure(Request(body))
        if failure is None:
            super().serve(request, body)
        elif failure == "hang":
            self.deadline = float("inf")
        elif failure == "drop":
            self.transport.abortConnection()
        elif failure == "drop after":
            done = self.factory.answer(Request(body, self.peer))
            done.addBoth(lambda _: self.transport.abortConnection())
        elif failure == "garbage":
            request.respond(b"\0garbage")
        elif isinstance(failure, int) and failure >= 100:
            request.setResponseCode(failure)
            request.respond(b"{}")
        else:
            answer = Answer(int(failure), codes.described(int(failure)).id)
            request.respond(strictjson.write(write_answer(answer, self.factory.fake.oce.wiki)))


class _FakeFactory(OCEFactory):
    """Makes such connections."""

    protocol = _FakeChannel

    def __init__(self, fake: FakeOCE, reactor: Any) -> None:
        super().__init__(fake.oce.answer, fake.oce.settings, reactor)
        self.fake = fake

