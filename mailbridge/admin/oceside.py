"""What the operator asks of the bridge's side of the OCE: registration, how it stands, going on after a KILL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.oce import OCEOperations
from mailbridge.admin.plain import plain
from mailbridge.interfaces import IStore
from mailbridge.oce.calls import Answer
from mailbridge.oce.client import Stopped
from mailbridge.oce.embedded.deeds import Refused
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.exchange import ExchangeError
from mailbridge.oce.pullinfo import PullInfo
from mailbridge.routing.route import OCE

Record = dict[str, Any]
_NONE = "no bridge with an [oce] is here: the configuration has none, or it is that of an OCE alone"


class OCESide(Protocol):
    """What is asked of the bridge's side of the OCE (`mailbridge.ocebridge`)."""

    embedded: EmbeddedOCE | None

    async def register(self, member: str, password: str) -> Answer:
        """Raises ExchangeError, Stopped, Refused."""

    def pullinfo(self, waiting: int) -> PullInfo:
        """How it stands."""

    async def release(self) -> bool:
        """Whether there was a KILL."""


class OCESideOperations:
    """`oce()` is None where there is no OCE."""

    def __init__(self, store: IStore, oce: Callable[[], OCESide | None]) -> None:
        self._store = store
        self._oce = oce
        self.commands: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "oce register": self.register,
            "oce pullinfo": self.pullinfo,
            "oce release": self.release,
            **OCEOperations(self.embedded).commands,
        }

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
        return {"released": await self._needed().release()}

    def _needed(self) -> OCESide:
        oce = self._oce()
        if oce is None:
            raise OperationError(Kind.CONFLICT, _NONE)
        return oce

    def embedded(self) -> EmbeddedOCE:
        """The embedded OCE. Raises OperationError where there is none."""
        oce = self._needed().embedded
        if oce is None:
            raise OperationError(Kind.CONFLICT, "the OCE is another program: approve applications there")
        return oce

