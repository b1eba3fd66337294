"""Values that the tests of the embedded OCE share."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from attrs import evolve

from mailbridge.oce import strictjson, usds
from mailbridge.oce.calls import call
from mailbridge.oce.embedded.registry import Application, Registry, digest
from mailbridge.oce.embedded.settings import Coterie, OCESettings, RemoteTribe
from mailbridge.oce.embedded.tribe import Tribe
from mailbridge.oce.usds import QMSG, USDS, Dest, Source
from mailbridge.routing.directory import Directory
from mailbridge.store.changes import Credentials, People, User

KEY = "A0" * 32
FRIENDS = RemoteTribe("friends", "4B6B66383323172736B726B", b"s" * 32)
STRANGERS = RemoteTribe("strangers", "CC" * 11)
APP_ID = "SMTP:mailbridge"
APP_KEY = "41T3007T8+HLKMQNOWQSUSH9A7-OI?!QCR56"
MSG_KEY = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
SETTINGS = OCESettings(
    member="harold", tribes=(FRIENDS, STRANGERS),
    coteries={"Friends": Coterie({"InnerCircle": ("harold", "bonnie"), "Outer": ("edgar", "nobody")})},
)
HAROLD = Source("harold", "1", APP_ID, APP_KEY)


def people(*names: str) -> People:
    """Users of these names."""
    return People(tuple(User(number, name, Credentials("", "")) for number, name in enumerate(names, 1)), ())


def application(**changes: Any) -> Application:
    """The bridge, registered by harold and approved."""
    return evolve(Application(1, APP_ID, "mailbridge", "harold", digest(APP_KEY), approved=True), **changes)


def tribe(*applications: Application, settings: OCESettings = SETTINGS) -> Tribe:
    """Our tribe with harold, bonnie and edgar, and the bridge as application when none are given."""
    directory = Directory(["example.org"])
    directory.replace(people("harold", "bonnie", "edgar"))
    return Tribe(KEY, settings, directory, Registry(applications or (application(),)), lambda size: b"\7" * size)


def message(dest: Dest | None = Dest(member="bonnie"), source: Source = HAROLD, **fields: Any) -> USDS:  # noqa: B008
    """A message from harold to bonnie."""
    return USDS(QMSG, source, dest, **{"summary": "Hi", "detail": "Text", "msg_key": MSG_KEY, **fields})


def asked(func: str, source: Source = HAROLD, **arguments: Any) -> USDS:
    """A call of the bridge."""
    return call(func, arguments, source)


def octets(value: USDS) -> bytes:
    """As it travels."""
    return strictjson.write(usds.write(value))


def fingerprint(text: bytes) -> str:
    """A pin."""
    return sha256(text).hexdigest()
