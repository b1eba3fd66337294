"""The operator's commands about the OCE: registration, how it stands, going on after a KILL, approvals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from attrs import asdict

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.plain import plain
from mailbridge.errors import MailbridgeError
from mailbridge.interfaces import IStore
from mailbridge.oce.calls import Answer
from mailbridge.oce.client import Stopped
from mailbridge.oce.embedded.deeds import Refused
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.pullinfo import PullInfo
from mailbridge.routing.route import OCE

Record = dict[str, Any]
_NONE = "there is no [oce] in the configuration"


class OCESide(Protocol):
    """What is asked of the bridge's side of the OCE (`mailbridge.ocebridge`)."""

    embedded: EmbeddedOCE | None

    async def register(self, member: str, password: str) -> Answer:
        """Raises ExchangeError, Stopped, Refused."""

    def pullinfo(self, waiting: int) -> PullInfo:
        """How it stands."""

    def release(self) -> bool:
        """Whether there was a KILL."""


class OCEOperations:
    """`oce()` is None where there is no OCE."""

    def __init__(self, store: IStore, oce: Callable[[], OCESide | None]) -> None:
        self._store = store
        self._oce = oce

    async def register(self, arguments: Arguments) -> Record:
        """`oce register`: `member` and his `password`."""
        member, password = arguments.text("member"), arguments.text("password")
        arguments.end()
        try:
            answer = await self._needed().register(member, password)
        except Refused as refused:
            answer = refused.answer
        except (ExchangeError, Stopped) as error:
            raise OperationError(Kind.FAILED, str(error)) from None
        if not answer.succeeded:
            raise OperationError(Kind.FAILED, f"the OCE refused: {plain(str(answer), 300)}")
        return {"answer": plain(str(answer), 300)}

    async def pullinfo(self, arguments: Arguments) -> Record:
        """`oce pullinfo`: how the bridge and its OCE stand."""
        arguments.end()
        waiting = sum(lane.waiting for lane in await self._store.lanes() if lane.target == OCE)
        info = self._needed().pullinfo(waiting)
        return {**info.values(), "lines": info.lines()}

    async def release(self, arguments: Arguments) -> Record:
        """`oce release`: go on after the OCE told us to stop."""
        arguments.end()
        return {"released": self._needed().release()}

    async def applications(self, arguments: Arguments) -> Record:
        """`oce applications`: those of the embedded OCE, and who asked to become a member."""
        arguments.end()
        oce = self._own()
        requests = {login: json.loads(text) for login, text in (await oce.requests()).items()}
        return {"applications": [_shown(each) for each in oce.registry.all], "requests": requests}

    async def approve(self, arguments: Arguments) -> Record:
        """`oce approve`: `name` of an application, and `approved`, false to take it back."""
        name, approved = arguments.text("name"), arguments.optional_flag("approved") is not False
        arguments.end()
        try:
            found = await self._own().approve(name, approved)
        except MailbridgeError as error:
            raise OperationError(Kind.FAILED, str(error)) from None
        if not found:
            raise OperationError(Kind.CONFLICT, f"there is no application {plain(name, 80)!r}; `mailbridge oce "
                                                "applications` shows all")
        return {"applications": [_shown(each) for each in found]}

    def _needed(self) -> OCESide:
        oce = self._oce()
        if oce is None:
            raise OperationError(Kind.CONFLICT, _NONE)
        return oce

    def _own(self) -> EmbeddedOCE:
        oce = self._needed().embedded
        if oce is None:
            raise OperationError(Kind.CONFLICT, "the OCE is another program: approve applications there")
        return oce


def _shown(application: Any) -> Record:
    record = asdict(application)
    del record["digest"]
    return record
