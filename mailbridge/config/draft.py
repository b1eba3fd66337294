"""A configuration on its way from elsewhere: entries with notes, written as TOML, and corrected by the loader's word.

What the loader refuses is not lost: it stays in the file as a comment, with what the loader said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from attrs import Factory, define

from mailbridge.config.readers import place_of
from mailbridge.errors import Fault

Value = bool | int | str | list[str]
Judge = Callable[[str], Iterable[Fault]]
"""All faults of a configuration in text."""

_INDEX = re.compile(r"\[([0-9]+)\]")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@define
class Entry:
    """One key. `notes` are told above it; `off` makes it a comment. `sample` stands for the value when it is judged."""

    key: str
    value: Value
    notes: list[str] = Factory(list)
    off: bool = False
    sample: str | None = None


@define
class Section:
    """One table, `receiver` or `application.sms.transform`; `off` makes all of it a comment."""

    path: tuple[str, ...]
    entries: list[Entry] = Factory(list)
    notes: list[str] = Factory(list)
    off: bool = False

    @property
    def place(self) -> str:
        """How faults name it."""
        return "".join(map(place_of, self.path)).removeprefix(".")

    def add(self, key: str, value: Value, *notes: str, sample: str | None = None) -> None:
        """Put a key into it; the first of a name stays."""
        if any(entry.key == key for entry in self.entries):
            self.notes.append(f"{key} is there twice; the second, {_value(value)}, is left out")
        else:
            self.entries.append(Entry(key, value, list(notes), sample=sample))


@define
class Draft:
    """Sections in the order they are written. `notes` are told at the head of the file."""

    sections: list[Section] = Factory(list)
    notes: list[str] = Factory(list)

    def section(self, *path: str) -> Section:
        """A new section at the end."""
        self.sections.append(Section(path))
        return self.sections[-1]

    def correct(self, judge: Judge) -> None:
        """Switch off what the loader refuses, until it refuses nothing more."""
        while True:
            faults = list(judge(self.text(judged=True)))
            if not [fault for fault in reversed(faults) if self._take_out(fault)]:  # the last item of a list first
                self.notes += [str(fault) for fault in faults]
                return

    def told(self) -> list[str]:
        """Every note with its place."""
        lines = list(self.notes)
        for section in self.sections:
            lines += [f"{section.place}: {note}" for note in section.notes]
            for entry in section.entries:
                lines += [f"{section.place}{place_of(entry.key)}: {note}" for note in entry.notes]
        return lines

    def text(self, judged: bool = False) -> str:
        """The file; `judged`: as the loader is to judge it, without comments."""
        blocks = ["" if judged else "".join(map(_comment, self.notes))]
        for section in self.sections:
            header = "[" + ".".join(map(_key, section.path)) + "]\n"
            if judged:
                kept = [entry for entry in section.entries if not entry.off]
                blocks.append("" if section.off else header + "".join(map(_judged, kept)))
                continue
            body = header + "".join(map(_entry, section.entries))
            notes = "".join(map(_comment, section.notes))
            blocks.append(notes + (_switched_off(body) if section.off else body))
        return "\n".join(block for block in blocks if block)

    def _take_out(self, fault: Fault) -> bool:
        """Switch off what a fault is about; False when nothing is left that it could be about."""
        for section in self.sections:
            for entry in section.entries:
                place = section.place + place_of(entry.key)
                if not (section.off or entry.off) and _within(fault.place, place):
                    self._refuse(entry, fault.place.removeprefix(place), fault.problem)
                    if entry.value == []:  # an empty list may let in more than a shorter one
                        self._leave_out(section, f"nothing is left of {entry.key}")
                    return True
        owner = next((s for s in reversed(self.sections) if not s.off and _within(fault.place, s.place)), None)
        if owner is None:
            return False
        self._leave_out(owner, f"{fault.place} {fault.problem}")
        return True

    def _leave_out(self, owner: Section, why: str) -> None:
        for section in self.sections:  # with the tables below it
            section.off = section.off or section.path[:len(owner.path)] == owner.path
        owner.notes.append(f"left out, because {why}")

    @staticmethod
    def _refuse(entry: Entry, rest: str, problem: str) -> None:
        at = _INDEX.match(rest)
        if at and isinstance(entry.value, list) and int(at[1]) < len(entry.value):
            refused = entry.value.pop(int(at[1]))
            entry.notes.append(f"left out {_value(refused)}: {problem}")
        else:
            entry.notes.append(f"left out: {problem}")
            entry.off = True


def _within(place: str, table: str) -> bool:
    """Whether a fault's place is that of a table or a key, or below it."""
    return place == table or place.startswith((table + ".", table + "["))


def _comment(note: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in note)
    return f"# NOTE: {plain}\n"


def _entry(entry: Entry) -> str:
    line = f"{_key(entry.key)} = {_value(entry.value)}\n"
    return "".join(map(_comment, entry.notes)) + (_switched_off(line) if entry.off else line)


def _switched_off(lines: str) -> str:
    return "".join("#" + line for line in lines.splitlines(keepends=True))


def _judged(entry: Entry) -> str:
    return f"{_key(entry.key)} = {_value(entry.value if entry.sample is None else entry.sample)}\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _basic(name)


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if value.isprintable() and ("\\" in value or '"' in value):
            for quotes in ("'", "'''"):
                if quotes not in value and not value.startswith("'") and not value.endswith("'"):
                    return quotes + value + quotes
        return _basic(value)
    if len(value) < 2:
        return "[" + ", ".join(map(_value, value)) + "]"
    return "[\n" + "".join(f"    {_value(item)},\n" for item in value) + "]"


def _basic(text: str) -> str:
    """A TOML basic string: JSON's escapes, and DEL as one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
