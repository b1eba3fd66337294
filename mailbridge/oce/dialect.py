"""What one OCE may say otherwise than another: the names of its functions, and where an answer has the AppKey.

The wiki leaves these open (reference: oce-usds.md H3 to H5); a real OCE that differs gets an entry in DIALECTS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mailbridge.oce.calls import Answer
from mailbridge.oce.strictjson import Json
from mailbridge.oce.usds import OTHER


def find_app_key(answer: Answer) -> str:
    """The key in the answer to a registration, empty when there is none: in the first object, in the only one,
    or beside them (H4)."""
    mesg: Any = answer.mesg
    first = mesg[0] if isinstance(mesg, list) and mesg else mesg
    inside = first.get("AppKey") if isinstance(first, Mapping) else None
    key = inside or answer.rest.get("appkey")
    return key if isinstance(key, str) and key.isprintable() and len(key) <= OTHER else ""


@frozen
class Registration:
    """What an application says of itself. `member` registers it with his `password`."""

    member: str
    password: str = field(repr=False)
    app_id: str
    computer: str
    port: int
    interval: int


def osa_arguments(said: Registration) -> dict[str, Json]:
    """The arguments of osaAppReg."""
    return {
        "AppName": "mailbridge", "AppId": said.app_id, "Maintainer": "mailbridge project",
        "CompatibilityDate": "2026-11-21", "Description": "SMTP and POP3 bridge to the OCE", "UserName": said.member,
        "UserPass": said.password, "ocePush": 0, "AppPull": 1, "Multiuser": 1, "Computer": said.computer,
        "Port": said.port, "Interval": said.interval, "AppVals": [],
    }


def fau_arguments(said: Registration) -> dict[str, Json]:
    """The arguments of fauRegApp, the older call."""
    return {
        "AppName": "mailbridge", "Description": "SMTP and POP3 bridge to the OCE", "UserName": said.member,
        "UserPass": said.password, "AppPush": 1, "FauPull": 0, "DefVals": {"Computer": said.computer},
    }


@frozen
class Dialect:
    """The functions of an OCE, and how they are called."""

    register: str = "osaAppReg"
    arguments: Callable[[Registration], dict[str, Json]] = osa_arguments
    pull_config: str = "osaAppPullCfg"
    pull: str = "osaAppPullMsg"
    acknowledge: str = "osaAppAckMsg"
    app_key: Callable[[Answer], str] = find_app_key


DIALECTS: Mapping[str, Dialect] = {
    "osa": Dialect(),
    "fautore": Dialect(register="fauRegApp", arguments=fau_arguments, pull_config="fauGetAppData"),
}
"""By the names that `[oce] dialect` has for them."""
