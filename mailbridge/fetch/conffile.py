"""The files of a dmail.conf on disk."""

from __future__ import annotations

import os
import stat

from mailbridge.fetch.conflines import MOST_OCTETS, File
from mailbridge.fetch.dmailconf import DmailConf, parse


def load(path: str) -> DmailConf:
    """Parse the file and what it includes. Whatever is wrong with it is in the findings."""
    return parse(os.path.abspath(path), read)


def read(path: str) -> File:
    """One file, and one octet more than is taken of it at most. Raises OSError."""
    with open(path, "rb", opener=_open) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{path} is no file")
        return File(file.read(MOST_OCTETS + 1), bool(mode & stat.S_IROTH))


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo must not hang the start
