"""A client and a collector on a memory store, an exchange that answers from a script, and time by Clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from mailbridge.errors import StoreError
from mailbridge.oce import strictjson
from mailbridge.oce.client import APP_KEY, Identity, OCEClient
from mailbridge.oce.collector import Collector, Recipients
from mailbridge.oce.tasks import Result, Task, perform
from mailbridge.oce.tribes import Tribes
from mailbridge.store.changes import AddUser, Credentials, Remember, User
from mailbridge.store.memory import MemoryStore

KEY = "41T3007T8+HLKMQNOWQSUSH9A7-OI?!QCR56"
NOTHING = {"RespCount": 1, "MsgNum": 5, "MsgId": "NULLSET", "Mesg": "No data found"}
DONE = {"respCount": 1, "MsgNum": "7", "MsgId": "REQPROC", "Mesg": []}
RECEIVED = {"RespCount": 1, "MsgNum": 1, "MsgId": "MSGRCVD", "Mesg": "Message received"}
TRIBES = Tribes("AAAA", {"friends": "BBBB"})
NOW = 1_795_258_800.0


def answer(num: int, words: object = "") -> dict[str, Any]:
    """An answer with a code."""
    return {"RespCount": 1, "MsgNum": num, "MsgId": "", "Mesg": words}


def usds(number: int, member: str = "harold", **more: object) -> dict[str, Any]:
    """A message as an OCE hands it out."""
    return {"msgType": "qMsg", "MsgKey": f"{number:064X}", "Source": {"OCE": "BBBB", "Member": "edgar"},
            "Dest": {"Member": member}, "Summary": f"number {number}", "Detail": "Text", **more}


class ScriptedExchange:
    """Answers each request with the next of `answers` (values, octets, an exception, None for never, or a function of
    the request), and nothing found when there is none left. `sent` has the requests."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.sent: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.running: list[Deferred[bytes]] = []
        self.clock: Clock | None = None

    def exchange(self, octets: bytes, headers: Mapping[str, str] | None = None) -> Deferred[bytes]:
        """See IExchange."""
        said = json.loads(octets)
        self.sent.append(said)
        self.times.append(self.clock.seconds() if self.clock is not None else 0.0)
        found = self.answers.pop(0) if self.answers else NOTHING
        if callable(found):
            found = found(said)
        if found is None:
            self.running.append(Deferred())
            return self.running[-1]
        if isinstance(found, Exception):
            return fail(found)
        return succeed(found if isinstance(found, bytes) else strictjson.write(found))

    @property
    def functions(self) -> list[str]:
        """The function of each call, `qMsg` for a message."""
        return [json.loads(each["Adjunct"]["Data"])["Func"] if each["msgType"] == "oceOp" else each["msgType"]
                for each in self.sent]

    def arguments(self, number: int) -> dict[str, Any]:
        """The arguments of a call."""
        found: dict[str, Any] = json.loads(self.sent[number]["Adjunct"]["Data"])
        return found


def aside(task: Task) -> Deferred[Result]:
    """Does a task here."""
    return maybeDeferred(perform, task)


class OCEWorld:
    """`harold` and `postmaster` are users; `interval` is the OCE's request interval."""

    def __init__(self, interval: float = 0.0, registered: bool = True, poll: float = 300.0) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store: Any = MemoryStore(self.clock)
        self.exchange = ScriptedExchange()
        self.exchange.clock = self.clock
        self.users = {name: self._user(name) for name in ("harold", "postmaster")}
        if registered:
            self.result(self.store.commit(Remember(APP_KEY, KEY)))
        self.tasks: list[Task] = []
        self.client = OCEClient(Identity("Harold", interval=interval), self.exchange, self.store, self.clock,
                                self._aside)
        recipients = Recipients(lambda name: self.users.get(name.casefold()), lambda: self.users.get("postmaster"))
        self._numbers = 0
        self.collector = Collector(self.client, self.store, recipients, lambda: TRIBES, "bridge.example.org",
                                   self.clock, self._random, poll)

    def _user(self, name: str) -> User:
        (number,) = self.result(self.store.commit(AddUser(name, Credentials("", ""))))
        return User(number, name, Credentials("", ""))

    def _random(self, size: int) -> bytes:
        self._numbers += 1
        return self._numbers.to_bytes(size, "big")

    def _aside(self, task: Task) -> Deferred[Result]:
        self.tasks.append(task)
        return aside(task)

    def result(self, waiting: Deferred[Any]) -> Any:
        """What a Deferred fired with; raises what it failed with."""
        found: list[Any] = []
        waiting.addBoth(found.append)
        if not found:
            raise AssertionError("it has not fired")
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]

    def call(self, coroutine: Any) -> Any:
        """What a coroutine returns at once."""
        return self.result(Deferred.fromCoroutine(coroutine))

    def mails(self, name: str) -> list[bytes]:
        """What lies in a maildrop."""
        snapshot = self.result(self.store.snapshot(self.users[name].id))
        return [self.store.messages([uid])[uid].content.octets for uid in snapshot.uids]


def failing(store: Any, fault: StoreError, times: int = 1) -> Callable[..., Any]:
    """A commit that fails a few times, then works."""
    commit = store.commit
    left = [times]

    def attempt(*changes: object) -> Any:
        if left[0]:
            left[0] -= 1
            return fail(fault)
        return commit(*changes)

    return attempt
