"""Two readers of control files that share nothing with the writer: CPython's, and one as simple as Windows'."""

from __future__ import annotations

from configparser import RawConfigParser

Read = dict[str, dict[str, str]]
"""section -> key -> value, all as a reader sees them."""


def strict(octets: bytes, page: str = "cp1250") -> Read:
    """With CPython's reader, which refuses a section or key that comes twice."""
    parser = RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=(";",), interpolation=None)
    parser.read_string(octets.decode(page))
    return {name: dict(parser.items(name)) for name in parser.sections()}


def windows(octets: bytes, page: str = "cp1250") -> Read:
    """Line by line, any line end; blanks and the quotes around a value are taken off; of two keys the first counts."""
    found: Read = {}
    section: dict[str, str] = {}
    for raw in octets.replace(b"\r", b"\n").split(b"\n"):
        line = raw.decode(page).strip(" \t\0")
        if line.startswith("["):
            section = found.setdefault(line[1:].partition("]")[0].lower(), {})
        elif line and not line.startswith(";"):
            key, _, value = line.partition("=")
            value = value.strip(" \t\0")
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            section.setdefault(key.strip().lower(), value)
    return found
