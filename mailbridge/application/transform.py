r"""Transforms: the operator's templates for the subject, the text and the `[from]` section of a job.

    template = *( literal / "<%" expr "%>" )         `\n` in literal text is a new line
    expr     = alt *( "|" alt )                      the first that is not blank counts
    alt      = item / string / timecall
    string   = '...' or "..."                        escapes \\ \' \" \n \r \t only
    timecall = time.strftime( string [ , time.localtime() / time.gmtime() ] )

A template is compiled at load, and whatever the grammar has not is refused there with its column. Nothing is evaluated:
values are inserted as data in one pass and never looked at again. The clock is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from attrs import field, frozen

from mailbridge.application.items import ITEMS, Items

TARGETS = ("subject", "txt", "from/name", "from/username", "from/email", "from/gateway", "from/smtp")
LONGEST_TEMPLATE = 8192
DIRECTIVES = "aAbBcdHIjmMpSUwWxXyYzZ%"

_ALLOWED = (
    f"allowed are the items {', '.join(ITEMS)}; text in quotes; time.strftime(\"...\"), also with time.localtime() or "
    "time.gmtime() as its second argument; and | between alternatives"
)
_STRFTIME, _LOCAL, _UTC = "time.strftime", "time.localtime", "time.gmtime"
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)
      | (?P<end>%>)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<string>'(?:[^'\\\r\n]|\\[^\r\n])*'|"(?:[^"\\\r\n]|\\[^\r\n])*")
      | (?P<sign>[|(),])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_SHOWN_ESCAPES = r"\\ \' \" \n \r \t"
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)


@frozen
class _Item:
    name: str


@frozen
class _Moment:
    """A time by `format`; in UTC or in local time."""

    format: str
    utc: bool


_Alternative = str | _Item | _Moment
_Piece = str | tuple[_Alternative, ...]
_Token = tuple[str, str, int]
"""(kind, text, place in the template)."""


@frozen
class Transform:
    """One compiled template. `target` is one of TARGETS. A bad one raises ValueError with what is wrong and where.

    `subject`, `from/...`: the caller cleans the result as any value of a control file. Names of days and months, and
    `%c %x %X`, are those of the C locale.
    """

    target: str
    template: str
    _pieces: tuple[_Piece, ...] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ValueError(f'there is no transform "{self.target}"; there are {", ".join(TARGETS)}')
        if len(self.template) > LONGEST_TEMPLATE:
            raise ValueError(f'transform "{self.target}": has more than {LONGEST_TEMPLATE:,} characters')
        try:
            pieces = tuple(_pieces(self.template))
        except _Refused as error:
            raise ValueError(f'transform "{self.target}": {error}') from None
        object.__setattr__(self, "_pieces", pieces)
        if self.target == "from/gateway" and all(isinstance(piece, str) for piece in pieces):
            gateway = "".join(piece for piece in pieces if isinstance(piece, str)).strip()
            if not is_gateway(gateway):
                raise ValueError(f'transform "{self.target}": must be one letter, got "{gateway[:40]}"')

    def render(self, items: Items, now: float, most: int) -> str:
        """The text for one message, cut after `most` characters; `now` is seconds since 1970."""
        out: list[str] = []
        room = most
        for piece in self._pieces:
            out.append((piece if isinstance(piece, str) else _first(piece, items, now))[:room])
            room -= len(out[-1])
        return "".join(out)


def is_gateway(text: str) -> bool:
    """Whether `text` names a gateway: one ASCII letter."""
    return len(text) == 1 and text.isascii() and text.isalpha()


def _first(alternatives: tuple[_Alternative, ...], items: Items, now: float) -> str:
    for alternative in alternatives:
        match alternative:
            case _Item(name):
                value = items.get(name, "")
            case _Moment():
                value = _date(alternative, now)
            case _:
                value = alternative
        if value and not value.isspace():
            return value
    return ""


def _date(moment: _Moment, now: float) -> str:
    when = datetime.fromtimestamp(now, UTC) if moment.utc else datetime.fromtimestamp(now).astimezone()
    return _DIRECTIVE.sub(lambda match: when.strftime(match.group()), moment.format)


# --- compiling --------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """What the grammar has not: the column from 1, the token, and what is allowed."""

    def __init__(self, at: int, token: str, why: str = "is not allowed") -> None:
        shown = token if len(token) <= 40 else token[:37] + "..."
        shown = f'"{shown}"' if shown.isprintable() else ascii(shown)
        super().__init__(f"column {at + 1}: {shown} {why}; {_ALLOWED}")


def _pieces(template: str) -> Iterator[_Piece]:
    at = 0
    while at < len(template):
        start = template.find("<%", at)
        literal = template[at:] if start < 0 else template[at:start]
        if literal:
            yield literal.replace("\\n", "\n")
        if start < 0:
            return
        alternatives, at = _expression(_tokens(template, start))
        yield alternatives


def _tokens(template: str, start: int) -> Iterator[_Token]:
    """The tokens of the expression that `start` opens; the last one is its end, and nobody asks for more."""
    at = start + 2
    while at < len(template):
        match = _TOKEN.match(template, at)
        if match is None:
            if template[at] in "'\"":
                raise _Refused(at, template[at:], "is a quote without its end")
            raise _Refused(at, template[at])
        if match.lastgroup != "blank":
            yield str(match.lastgroup), match.group(), at
        at = match.end()
    raise _Refused(start, template[start:], "is not closed by %>")


def _expression(ahead: Iterator[_Token]) -> tuple[tuple[_Alternative, ...], int]:
    """The alternatives, and where the template goes on."""
    alternatives: list[_Alternative] = []
    while True:
        alternatives.append(_alternative(ahead))
        kind, text, at = next(ahead)
        if kind == "end":
            return tuple(alternatives), at + len(text)
        if text != "|":
            raise _Refused(at, text)


def _alternative(ahead: Iterator[_Token]) -> _Alternative:
    kind, text, at = next(ahead)
    if kind == "string":
        return _string(text, at)
    if kind == "name" and text in ITEMS:
        return _Item(text)
    if text == _STRFTIME:
        return _timecall(ahead)
    if kind == "end" or text == "|":
        raise _Refused(at, text, "stands where an item is missing")
    raise _Refused(at, text)


def _timecall(ahead: Iterator[_Token]) -> _Moment:
    _expect("(", ahead)
    kind, text, at = next(ahead)
    if kind != "string":
        raise _Refused(at, text, "stands where time.strftime wants text in quotes")
    layout, utc = _string(text, at), False
    for directive in _DIRECTIVE.finditer(layout):
        if not directive[1] or directive[1] not in DIRECTIVES:
            raise _Refused(at, directive.group(), f"is no directive of time.strftime: % and one of {DIRECTIVES}")
    kind, text, at = next(ahead)
    if text == ",":
        _kind, text, at = next(ahead)
        if text not in (_LOCAL, _UTC):
            raise _Refused(at, text, f"stands where {_LOCAL}() or {_UTC}() is expected")
        utc = text == _UTC
        _expect("(", ahead)
        _expect(")", ahead)
        kind, text, at = next(ahead)
    if text != ")":
        raise _Refused(at, text, "stands where ) is expected")
    return _Moment(layout, utc)


def _expect(sign: str, ahead: Iterator[_Token]) -> None:
    """The next token is `sign`. An end is never passed, as it is no sign."""
    _kind, text, at = next(ahead)
    if text != sign:
        raise _Refused(at, text, f"stands where {sign} is expected")


def _string(quoted: str, at: int) -> str:
    inner = quoted[1:-1]
    for escape in _ESCAPE.finditer(inner):
        if escape[1] not in _ESCAPES:
            raise _Refused(at + 1 + escape.start(), escape.group(), f"is no escape in quotes: {_SHOWN_ESCAPES}")
    return _ESCAPE.sub(lambda match: _ESCAPES[match[1]], inner)
