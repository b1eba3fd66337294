"""Calls to an OCE and its answers (reference: oce-usds.md 4): a call is JSON text inside the Adjunct of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from mailbridge.oce import codes, strictjson
from mailbridge.oce.strictjson import BadJSON, Json, kind, shown
from mailbridge.oce.usds import OCE_OP, USDS, Adjunct, Source, USDSError, integer

FUNCTION = "oce/func"
_LONGEST_WORDS = 200


@frozen
class Call:
    """A function of the OCE and its arguments."""

    func: str
    arguments: Mapping[str, Json] = field(repr=False)  # a password may be among them


def call(func: str, arguments: Mapping[str, Json], source: Source, summary: str = "") -> USDS:
    """The message that carries a call."""
    data = strictjson.write({"Func": func, **arguments}).decode("ascii")
    return USDS(OCE_OP, source, summary=summary, adjunct=Adjunct(data, FUNCTION, f"{func} call"))


def read_call(message: USDS) -> Call:
    """The call in a message. Raises USDSError."""
    adjunct = message.adjunct
    if adjunct is None:
        raise USDSError("Adjunct: is missing; it carries the call")
    if adjunct.type not in ("", FUNCTION):
        raise USDSError(f"Adjunct.Type: must be {FUNCTION}, got {shown(adjunct.type)}")
    try:
        data = strictjson.read(adjunct.data.encode("utf-8"))
    except BadJSON as error:
        raise USDSError(f"Adjunct.Data: no JSON: {error}") from None
    if not isinstance(data, dict):
        raise USDSError(f"Adjunct.Data: must be an object, got {shown(data)}")
    arguments = {name.strip(): value for name, value in data.items()}
    func = arguments.pop("Func", None)
    if not isinstance(func, str) or not func:
        raise USDSError("Adjunct.Data.Func: is missing")
    return Call(func, arguments)


@frozen
class Answer:
    """The standard response. `num` above 0 is success; `mesg` is text, an array of objects, or missing."""

    num: int
    id: str = ""
    mesg: Json = field(default=None, repr=False)
    count: int = 1
    rest: Mapping[str, Json] = field(factory=dict, repr=False)
    """Other fields, by their names in lower case."""

    @property
    def succeeded(self) -> bool:
        """Whether the call was done."""
        return self.num > 0

    @property
    def words(self) -> str:
        """What the OCE says in words, on one line."""
        text = self.mesg if isinstance(self.mesg, str) else ""
        return "".join(each if each.isprintable() else " " for each in text[:_LONGEST_WORDS]).strip()

    def __str__(self) -> str:
        said = codes.text(self.num, self.id)
        return said if not self.words or self.words in said else f"{said} ({self.words})"


def read_answer(value: Json) -> Answer:
    """The answer in a value, in either spelling. Raises USDSError."""
    if not isinstance(value, dict):
        raise USDSError(f"the answer must be an object, got {kind(value)}")
    fields = {name.strip().lower(): each for name, each in value.items()}
    if fields.get("msgnum") is None:
        raise USDSError("MsgNum: is missing")
    id = fields.get("msgid")
    if id is not None and not isinstance(id, str):
        raise USDSError(f"MsgId: must be text, got {kind(id)}")
    count = fields.get("respcount")
    return Answer(
        num=integer(fields["msgnum"], "MsgNum"),
        id="".join(each for each in (id or "")[:40] if each.isascii() and each.isalnum()),
        mesg=fields.get("mesg"),
        count=1 if count is None else integer(count, "RespCount"),
        rest={name: each for name, each in fields.items() if name not in ("msgnum", "msgid", "respcount", "mesg")},
    )


def write_answer(answer: Answer, wiki: bool = False) -> dict[str, Any]:
    """The values of an answer; `wiki` spells them as the wiki's own sample does: `respCount`, and MsgNum as text."""
    num: int | str = str(answer.num) if wiki else answer.num
    id = answer.id or codes.described(answer.num).id
    mesg = codes.described(answer.num).words if answer.mesg is None else answer.mesg
    return {"respCount" if wiki else "RespCount": answer.count, "MsgNum": num, "MsgId": id, "Mesg": mesg}


def items(answer: Answer) -> list[dict[str, Json]]:
    """The objects of a successful answer. Raises USDSError when there are others than objects."""
    mesg = answer.mesg
    if answer.num == codes.NULLSET or mesg is None or isinstance(mesg, str):
        return []
    found = [mesg] if isinstance(mesg, dict) else mesg
    if not isinstance(found, list):
        raise USDSError(f"Mesg: must be an array, got {kind(mesg)}")
    for number, each in enumerate(found):
        if not isinstance(each, dict):
            raise USDSError(f"Mesg[{number}]: must be an object, got {kind(each)}")
    return found
