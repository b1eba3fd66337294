"""What `strace -f -ttt -T -yy -xx` wrote: each call with its descriptor, octets and its place in the order of events.

strace holds a thread still at the entry and at the exit of a call until it has written that down, so the order of its
lines is the order of events: what is on an earlier line had happened. Lines, not clocks, are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import define

CALLS = ("write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "fsync", "fdatasync", "openat")

_ENTRY = re.compile(r"(\d+) +(\d+\.\d+) (\w+)\((.*)")
_EXIT = re.compile(r"(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)")
_DESCRIPTOR = re.compile(r"(\d+)<(TCP:\[[^\]]*\]|[^>]*)>")
_OCTETS = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OFFSET = re.compile(r", (\d+)\)?\s*$")
_RESULT = re.compile(r"= (-?\d+|\?)")
_TOOK = re.compile(r"<(\d+\.\d+)>$")
_UNFINISHED = " <unfinished ...>"


@define(eq=False)
class Call:
    """One system call. `begun` and `ended` are line numbers of the trace, `at` and `until` seconds."""

    name: str
    descriptor: int
    path: str
    octets: bytes
    offset: int
    begun: int
    at: float
    ended: int = 0
    until: float = 0.0
    result: int = -1


def _plain(text: str) -> str:
    """`text` without the hexadecimal that -xx makes of paths too."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def _call(name: str, arguments: str, number: int, at: float) -> Call:
    found = _OCTETS.search(arguments)
    octets = bytes.fromhex(found[1].replace("\\x", "")) if found else b""
    if name == "openat":
        return Call(name, -1, octets.decode("utf-8", "replace") + " " + arguments[found.end():] if found else "", b"",
                    0, number, at)
    descriptor = _DESCRIPTOR.match(arguments)
    before_result = arguments.partition(") = ")[0] if not found else arguments[found.end():].partition(") = ")[0]
    offset = _OFFSET.search(before_result) if name == "pwrite64" else None
    return Call(name, int(descriptor[1]) if descriptor else -1, _plain(descriptor[2]) if descriptor else "", octets,
                int(offset[1]) if offset else 0, number, at)


def read_trace(path: Path) -> Iterator[Call]:
    """The finished calls, in the order of their ends."""
    pending: dict[tuple[str, str], Call] = {}
    with path.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if entry := _ENTRY.match(line):
                thread, at, name, rest = entry.groups()
                call = _call(name, rest.removesuffix(_UNFINISHED), number, float(at))
                if line.endswith(_UNFINISHED):
                    pending[thread, name] = call
                    continue
                took = _TOOK.search(rest)
                call.until = float(at) + (float(took[1]) if took else 0.0)
            elif end := _EXIT.match(line):
                thread, at, name, rest = end.groups()
                if (thread, name) not in pending:
                    continue
                call = pending.pop((thread, name))
                call.until = float(at)
            else:
                continue
            call.ended = number
            result = _RESULT.findall(rest)
            call.result = int(result[-1]) if result and result[-1] != "?" else -1
            yield call
