"""What the operator asks of an embedded OCE: its applications, their approval and values, and who wants to be a member.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError, usage
from mailbridge.oce.embedded.oce import EmbeddedOCE
from mailbridge.oce.embedded.registry import DEFAULT, Application


class OCEOperations:
    """The commands, to be added to those of `admin.operations`."""

    def __init__(self, oce: Callable[[], EmbeddedOCE]) -> None:
        """`oce()` raises OperationError where there is none."""
        self._oce = oce
        self.commands: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "oce applications": self.applications,
            "oce approve": self.approve,
            "oce enrol": self.enrol,
            "oce requests": self.requests,
            "oce forget": self.forget,
        }

    async def applications(self, arguments: Arguments) -> list[dict[str, Any]]:
        """`oce applications`: every application, without its key."""
        arguments.end()
        return [_told(each) for each in self._oce().registry.all]

    async def approve(self, arguments: Arguments) -> list[dict[str, Any]]:
        """`oce approve`: application (number, AppId or AppId/member), approved (default true)."""
        name, approved = arguments.text("application"), arguments.optional_flag("approved")
        arguments.end()
        return _found(name, await self._oce().approve(name, approved is not False))

    async def enrol(self, arguments: Arguments) -> list[dict[str, Any]]:
        """`oce enrol`: application, member (without one: the default), values as `field=value` texts."""
        name, member = arguments.text("application"), arguments.optional_text("member")
        texts = arguments.texts("values")
        arguments.end()
        if not all("=" in text for text in texts):
            raise usage("values must be written as field=value")
        values = {field: value for field, _, value in (text.partition("=") for text in texts)}
        user = self._oce().member(member) if member is not None else None
        if member is not None and user is None:
            raise OperationError(Kind.CONFLICT, f"there is no member {member[:80]!r}")
        return _found(name, await self._oce().enrol(name, DEFAULT if user is None else user.name, values))

    async def requests(self, arguments: Arguments) -> list[dict[str, Any]]:
        """`oce requests`: who asked to become a member. `user add` makes him one."""
        arguments.end()
        return [json.loads(text) for text in (await self._oce().requests()).values()]

    async def forget(self, arguments: Arguments) -> dict[str, Any]:
        """`oce forget`: login of a request that was dealt with."""
        login = arguments.text("login")
        arguments.end()
        await self._oce().forget_request(login)
        return {"login": login}


def _found(name: str, applications: tuple[Application, ...]) -> list[dict[str, Any]]:
    if not applications:
        raise OperationError(Kind.CONFLICT, f"there is no application {name[:80]!r}")
    return [_told(each) for each in applications]


def _told(each: Application) -> dict[str, Any]:
    return {"number": each.number, "app_id": each.app_id, "name": each.name, "member": each.member,
            "approved": each.approved, "multiuser": each.multiuser,
            "values": {whose: dict(values) for whose, values in each.values.items()}}
