"""The control protocol: JSON, one message a line, at most 1 MiB a line.

| direction | line                                                                                     |
|-----------|------------------------------------------------------------------------------------------|
| request   | `{"id": 1, "command": "user add", "arguments": {"name": "bonnie", "password": "..."}}`   |
| success   | `{"id": 1, "ok": true, "result": ...}`                                                   |
| failure   | `{"id": 1, "ok": false, "error": "one line with the remedy", "kind": "usage"}`           |

`id` is a number or text of the caller's, repeated in the answer; several requests may follow each other and are
answered in order. `kind` is `usage` (the request is wrong), `conflict` (it contradicts what is stored) or `failed` (it
did not work this time). A line that is no request gets a failure with the id null.
JSON is read strictly: no repeated keys, no NaN, no depth that could exhaust the stack, no half characters.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from mailbridge.errors import MailbridgeError

LONGEST_LINE = 1024 * 1024


class Kind(StrEnum):
    """Whose fault it is."""

    USAGE = "usage"
    CONFLICT = "conflict"
    FAILED = "failed"


class OperationError(MailbridgeError):
    """A command did not do what it should; `str` is one line for the operator, with the remedy."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind = kind
        super().__init__(text)


def usage(text: str) -> OperationError:
    """The command was given something it cannot take."""
    return OperationError(Kind.USAGE, text)


@frozen
class Request:
    """One command to carry out. `arguments` may hold a password and do not show."""

    id: int | str | None
    command: str
    arguments: dict[str, Any] = field(repr=False)


@frozen
class Answer:
    """What came of a request: a result, or an error."""

    id: int | str | None
    result: Any = field(default=None, repr=False)
    error: OperationError | None = None


def encode_request(request: Request) -> bytes:
    """The line of a request, without its line end."""
    return _encode({"id": request.id, "command": request.command, "arguments": request.arguments})


def decode_request(line: bytes) -> Request:
    """The request in a line. Raises OperationError (usage)."""
    message = _decode(line)
    id = message.get("id")
    if set(message) - {"id", "command", "arguments"} or not (id is None or type(id) in (int, str)):
        raise usage("a request has an id, a command and arguments")
    command, arguments = message.get("command"), message.get("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise usage("a request has a command, which is text, and arguments, which are an object")
    return Request(id, command, arguments)


def encode_answer(answer: Answer) -> bytes:
    """The line of an answer, without its line end."""
    if answer.error is not None:
        return _encode({"id": answer.id, "ok": False, "error": str(answer.error), "kind": answer.error.kind})
    return _encode({"id": answer.id, "ok": True, "result": answer.result})


def decode_answer(line: bytes) -> Answer:
    """The answer in a line. Raises OperationError when it is none."""
    message = _decode(line)
    if message.get("ok") is True:
        return Answer(message.get("id"), message.get("result"))
    try:
        kind = Kind(message.get("kind", ""))
    except ValueError:
        kind = Kind.FAILED
    return Answer(message.get("id"), error=OperationError(kind, str(message.get("error", "it failed without a word"))))


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _decode(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise usage("the line is longer than 1 MiB")
    try:
        message = json.loads(line.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
        json.dumps(message, ensure_ascii=False).encode("utf-8")  # finds lone surrogates, which `\ud800` makes
    except RecursionError:
        raise usage("this JSON is nested too deeply") from None
    except ValueError as error:
        # the text of a decoding error can quote the line, which may hold a password: only its kind is told
        reason = str(error) if type(error) is ValueError and error.args[0] in _REASONS else "it cannot be read"
        raise usage(f"this is no JSON that is taken here: {reason}") from None
    if not isinstance(message, dict):
        raise usage("a message is a JSON object")
    return message


_REPEATED = "a key is there twice"
_NO_NUMBER = "NaN and Infinity are no numbers"
_REASONS = frozenset({_REPEATED, _NO_NUMBER})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(_REPEATED)
    return found


def _constant(name: str) -> Any:
    raise ValueError(_NO_NUMBER)
