"""Readers of the values that only `[receiver]`, `[application.NAME]` and `[command_tags.NAME]` have.

What the rooms of applications check themselves is asked of them, so that the loader and they read with the same eyes.
"""

from __future__ import annotations

import re

from mailbridge.application.codepage import CodePage
from mailbridge.application.keys import RecipeFaults
from mailbridge.application.names import is_application_name, is_suffix
from mailbridge.application.settings import CtlSettings
from mailbridge.application.tags import TagData, TagTable
from mailbridge.application.transform import Transform
from mailbridge.config.readers import WIDEST_TRUST, Faulty, place_of, text
from mailbridge.config.units import shown
from mailbridge.routing.access import parse_entry
from mailbridge.routing.clients import ClientList
from mailbridge.routing.pattern import Pattern
from mailbridge.smtp.data import parse_end_line

SHIPPED_TAGS = "sms"
"""The table of commands that is there without being written down."""

_TYPE = re.compile(r"\.?([A-Za-z0-9]{1,16})")
_CHECKER = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*\.)+[A-Za-z_][A-Za-z0-9_]*")
_LEVELS = "EWIT"
_PRIORITIES = (0, -1, -2, -15)


def application_name(name: str) -> str:
    """The NAME of `[application.NAME]`, which stands in routes, lanes and names of files. Raises ValueError."""
    if not is_application_name(name):
        raise ValueError(f"{shown(name)} is no name for an application: at most 64 ASCII letters, digits, _ and -")
    return name


def address_pattern(value: object) -> str:
    """A pattern of addresses (RE2). Blanks around it, and where a line was broken, are no part of it."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, got {shown(value)}")
    joined = "".join(line.strip() for line in value.splitlines())
    return Pattern(text(joined)).text


def application_client(value: object) -> str:
    """A client or a host by name; no list may trust the whole Internet (invariant 5)."""
    entry = text(value)
    try:
        clients = ClientList.parse([entry])
    except ValueError as error:
        raise ValueError(str(error).removeprefix("[0]: ")) from None
    if not clients.names:
        for span in parse_entry(entry):
            if span.size > WIDEST_TRUST[span.version]:
                raise ValueError(f'"{entry}" names so many hosts that anybody could send; name your own networks')
    return entry


def terminator(value: object) -> bytes:
    """The line of a nonstandard end of data, without its line ends."""
    if not isinstance(value, str):
        raise ValueError(rf"must be text such as '\r\n .\r\n', got {shown(value)}")
    return parse_end_line(value)


def code_page(value: object) -> str:
    """A code page for files, as Python names it."""
    name = text(value)
    CodePage.make(name)
    return name


def levels(value: object) -> str:
    """Letters of log levels, in one order and each once."""
    if isinstance(value, str) and set(value.upper()) <= set(_LEVELS):
        return "".join(letter for letter in _LEVELS if letter in value.upper())
    raise ValueError(f'must be letters of "EWIT" (error, warning, information, trace), got {shown(value)}')


def thread_priority(value: object) -> int:
    """The priority of the threads that convert mail, in Windows' numbers."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) <= 3:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in _PRIORITIES:
        return value
    raise ValueError(f"must be 0 (normal), -1 (lower), -2 (low) or -15 (idle), got {shown(value)}")


def checker_name(value: object) -> str:
    """The dotted name of a credentials checker."""
    if isinstance(value, str) and _CHECKER.fullmatch(value):
        return value
    raise ValueError(f"must be the name of a credentials checker, package.module.NAME, got {shown(value)}")


def suffix(value: object) -> str:
    """The end of the names of control files."""
    if isinstance(value, str) and is_suffix(value):
        return value
    raise ValueError(f'must be a dot with letters or digits, such as ".CTL", got {shown(value)}')


def attachment_type(value: object) -> str:
    """A file name's extension, in lower case and without its dot."""
    match = _TYPE.fullmatch(value) if isinstance(value, str) else None
    if match:
        return match[1].lower()
    raise ValueError(f'must be the end of a file name such as "pdf", got {shown(value)}')


def plain_text(value: object) -> str:
    """Text on one line, or none."""
    return "" if value == "" else text(value)


def transform(name: str, template: str) -> None:
    """Check one entry of `transform`."""
    Transform(name, template)


def ctl_setting(name: str, value: str) -> None:
    """Check one entry of `ctl_settings`."""
    try:
        CtlSettings.make({name: value})
    except RecipeFaults as error:
        raise ValueError(error.faults[0].problem) from None


def command_tables(value: object) -> dict[str, TagData]:
    """All `[command_tags.NAME]`: commands with their options."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ValueError(f"must be tables, each under [command_tags.NAME], got {shown(value)}")
    faults: list[tuple[str, str]] = []
    for name, table in value.items():
        if not is_application_name(name) or name == SHIPPED_TAGS:
            faults.append((place_of(name), f'needs another name: letters, digits, _ and -, and not "{SHIPPED_TAGS}"'))
        strays = [command for command, options in table.items() if not isinstance(options, dict)]
        if strays:
            faults += [
                (place_of(name) + place_of(command), 'must be a table, { key = "system|dr", values = ["0", "1"] }')
                for command in strays
            ]
            continue
        try:
            TagTable.make(table)
        except RecipeFaults as error:
            faults += [(place_of(name) + place_of(fault.place), fault.problem) for fault in error.faults]
    if faults:
        raise Faulty(faults)
    return value
