"""Files that a configuration names: found relative to it, readable by us, and secret where they must be."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from mailbridge.config.units import shown

WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|%[A-Za-z0-9_()]+%|[^/]*\\")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def path_reader(base: Path) -> Callable[[object], Path]:
    """A reader of paths, relative to `base`, that need not exist."""

    def read(value: object) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"must be a path, got {shown(value)}")
        return base / value

    return read


def program_reader(base: Path) -> Callable[[object], tuple[str, ...]]:
    """A reader of commands, `["program", "argument"]`: the program is found by its path or by $PATH, if it is there."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(part, str) and part for part in value):
            raise ValueError(f'must be a list such as ["/usr/bin/program", "argument"], got {shown(value)}')
        if any("\0" in part for part in value):
            raise ValueError("must have no NUL in it")
        name = value[0]
        sought = os.path.abspath(base / name) if os.sep in name else name
        return (shutil.which(sought) or sought, *value[1:])

    return read


def program_fault(command: Sequence[str]) -> str | None:
    """Why `command` cannot be run, or None."""
    if shutil.which(command[0]) is None:
        return f"there is no program {shown(command[0])}; name it by its path and let mailbridge execute it"
    return None


def folder_fault(path: Path) -> str | None:
    """Why nothing can be written into the folder `path`, or None."""
    if not path.is_dir():
        return f"there is no folder {path}; make it, for the user mailbridge runs as"
    if not os.access(path, os.W_OK | os.X_OK):
        return f"the user mailbridge runs as may not write into {path}"
    return None


def local_path_reader(base: Path) -> Callable[[object], Path]:
    """A reader of paths that may come from a Windows host, which has other folders."""
    path = path_reader(base)

    def read(value: object) -> Path:
        if isinstance(value, str) and WINDOWS_PATH.match(value):
            raise ValueError(f"{shown(value)} is a path of Windows; name a folder of this host")
        return path(value)

    return read


def file_reader(base: Path) -> Callable[[object], Path]:
    """A reader of paths of files that exist and that we may read."""
    path = path_reader(base)

    def read(value: object) -> Path:
        return _readable(path(value))

    return read


def secret_reader(base: Path) -> Callable[[object], Path]:
    """A reader of paths of secret files, written `"key.pem"` or `{ file = "key.pem" }`: nobody else may read them."""
    path = path_reader(base)

    def read(value: object) -> Path:
        if isinstance(value, dict):
            if set(value) != {"file"}:
                raise ValueError('must be a path or { file = "PATH" }')
            value = value["file"]
        found = _readable(path(value))
        mode = found.stat().st_mode
        if mode & _OTHERS:
            raise ValueError(f"others may read {found} (mode {stat.S_IMODE(mode):04o}); do: chmod 600 {found}")
        return found

    return read


def _readable(path: Path) -> Path:
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if not is_file:
        raise ValueError(f"{path} is no file")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {path}: permission denied for the user mailbridge runs as")
    return path
