"""Putting things on stable storage: on macOS F_FULLFSYNC, elsewhere fdatasync and fsync. All raise OSError."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def sync_data(descriptor: int) -> None:
    """A file's data and its size."""
    if sys.platform == "darwin":
        import fcntl
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def sync_file(descriptor: int) -> None:
    """A file or folder with all its attributes."""
    if sys.platform == "darwin":
        sync_data(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """The names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)
