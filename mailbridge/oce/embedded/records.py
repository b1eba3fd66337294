"""What the embedded OCE keeps in the store beside messages: its key, the applications, requests for membership."""

from __future__ import annotations

from collections.abc import Callable

from mailbridge.interfaces import IStore
from mailbridge.oce.embedded.deeds import AskForMember, Refused
from mailbridge.oce.embedded.registry import Application, parse
from mailbridge.store.changes import Allocate, Remember

KEY = "oce:own:key"
APPLICATION = "oce:own:application:"
REQUEST = "oce:own:request:"
COUNTER = "oce:application"
PAGE = 1000
MOST_REQUESTS = 100
_KEY_OCTETS = 32


class Records:
    """`random(n)` gives n octets that cannot be guessed."""

    def __init__(self, store: IStore, random: Callable[[int], bytes]) -> None:
        self._store = store
        self._random = random

    async def key(self) -> str:
        """The key of our OCE, 64 hexadecimal digits; made once."""
        kept = self._store.recall(KEY)
        if kept is None:
            kept = self._random(_KEY_OCTETS).hex().upper()
            await self._store.commit(Remember(KEY, kept))
        return kept

    async def applications(self) -> list[Application]:
        """All that are registered."""
        found: list[Application] = []
        after = ""
        while page := await self._store.remembered(APPLICATION, after, PAGE):
            found += map(parse, page.values())
            after = max(page)
        return found

    async def number(self) -> int:
        """The number of a new application."""
        (number,) = await self._store.commit(Allocate(COUNTER))
        assert isinstance(number, int)
        return number

    async def keep(self, application: Application) -> None:
        """Keep an application as it is now; returns after the commit."""
        await self._store.commit(Remember(f"{APPLICATION}{application.number:08d}", application.text()))

    async def forget(self, application: Application) -> None:
        """Forget an application; returns after the commit."""
        await self._store.commit(Remember(f"{APPLICATION}{application.number:08d}", None))

    async def ask(self, deed: AskForMember) -> None:
        """Keep a request for the operator. Raises Refused when too many wait."""
        key = REQUEST + deed.login
        if self._store.recall(key) is None and len(await self.requests()) >= MOST_REQUESTS:
            raise Refused("PERM", "too many requests wait for the operator")
        await self._store.commit(Remember(key, deed.request))

    async def requests(self) -> dict[str, str]:
        """The requests by login."""
        found = await self._store.remembered(REQUEST, "", PAGE)
        return {key.removeprefix(REQUEST): text for key, text in found.items()}

    async def forget_request(self, login: str) -> None:
        """Forget a request."""
        await self._store.commit(Remember(REQUEST + login, None))
