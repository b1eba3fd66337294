"""The applications of the tribe: who registered what, by which key it is known, whether it was approved.

Of a key only the SHA-256 is kept. An application is the same when the same member registers the same AppId again: it
keeps its queue and its approval and gets a new key. Pure; what is kept in the store is `Application.text`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

from attrs import asdict, field, frozen

DEFAULT = "Default"
"""The pseudo member whose values count for whoever has none of his own."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-?!:.*="
KEY_OCTETS = 36


@frozen
class Application:
    """One registered application. `values` are its settings by member and field, `digest` stands for its key."""

    number: int
    app_id: str
    name: str
    member: str
    digest: str = field(repr=False)
    approved: bool = False
    multiuser: bool = True
    values: Mapping[str, Mapping[str, str]] = field(factory=dict)

    @property
    def queue(self) -> str:
        """What its queue is called."""
        return f"{self.app_id}/{self.member}"

    def serves(self, member: str) -> bool:
        """Whether it takes messages of that member and brings him his."""
        return self.multiuser or self.member == member

    def text(self) -> str:
        """As the store keeps it."""
        return json.dumps(asdict(self))


def parse(text: str) -> Application:
    """What `text` wrote."""
    return Application(**json.loads(text))


def new_key(octets: bytes) -> str:
    """An AppKey of 36 characters out of as many random octets, as the wiki shows them: no hexadecimal number."""
    return "".join(_ALPHABET[octet % len(_ALPHABET)] for octet in octets[:KEY_OCTETS])


def digest(app_key: str) -> str:
    """What is kept of an AppKey. It is random enough that nobody finds it by trying."""
    return sha256(app_key.encode("utf-8")).hexdigest()


class Registry:
    """The applications, by key and by name."""

    def __init__(self, applications: Iterable[Application] = ()) -> None:
        self._numbers: dict[int, Application] = {}
        self._digests: dict[str, Application] = {}
        for application in applications:
            self.put(application)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def all(self) -> tuple[Application, ...]:
        """All of them, in the order of their first registration."""
        return tuple(self._numbers[number] for number in sorted(self._numbers))

    def put(self, application: Application) -> None:
        """Take a new one, or a new state of one."""
        before = self._numbers.get(application.number)
        if before is not None:
            self._digests.pop(before.digest, None)
        self._numbers[application.number] = application
        self._digests[application.digest] = application

    def remove(self, application: Application) -> None:
        """Forget one."""
        self._numbers.pop(application.number, None)
        self._digests.pop(application.digest, None)

    def by_key(self, app_key: str) -> Application | None:
        """The one with this key."""
        return self._digests.get(digest(app_key))

    def find(self, member: str, app_id: str) -> Application | None:
        """The one that a member registered under an AppId."""
        return next((each for each in self.all if (each.member, each.app_id) == (member, app_id)), None)

    def named(self, name: str) -> tuple[Application, ...]:
        """Those that an operator means: by number, by AppId, or as `AppId/member`."""
        return tuple(each for each in self.all if name in (str(each.number), each.app_id, each.queue))

    def receiving(self, app_id: str, member: str) -> Application | None:
        """The application that brings a member what the application `app_id` sent (reference 4.1).

        The same application if there is one, else one of the same group, else any; of several his own before those of
        others, approved ones first. One that is not approved is given when there is no other.
        """
        group = app_id.partition(":")[0] if ":" in app_id else None
        found = [each for each in self.all if each.serves(member)]
        return min(found, default=None, key=lambda each: (
            not each.approved, each.app_id != app_id, each.app_id.partition(":")[0] != group, each.member != member,
        ))
