"""Changes a configuration file as an operator would: one key at a time, comments and order kept (tomlkit).

Nothing is written before the whole new text has been loaded without a fault, and the file is replaced at once, so a
crash leaves the old one or the new one. A file that gets a secret is closed to others.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable, Table

from mailbridge.config.load import load, load_text
from mailbridge.config.model import Config
from mailbridge.config.secrets import inline_secrets
from mailbridge.errors import ConfigError, Fault

_OTHERS = stat.S_IRWXO


class ConfigFile:
    """The configuration in `path`, to be read, changed and saved. Raises ConfigError when it has faults already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Config = load(path)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                text = file.read()
            self._crlf = "\r\n" in text
            self.document = tomlkit.parse(text.replace("\r\n", "\n"))
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise ConfigError(str(path), (Fault("file", f"cannot be changed: {error}"),)) from None

    def table(self, *names: str) -> Any:
        """The table `[a.b]`, made at the end of the file when it is missing. Raises ValueError when it is none."""
        found: Any = self.document
        for depth, name in enumerate(names):
            if name not in found:
                # Inside `relay = {...}` and beside `relay.office.servers = ...` a table has to be written as they are.
                inline = isinstance(found, InlineTable) or self._dotted(names[0])
                found[name] = tomlkit.inline_table() if inline else tomlkit.table(is_super_table=depth < len(names) - 1)
            found = found[name]
            if not isinstance(found, dict):
                raise ValueError(f"{'.'.join(names[:depth + 1])} is no table")
        return found

    def _dotted(self, name: str) -> bool:
        return any(key is not None and key.key == name and key.is_dotted() for key, _ in self.document.body)

    def listener(self, name: str) -> Any:
        """The first `[[smtp]]` or `[[pop3]]`, made when there is none."""
        found: Any = self.document.get(name)
        if isinstance(found, AoT | list) and found:
            return found[0]
        made: Table = tomlkit.table()
        tables = tomlkit.aot()
        tables.append(made)
        self.document[name] = tables
        return tables[0]

    def tables(self, name: str) -> dict[str, Any]:
        """The tables below `[name.X]` that are there."""
        found: Any = self.document.get(name)
        return {key: each for key, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}

    def save(self) -> list[str]:
        """Check and write; notes for the operator. Raises ConfigError, and then nothing has changed."""
        text = tomlkit.dumps(self.document)
        if self._crlf:
            text = text.replace("\n", "\r\n")
        self.config = load_text(text, str(self.path), self.path.absolute().parent)
        notes = []
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & _OTHERS and inline_secrets(self.document.unwrap()):
            mode &= ~_OTHERS
            notes.append(f"{self.path} holds a secret now: others may no longer read it")
        try:
            _replace(self.path, text, mode)
        except OSError as error:
            raise ConfigError(str(self.path), (Fault("file", f"cannot be written: {error.strerror}"),)) from None
        return notes


def _replace(path: Path, text: str, mode: int) -> None:
    """Put a new file in the place of the old one, with its owner."""
    path = path.resolve()  # a link stays a link
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            owner = path.stat()
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
