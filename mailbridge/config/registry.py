r"""Windows registry exports (`.reg`), read without Windows: keys and their values, in the order of the file.

Both kinds are known, `REGEDIT4` and `Windows Registry Editor Version 5.00`, as UTF-16, UTF-8 or in a code page. Names
of keys and values are compared in any case; `Wow6432Node` and the hive are no part of a path here, so that
`SOFTWARE\Datasys` is found wherever it was. A line that cannot be read is named in `faults` and costs only itself. What
the values mean is the business of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import field, frozen

MULTI = "hex(7)"
EXPAND = "hex(2)"

_HEADS = {"REGEDIT4": False, "WINDOWS REGISTRY EDITOR VERSION 5.00": True}
_KEY = re.compile(r"\[(-?)([^\r\n]*)\]\s*(?:;.*)?")
_NAME = re.compile(r'(@|"(?:[^"\\]|\\.)*")\s*=\s*(.*)', re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:;.*)?', re.DOTALL)
_OPEN_STRING = re.compile(r'(?:@|"(?:[^"\\]|\\.)*")\s*=\s*"(?:[^"\\]|\\.)*\\?')
_CLOSING = re.compile(r'(?:[^"\\]|\\.)*"')
_DWORD = re.compile(r"dword:\s*([0-9a-f]{1,8})\s*(?:;.*)?", re.IGNORECASE)
_HEX = re.compile(r"(hex(?:\([0-9a-f]{1,8}\))?):([0-9a-f,\s]*)(?:;.*)?", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PAGE = re.compile(rb'"output_code_page"="(cp125[0-8])"', re.IGNORECASE)
_HIVES = {"HKEY_LOCAL_MACHINE", "HKLM", "HKEY_CURRENT_USER", "HKCU"}
_SHOWN = 60

Data = str | int | bytes | tuple[str, ...]


@frozen
class Value:
    """One value: its `name` as written (empty for the default one) and what it holds."""

    name: str
    data: Data

    @property
    def text(self) -> str:
        """As one text: numbers in decimal and signed as 32 bits, several strings one a line, octets as `hex:`."""
        if isinstance(self.data, tuple):
            return "\n".join(self.data)
        if isinstance(self.data, bytes):
            return "hex:" + self.data.hex(",")
        if isinstance(self.data, int):
            return str(self.data - 2**32 if 2**31 <= self.data < 2**32 else self.data)
        return self.data

    @property
    def texts(self) -> tuple[str, ...]:
        """As a list: each string of several, or the one text."""
        return self.data if isinstance(self.data, tuple) else (self.text,)


@frozen
class Key:
    """One key: its `path` as written, without hive, and its values by name in lower case."""

    path: tuple[str, ...]
    values: dict[str, Value] = field(factory=dict)


@frozen
class Export:
    """All keys by path in lower case, in the order of the file. `faults` name the lines that could not be read."""

    keys: dict[tuple[str, ...], Key] = field(factory=dict)
    faults: tuple[str, ...] = ()

    def key(self, path: tuple[str, ...]) -> Key | None:
        """The key of a path, in any case."""
        return self.keys.get(_folded(path))

    def below(self, path: tuple[str, ...]) -> Iterator[str]:
        """The names of the keys one step below a path, as first written."""
        folded, seen = _folded(path), set()
        for key in self.keys.values():
            if len(key.path) > len(folded) and _folded(key.path)[:len(folded)] == folded:
                name = key.path[len(folded)]
                if name.lower() not in seen:
                    seen.add(name.lower())
                    yield name


def parse(octets: bytes) -> Export:
    """The export in `octets`. Raises ValueError when they are none at all."""
    lines = _decoded(octets).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    head = lines[at].strip().upper() if at < len(lines) else ""
    if head not in _HEADS:
        raise ValueError('is no registry export: one begins with "Windows Registry Editor Version 5.00" or "REGEDIT4"')
    return _Reader(_HEADS[head]).read(lines, at + 1)


def split_path(text: str) -> tuple[str, ...]:
    """The parts of a path such as `HKLM\\SOFTWARE\\Wow6432Node\\Datasys`, without hive and Wow6432Node."""
    parts = [part.strip() for part in text.strip().split("\\") if part.strip()]
    if parts and parts[0].upper() in _HIVES:
        parts = parts[1:]
    return tuple(part for part in parts if part.lower() != "wow6432node")


def _folded(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.lower() for part in path)


def _decoded(octets: bytes) -> str:
    """As text: by its mark, else UTF-16 when the second octet is NUL, UTF-8 when it is that, else a code page."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if octets.startswith(mark):
            return octets[len(mark):].decode(encoding, "replace")
    if octets[1:2] == b"\0":
        return octets.decode("utf-16-le", "replace")
    named = _PAGE.search(octets)
    return _narrow(octets, named[1].decode().lower() if named else "cp1250")


def _narrow(octets: bytes, page: str) -> str:
    """Octets of an unknown code page as text: `page` is the first guess after UTF-8."""
    for encoding in ("utf-8", page, "cp1250", "cp1252"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    return octets.decode("latin-1")


class _Reader:
    """Goes through the lines of one export. `wide`: octets of strings are UTF-16, else a code page."""

    def __init__(self, wide: bool) -> None:
        self._wide = wide
        self._keys: dict[tuple[str, ...], Key] = {}
        self._faults: list[str] = []
        self._key: Key | None = None

    def read(self, lines: list[str], at: int) -> Export:
        """What the lines from `at` on say."""
        while at < len(lines):
            first, line = at, lines[at].strip()
            at += 1
            if not line or line.startswith(";"):
                continue
            if line.startswith("["):
                self._enter(line, first)
                continue
            line, at = _joined(lines[first], lines, at)
            self._take(line.strip(), first)
        return Export(self._keys, tuple(self._faults))

    def _enter(self, line: str, number: int) -> None:
        match = _KEY.fullmatch(line)
        self._key = None
        path = split_path(match[2]) if match else ()
        if match is None or not path:
            self._fault(number, "is no key", line)
        elif match[1]:
            gone = _folded(path)
            self._keys = {p: key for p, key in self._keys.items() if p[:len(gone)] != gone}
        else:
            self._key = self._keys.setdefault(_folded(path), Key(path))

    def _take(self, line: str, number: int) -> None:
        match = _NAME.fullmatch(line)
        if match is None:
            self._fault(number, "is no value", line)
            return
        if self._key is None:
            return  # of a key that is deleted or could not be read
        name = "" if match[1] == "@" else _unescaped(match[1][1:-1])
        if match[2].strip() == "-":
            self._key.values.pop(name.lower(), None)
            return
        try:
            self._key.values[name.lower()] = Value(name, self._data(match[2]))
        except ValueError as error:
            self._fault(number, str(error), line)

    def _data(self, text: str) -> Data:
        string, dword, octets = _STRING.fullmatch(text), _DWORD.fullmatch(text), _HEX.fullmatch(text)
        if string:
            return _unescaped(string[1])
        if dword:
            return int(dword[1], 16)
        if octets is None:
            raise ValueError("has no value that is known here")
        try:
            raw = bytes(int(part, 16) for part in re.split(r"[,\s]+", octets[2]) if part)
        except ValueError:
            raise ValueError("has hexadecimal octets that are none") from None
        kind = octets[1].lower()
        if kind in ("hex(4)", "hex(b)") and len(raw) in (4, 8):
            return int.from_bytes(raw, "little")
        if kind == MULTI:
            return tuple(part for part in self._string(raw).split("\0") if part)
        if kind in ("hex(1)", EXPAND):
            return self._string(raw).rstrip("\0")
        return raw

    def _string(self, raw: bytes) -> str:
        if self._wide:
            return raw.decode("utf-16-le", "replace")
        return _narrow(raw, "cp1250")

    def _fault(self, number: int, problem: str, line: str) -> None:
        self._faults.append(f"line {number + 1}: {problem}: {line[:_SHOWN]!r}")


def _joined(line: str, lines: list[str], at: int) -> tuple[str, int]:
    """A line with those that go on with it, and the number of the next one.

    A string may have line ends in it, and octets may go on after a backslash. A string that is not closed rightly is
    read as its first line alone. Each line that opens one has a quote, which ends the search of the one before: no line
    is looked at more than twice.
    """
    if _OPEN_STRING.fullmatch(line.strip()):
        for end in range(at, len(lines)):
            if lines[end].startswith(("[HK", "[-HK")):
                break
            if _CLOSING.match(lines[end]):
                whole = "\n".join((line, *lines[at:end + 1]))
                match = _NAME.fullmatch(whole.strip())
                return (whole, end + 1) if match and _STRING.fullmatch(match[2]) else (line, at)
        return line, at
    parts = [line.rstrip()]
    if _HEX.match(parts[0].partition("=")[2].strip().rstrip("\\")):
        while parts[-1].endswith("\\") and at < len(lines):
            parts[-1] = parts[-1][:-1]
            parts.append(lines[at].strip())
            at += 1
    return "".join(parts), at


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)
