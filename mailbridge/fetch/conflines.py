"""The lines of a dmail.conf with everything it includes: names, values and where each stands.

One `name value` a line; `#` lines are remarks, but `#include FILE` at the start of a line takes in another file.
Nothing is known of the settings here. Files are read through a function; every finding names its file and line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

DEEPEST = 8
MOST_FILES = 100
MOST_OCTETS = 1024 * 1024
MOST_FINDINGS = 1000

_INCLUDE = re.compile(r"#include(?:[ \t]+(.*))?$", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\u2028\u2029]")
_LINE = re.compile(r"[ \t]*([^ \t]+)(?:[ \t]+(.*))?$", re.DOTALL)


@frozen
class Finding:
    """Something to tell the operator: `place` is file:line, `severity` error, warning or info. No secret is in it."""

    place: str
    severity: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}: {self.text}"


@frozen
class Line:
    """One setting as it is written: the name in lower case, the rest of its line, and file:line."""

    name: str
    value: str = field(repr=False)
    place: str


@frozen
class File:
    """What was read of one file; `exposed` when other users of the machine may read it too."""

    octets: bytes = field(repr=False)
    exposed: bool = False


Read = Callable[[str], File]
"""Reads the file of a path; raises OSError."""


@define
class Lines:
    """All lines of `path` and of what it includes, in order. `findings` fills as they are taken; so does `files`."""

    path: str
    read: Read
    findings: list[Finding] = field(factory=list)
    files: dict[str, File] = field(factory=dict)
    _count: int = 0

    def tell(self, place: str, severity: str, text: str) -> None:
        """Add a finding; the first 1,000 are kept."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(place, severity, text))

    def __iter__(self) -> Iterator[Line]:
        yield from self._file(self.path, self.path, ())

    def _file(self, path: str, place: str, above: tuple[str, ...]) -> Iterator[Line]:
        """The lines of one file; `place` is where it was asked for."""
        path = posixpath.normpath(path)
        problem = None
        if path in above:
            problem = f"{path} includes itself"
        elif len(above) > DEEPEST:
            problem = f"{path} is included through more than {DEEPEST} files"
        elif self._count >= MOST_FILES:
            problem = f"more than {MOST_FILES} files are included"
        if problem is not None:
            self.tell(place, "error", problem)
            return
        self._count += 1
        try:
            file = self.read(path)
        except OSError as error:
            self.tell(place, "error", f"{path} cannot be read: {error.strerror or error}")
            return
        if len(file.octets) > MOST_OCTETS:
            self.tell(place, "error", f"{path} is larger than {MOST_OCTETS // 1024} KiB")
            return
        self.files[path] = file
        for number, text in enumerate(_text(file.octets).split("\n"), 1):
            yield from self._line(text.removesuffix("\r"), f"{path}:{number}", path, above)

    def _line(self, text: str, place: str, path: str, above: tuple[str, ...]) -> Iterator[Line]:
        if text.startswith("#"):
            include = _INCLUDE.match(text)
            if include is not None:
                yield from self._included((include.group(1) or "").strip(" \t"), place, path, above)
            return
        match = _LINE.match(text)
        if match is None or match.group(1).startswith("#"):
            return
        if _CONTROL.search(text):
            self.tell(place, "error", "the line has control characters in it and is ignored")
            return
        yield Line(match.group(1).lower(), (match.group(2) or "").strip(" \t"), place)

    def _included(self, name: str, place: str, path: str, above: tuple[str, ...]) -> Iterator[Line]:
        if len(name) > 1 and name[0] + name[-1] in ('""', "<>"):
            name = name[1:-1]
        if not name.isprintable() or not name:
            self.tell(place, "error", "#include needs the name of a file")
            return
        yield from self._file(posixpath.join(posixpath.dirname(path), name), place, (*above, path))


def _text(octets: bytes) -> str:
    octets = octets.removeprefix(b"\xef\xbb\xbf")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")
