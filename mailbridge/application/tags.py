"""@commands: what a sender may say at the start of a text, one command a line, by a table of the operator.

    @dr=1
    @maxlen=3

    The text begins here.

Only leading lines are looked at, and the first that is no known command ends them: `@John, see you` is text. One blank
line after the last command goes with it. What a table does not allow is a fault in words that the sender understands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from mailbridge.application.keys import Key, RecipeFaults, parse_key
from mailbridge.errors import Fault
from mailbridge.routing.pattern import Pattern

_LINE = re.compile(r"@([A-Za-z][A-Za-z0-9_]*)(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OPTIONS = ("key", "bare", "values", "pattern", "at_most", "followed_by")
MOST_COMMANDS = 100

TagData = Mapping[str, Mapping[str, object]]

SMS_TAGS: TagData = {
    "dr": {"key": "system|dr", "values": ["0", "1"]},
    "report": {"key": "system|dr", "bare": "1"},
    "action": {"key": "system|action", "values": ["0", "1", "2"], "followed_by": {"2": "maxlen"}},
    "maxlen": {"key": "system|maxlen", "pattern": "[1-9][0-9]{0,2}", "at_most": True},
}
"""The commands of MobilChange: the table `sms`."""


@frozen
class Tag:
    """One command. `key` is where its value goes.

    `bare` is written for the command alone (`@report`); without it a value is needed. A value is one of `values`, in
    any case, or matches `pattern`. `at_most`: a number, and never above what `ctl_settings` have for the key.
    `followed_by`: a value that counts only with that command on the next line.
    """

    key: Key
    bare: str | None = None
    values: tuple[str, ...] = ()
    pattern: Pattern | None = None
    at_most: bool = False
    followed_by: Mapping[str, str] = field(factory=dict)

    def value(self, given: str | None) -> str | None:
        """What is written for the text after `=` (None: there is no `=`); None when that is not allowed."""
        if given is None:
            return self.bare
        given = given.strip()
        for value in self.values:
            if value.lower() == given.lower():
                return value
        if self.pattern is None or not self.pattern.matches(given):
            return None
        return given if not self.at_most or _NUMBER.fullmatch(given) else None


@frozen
class Taken:
    """What was read: the text without commands, the values to write, and the faults, each a sentence for the sender."""

    text: str
    values: tuple[tuple[Key, str], ...] = ()
    faults: tuple[str, ...] = ()


@frozen
class TagTable:
    """Commands by their name in lower case."""

    tags: Mapping[str, Tag]

    @classmethod
    def make(cls, data: TagData) -> TagTable:
        """The table of `command -> options`, as SMS_TAGS is one. Raises RecipeFaults with one for each bad command."""
        tags: dict[str, Tag] = {}
        faults = []
        for name, options in data.items():
            try:
                tags[name.lower()] = _tag(name, options, {known.lower() for known in data})
            except ValueError as error:
                faults.append(Fault(name, str(error)))
        if faults:
            raise RecipeFaults(faults)
        return cls(tags)

    def take(self, text: str, limits: Mapping[Key, str]) -> Taken:
        """The commands at the start of `text`, whose lines end in newlines, and the rest. `limits`: see `at_most`."""
        lines, rest = self._leading(text)
        values: list[tuple[Key, str]] = []
        faults: list[str] = []
        for number, (name, given) in enumerate(lines):
            tag = self.tags[name]
            value = tag.value(given)
            following = lines[number + 1] if number + 1 < len(lines) else ("", None)
            if value is None:
                faults.append(f"@{name}{'' if given is None else '=' + given.strip()[:40]} is not possible")
            elif not self._follows(tag.followed_by.get(value), following):
                faults.append(f"@{name}={value} needs @{tag.followed_by[value]}=# on the next line")
            else:
                values.append((tag.key, _at_most(value, limits.get(tag.key, "")) if tag.at_most else value))
        return Taken(rest, tuple(values), tuple(faults))

    def _follows(self, wanted: str | None, following: tuple[str, str | None]) -> bool:
        name, given = following
        return wanted is None or (name == wanted and self.tags[name].value(given) is not None)

    def _leading(self, text: str) -> tuple[list[tuple[str, str | None]], str]:
        """(name, what stands after `=`) of the command lines, and the text after them."""
        lines: list[tuple[str, str | None]] = []
        at = rest = 0
        while at < len(text) and len(lines) < MOST_COMMANDS:
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            line = text[at:end].strip()
            if line or lines:
                match = _LINE.fullmatch(line)
                if match is None or match[1].lower() not in self.tags:
                    if lines and not line:
                        rest = end + 1
                    break
                lines.append((match[1].lower(), match[2]))
                rest = end + 1
            at = end + 1
        return lines, text[rest:]


def _at_most(value: str, limit: str) -> str:
    return limit if _NUMBER.fullmatch(limit) and int(value) > int(limit) else value


def _tag(name: str, options: Mapping[str, object], known: set[str]) -> Tag:
    if not _NAME.fullmatch(name):
        raise ValueError("is no name of a command; take ASCII letters, digits and _, a letter first")
    for option in options:
        if option not in _OPTIONS:
            raise ValueError(f'there is no option "{option}"; there are {", ".join(_OPTIONS)}')
    key, bare, pattern = options.get("key"), options.get("bare"), options.get("pattern")
    values, at_most = options.get("values", []), options.get("at_most", False)
    followed_by = options.get("followed_by", {})
    if not isinstance(key, str):
        raise ValueError('needs key = "section|key", where its value is written')
    if not isinstance(bare, str | None) or not isinstance(pattern, str | None) or not isinstance(at_most, bool):
        raise ValueError("bare and pattern are texts, at_most is true or false")
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError('values is a list of texts, ["low", "high"]')
    if not isinstance(followed_by, Mapping) or any(v not in values or c not in known for v, c in followed_by.items()):
        raise ValueError('followed_by names a command for one of the values, { "2" = "maxlen" }')
    if bare is None and pattern is None and not values:
        raise ValueError("allows nothing: give it values, a pattern, or bare for the command alone")
    return Tag(
        parse_key(key), bare, tuple(values), None if pattern is None else Pattern(pattern), at_most, dict(followed_by)
    )
