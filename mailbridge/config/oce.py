"""`[oce]` and `[oce.tribes.NAME]`: readers of their keys, and faults that only the whole table has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from mailbridge.config.model import OCESettings
from mailbridge.config.units import shown
from mailbridge.errors import Fault
from mailbridge.oce.exchange import Place, is_loopback
from mailbridge.oce.usds import COTERIE, MEMBER
from mailbridge.routing.route import OCE

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}[A-Za-z0-9])?")
_KEY = re.compile(r"[0-9A-Za-z]{8,128}")
_GROUP = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Document = Mapping[str, Any]


def tribe_name(value: object) -> str:
    """The name of a tribe, the part before `.oce` in addresses."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError(f"must be the name of a tribe: letters, digits and -, got {shown(value)}")


def oce_key(value: object) -> str:
    """The key of an OCE."""
    if isinstance(value, str) and _KEY.fullmatch(value):
        return value
    raise ValueError(f"must be the key of an OCE, 8 to 128 letters and digits, got {shown(value)}")


def oce_url(value: object) -> str:
    """Where an OCE is; whether clear text is allowed is known later."""
    fault = Place(value, cleartext=True).fault() if isinstance(value, str) else "must be text"
    if fault is not None:
        raise ValueError(f"{fault}, got {shown(value)}")
    assert isinstance(value, str)
    return value


def member_name(value: object) -> str:
    """The login of a member."""
    if isinstance(value, str) and value.strip() == value and value.isprintable() and 0 < len(value) <= MEMBER:
        return value
    raise ValueError(f"must be the name of a member, got {shown(value)}")


def coterie_name(value: object) -> str:
    """A coterie."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= COTERIE:
        return value
    raise ValueError(f"must be the name of a coterie, at most {COTERIE} characters, got {shown(value)}")


def groups(value: object) -> dict[str, tuple[str, ...]]:
    """Members by the name of their group."""
    if not isinstance(value, dict) or not all(isinstance(members, list) for members in value.values()):
        raise ValueError(f'must be a table such as {{ family = ["bonnie"] }}, got {shown(value)}')
    wrong = next((name for name in value if not _GROUP.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{shown(wrong)} is no name of a group: letters, digits, _ . -")
    return {name: tuple(member_name(member) for member in members) for name, members in value.items()}


def oce_targets(document: Document) -> Iterator[str]:
    """What `to` of a route may name because there is an OCE."""
    if isinstance(document.get("oce"), dict):
        yield OCE


def oce_listens(document: Document) -> Iterator[tuple[object, object]]:
    """(endpoint, whether in TLS) of the embedded OCE's listener, when there is one."""
    oce = document.get("oce")
    if isinstance(oce, dict) and oce.get("embedded") is True:
        yield oce.get("listen", OCESettings().listen), oce.get("tls", False)


def oce_faults(document: Document) -> Iterator[Fault]:
    """Keys of `[oce]` that contradict each other."""
    oce = document.get("oce")
    if not isinstance(oce, dict):
        return
    embedded, url = oce.get("embedded") is True, oce.get("url")
    if embedded and url is not None:
        yield Fault("oce.url", "is for another OCE; leave it out with embedded = true")
    if not embedded and url is None:
        yield Fault("oce.url", "is missing: the OCE to speak with, or set embedded = true for one of our own")
    if isinstance(url, str) and oce.get("allow_cleartext") is not True:
        yield from _clear("oce.url", url)
    tribes = oce.get("tribes")
    keys: dict[str, str] = {}
    for name, tribe in tribes.items() if isinstance(tribes, dict) else ():
        place = f"oce.tribes.{name}"
        if not isinstance(tribe, dict):
            continue
        key = str(tribe.get("key", "")).casefold()
        if key and key in keys:
            yield Fault(f"{place}.key", f"is that of the tribe {keys[key]} too")
        keys[key] = name
        if str(name).casefold() == str(oce.get("name", "")).casefold():
            yield Fault(place, "has the name of our own tribe, oce.name")
        yield from _tribe(place, tribe, embedded)


def _tribe(place: str, tribe: Document, embedded: bool) -> Iterator[Fault]:
    if not embedded:
        for name in tribe.keys() - {"key"}:
            yield Fault(f"{place}.{name}", "is for an embedded OCE; another OCE reaches its tribes by itself")
        return
    if "url" not in tribe:
        yield Fault(f"{place}.url", "is missing: where the OCE of that tribe is")
    if not {"secret", "client_pin"} & tribe.keys():
        yield Fault(f"{place}.secret", "is missing: a secret that both sides know, or client_pin, the fingerprint of "
                                       "the certificate that the other side shows us")
    if isinstance(tribe.get("url"), str) and tribe.get("allow_cleartext") is not True:
        yield from _clear(f"{place}.url", tribe["url"])


def _clear(place: str, url: str) -> Iterator[Fault]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return  # said by the reader of the key
    if parts.scheme == "http" and not is_loopback(host):
        yield Fault(place, "sends mail in clear text to another host; use https://, or set allow_cleartext = true")
