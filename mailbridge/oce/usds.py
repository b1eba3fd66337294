"""USDS, the Universal Social Data Structure: a message as it travels to and from an OCE (reference: oce-usds.md 3).

`read` takes both generations of the wiki, by the aliases below, with the limits of the wiki; `write` emits the newer
one. Unknown fields are kept in `extra` and written back. Nothing but USDSError is ever raised; it names the path.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from mailbridge.errors import MailbridgeError
from mailbridge.oce.strictjson import Json, shown

SUMMARY = 164
DETAIL = 512 * 1024
MEMBER = 128
COTERIE = 24
TYPE = 64
TITLE = 96
DATA = 10 * 1024 * 1024
OBJECTS = 1000
OTHER = 1024
QMSG = "qMsg"
OCE_OP = "oceOp"
VISIBILITY = "2"

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NOTHING: Mapping[str, Json] = {}


class USDSError(MailbridgeError):
    """A structure that is no USDS; the text is `Object[2].Data: not base64`."""


@frozen
class Source:
    """Who sends. `oce` is the key of the sending OCE (a tribe); `app_key` proves the application to its own OCE."""

    member: str = ""
    coterie: str = ""
    app_id: str = ""
    app_key: str = field(default="", repr=False)
    oce: str = ""
    extra: Mapping[str, Json] = field(factory=dict)


@frozen
class Dest:
    """For whom. `oce` and `coterie` are a key, keys with commas between them, or an object; all may be empty."""

    oce: str | Mapping[str, Json] = ""
    coterie: str | Mapping[str, Json] = ""
    group: str = ""
    member: str = ""
    extra: Mapping[str, Json] = field(factory=dict)

    @property
    def oces(self) -> tuple[str, ...]:
        """The keys of the OCEs, whatever the form."""
        return _keys(self.oce)

    @property
    def coteries(self) -> tuple[str, ...]:
        """The coteries, whatever the form."""
        return _keys(self.coterie)


@frozen
class Object:
    """An attachment: `octets` travel as base64. `type` is a MIME type, or a short word such as `png`."""

    type: str
    octets: bytes = field(repr=False)
    title: str = ""
    detail: str = ""
    extra: Mapping[str, Json] = field(factory=dict)


@frozen
class Adjunct:
    """Free payload for the destination; of a call to the OCE, `type` is `oce/func` and `data` a JSON text."""

    data: str = field(default="", repr=False)
    type: str = ""
    desc: str = ""
    extra: Mapping[str, Json] = field(factory=dict)


@frozen
class USDS:
    """One message: descriptors, source, destination, cargo. `msg_key` is ours: 64 hexadecimal digits, or empty."""

    msg_type: str = QMSG
    source: Source = field(factory=Source)
    dest: Dest | None = None
    summary: str = ""
    detail: str = ""
    objects: tuple[Object, ...] = ()
    adjunct: Adjunct | None = None
    msg_key: str = ""
    visibility: str = VISIBILITY
    extra: Mapping[str, Json] = field(factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is no cargo at all (code -101)."""
        return not (self.summary or self.detail or self.objects or (self.adjunct and self.adjunct.data))


# --- reading ----------------------------------------------------------------------------------------------------------


class _Fields:
    """The fields of one object, taken one by one; what is left is unknown."""

    def __init__(self, value: Json, place: str) -> None:
        if not isinstance(value, Mapping):
            raise USDSError(f"{place or 'the message'}: must be an object, got {shown(value)}")
        self._place = f"{place}." if place else ""
        self._left: dict[str, Json] = {}
        for name, each in value.items():
            if name.strip() in self._left:
                raise USDSError(f"{self._place}{name.strip()}: comes twice")
            self._left[name.strip()] = each

    def take(self, name: str, *aliases: str) -> Json:
        """The value of a field under its name or an older one; None when it is missing or null."""
        values = [self._left.pop(each) for each in (name, *aliases) if each in self._left]
        if len(values) > 1 and any(_plain(value) != _plain(values[0]) for value in values):
            raise USDSError(f"{self.at(name)}: differs from {', '.join(aliases)}")
        return values[0] if values else None

    def at(self, name: str) -> str:
        """The path of a field."""
        return self._place + name

    def text(self, longest: int, name: str, *aliases: str, octets: bool = False) -> str:
        """A text; numbers count as text, true and false as 1 and 0. The limit is in characters, or in UTF-8 octets."""
        value = self.take(name, *aliases)
        if value is None:
            return ""
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, str | int):
            raise USDSError(f"{self.at(name)}: must be text, got {shown(value)}")
        text = str(value)
        length = len(text.encode("utf-8")) if octets and not text.isascii() else len(text)
        if length > longest:
            raise USDSError(f"{self.at(name)}: {length} {'octets' if octets else 'characters'}, at most {longest}")
        return text

    def keys(self, longest: int, name: str, *aliases: str) -> str | Mapping[str, Json]:
        """Keys as text, or an object of them."""
        value = self._left.get(name)
        if isinstance(value, Mapping):
            return dict(self.take(name))
        return self.text(longest, name, *aliases)

    def rest(self) -> dict[str, Json]:
        """What no one took."""
        return self._left


def read(value: Json) -> USDS:
    """The message in a value that `strictjson.read` gave. Raises USDSError."""
    fields = _Fields(value, "")
    func = fields.take("Func") if "msgType" not in value else None
    if func is not None and func != QMSG:
        raise USDSError(f"Func: {shown(func)} is no data message, and there is no msgType")
    msg_type = QMSG if func is not None else fields.text(TYPE, "msgType")
    adjunct = fields.take("Adjunct")
    dest = fields.take("Dest")
    return USDS(
        msg_type=msg_type,
        visibility=fields.text(TYPE, "Visibility", "Private") or VISIBILITY,
        msg_key=fields.text(MEMBER, "MsgKey"),
        source=_source(fields.take("Source")),
        dest=None if dest is None else _dest(dest),
        summary=fields.text(SUMMARY, "Summary"),
        detail=fields.text(DETAIL, "Detail", octets=True),
        objects=tuple(_objects(fields.take("Object"))),
        adjunct=None if adjunct is None else _adjunct(adjunct),
        extra=fields.rest(),
    )


def _source(value: Json) -> Source:
    if value is None:
        raise USDSError("Source: is missing")
    fields = _Fields(value, "Source")
    return Source(
        member=fields.text(MEMBER, "Member"),
        coterie=fields.text(COTERIE, "Coterie"),
        app_id=fields.text(MEMBER, "AppId"),
        app_key=fields.text(OTHER, "AppKey", "Key"),
        oce=fields.text(OTHER, "OCE"),
        extra=fields.rest(),
    )


def _dest(value: Json) -> Dest:
    fields = _Fields(value, "Dest")
    return Dest(
        oce=fields.keys(DETAIL, "OCE", "Key"),
        coterie=fields.keys(DETAIL, "Coterie"),
        group=fields.text(MEMBER, "Group"),
        member=fields.text(MEMBER, "Member"),
        extra=fields.rest(),
    )


def _objects(value: Json) -> Iterator[Object]:
    if value is None:
        return
    if not isinstance(value, list):
        raise USDSError(f"Object: must be an array, got {shown(value)}")
    if len(value) > OBJECTS:
        raise USDSError(f"Object: {len(value)} of them, at most {OBJECTS}")
    for number, each in enumerate(value):
        place = f"Object[{number}]"
        fields = _Fields(each, place)
        encoding = fields.text(TYPE, "Encoding")
        if encoding.lower() not in ("", "base64"):
            raise USDSError(f"{place}.Encoding: {shown(encoding)} is not known; base64 is")
        kind = fields.text(TYPE, "Type")
        if not kind:
            raise USDSError(f"{place}.Type: is missing")
        yield Object(
            type=kind,
            octets=_octets(fields.take("Data"), f"{place}.Data"),
            title=fields.text(TITLE, "Title"),
            detail=fields.text(DETAIL, "Detail", octets=True),
            extra=fields.rest(),
        )


def _octets(data: Json, place: str) -> bytes:
    if not isinstance(data, str):
        raise USDSError(f"{place}: is missing" if data is None else f"{place}: must be text, got {shown(data)}")
    if len(data) > DATA:
        raise USDSError(f"{place}: {len(data)} characters, at most {DATA}")
    try:
        encoded = data.encode("ascii").translate(None, b" \t\r\n")
        if len(encoded) % 4 == 0:
            return a2b_base64(encoded, strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        pass
    raise USDSError(f"{place}: not base64")


def _adjunct(value: Json) -> Adjunct:
    if isinstance(value, str):
        value = {"Data": value}
    fields = _Fields(value, "Adjunct")
    return Adjunct(
        data=fields.text(DETAIL, "Data", octets=True),
        type=fields.text(OTHER, "Type"),
        desc=fields.text(DETAIL, "Desc", octets=True),
        extra=fields.rest(),
    )


def _plain(value: Json) -> str:
    return str(value) if isinstance(value, str | int) else shown(value)


def _keys(value: str | Mapping[str, Json]) -> tuple[str, ...]:
    parts = value if isinstance(value, Mapping) else value.split(",")
    return tuple(part.strip() for part in parts if part.strip())


def integer(value: Json, place: str) -> int:
    """A whole number, also one that is written as text. Raises USDSError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise USDSError(f"{place}: must be a whole number, got {shown(value)}")


# --- writing ----------------------------------------------------------------------------------------------------------


def write(message: USDS) -> dict[str, Any]:
    """The values of a message for `strictjson.write`, always in the same order; empty fields are left out."""
    values: dict[str, Any] = {"msgType": message.msg_type, "Visibility": message.visibility, "MsgKey": message.msg_key,
                              "Source": _write_source(message.source)}
    if message.dest is not None:
        dest = message.dest
        values["Dest"] = _some({"OCE": dest.oce, "Coterie": dest.coterie, "Group": dest.group, "Member": dest.member},
                               dest.extra)
    values["Summary"] = message.summary
    values["Detail"] = message.detail
    values["Object"] = [_write_object(each) for each in message.objects]
    if message.adjunct is not None:
        adjunct = message.adjunct
        values["Adjunct"] = _some({"Type": adjunct.type, "Desc": adjunct.desc, "Data": adjunct.data}, adjunct.extra)
    return _some(values, message.extra, keep=("Source", "Dest", "Adjunct"))


def _write_source(source: Source) -> dict[str, Any]:
    return _some({"OCE": source.oce, "Member": source.member, "Coterie": source.coterie, "AppId": source.app_id,
                  "AppKey": source.app_key}, source.extra)


def _write_object(each: Object) -> dict[str, Any]:
    fields = {"Type": each.type, "Encoding": "base64", "Title": each.title, "Detail": each.detail,
              "Data": b64encode(each.octets).decode("ascii")}
    return _some(fields, each.extra, keep=("Data",))


def _some(values: dict[str, Any], extra: Mapping[str, Json], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fields with something in them, then the unknown ones."""
    return {**{name: value for name, value in values.items() if value or name in keep}, **extra}
