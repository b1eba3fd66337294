"""The control file: what its reader is told, as an INI file of sections, keys and one-line values.

No value can add or change a key: line ends and control characters become blanks, and what is not in the code page
something plain. A value reads the same with a reader that takes off quotes around it and with one that does not. The
bridge writes no comments and no blanks around `=`; lines end in CR LF.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mailbridge.application.codepage import CodePage
from mailbridge.application.keys import Key

LONGEST_VALUE = 255
LONGEST_NUMBER = 32
_BLANKS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_QUOTES = "\"'"


def one_line(text: str, longest: int = LONGEST_VALUE) -> str:
    """`text` as one line without control characters, blanks joined, at most `longest` characters."""
    if len(text) <= longest and text.isprintable() and "  " not in text:
        return text.strip()
    text = " ".join(text[:longest * 4].translate(_BLANKS).split())
    return text[:longest].rstrip()


def unquoted(text: str) -> str:
    """`text` without quotes that stand around all of it, which Windows takes off when it reads a value."""
    while len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        text = text[1:-1].strip()
    return text


@frozen
class Cleaning:
    """How values are made fit: for `page`, with each `;` kept or made a comma (`ini_semicolon = "replace"`)."""

    page: CodePage
    replace_semicolon: bool = False

    def value(self, text: str, longest: int = LONGEST_VALUE) -> tuple[str, int]:
        """(the value as it is written, how many characters were replaced)."""
        if text.isascii() and text.isprintable() and len(text) <= longest:  # as nearly all are
            fitting, replaced = text, 0
        else:
            fitting, replaced = self.page.fit(one_line(text, longest * 2))
        if self.replace_semicolon:
            fitting = fitting.replace(";", ",")
        return unquoted(one_line(fitting, longest)), replaced


@frozen
class Written:
    """A control file, and what its values became."""

    octets: bytes
    values: dict[Key, str]
    warnings: tuple[str, ...]


def written(values: Iterable[tuple[Key, str]], cleaning: Cleaning, number: Key | None = None) -> Written:
    """The file for values in their order: a key that comes again takes the later value in the earlier place.

    `number` is the key whose value is cut at 32 characters instead of 255.
    """
    sections: dict[str, dict[Key, str]] = {}
    clean: dict[Key, str] = {}
    replaced = semicolons = 0
    for key, text in dict(values).items():
        value, changed = cleaning.value(text, LONGEST_NUMBER if key == number else LONGEST_VALUE)
        replaced += changed
        semicolons += ";" in value
        clean[key] = sections.setdefault(key.section.lower(), {})[key] = value
    lines: list[str] = []
    for entries in sections.values():
        lines.append(f"[{next(iter(entries)).section}]")
        lines.extend(f"{key.key}={value}" for key, value in entries.items())
    warnings = []
    if replaced:
        warnings.append(f"{replaced} characters of the control file are not in {cleaning.page.name} and were replaced")
    if semicolons:
        warnings.append(f"{semicolons} values of the control file hold a ; (ini_semicolon = \"replace\" writes commas)")
    return Written(cleaning.page.encode("\r\n".join([*lines, ""])), clean, tuple(warnings))
